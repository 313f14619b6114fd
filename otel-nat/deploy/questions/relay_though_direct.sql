-- Where is a relay paid for although the outlook expected a direct path, and behind which pairs of NATs? The share is of
-- the paths that opened.
SELECT nat_type,
       peer_nat_type,
       nat_count(whole) AS opened,
       nat_count(part) AS relayed,
       nat_percent(part, whole) AS relayed_percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT nat_type,
           peer_nat_type,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           nat_where(n, pair_local = 'relay' OR pair_remote = 'relay') AS part
    FROM attempts
    WHERE connected AND outlook = 'direct' AND peer_nat_type IS NOT NULL
    GROUP BY nat_type, peer_nat_type
)
WHERE seen >= nat_k()
ORDER BY relayed DESC, nat_type, peer_nat_type;
