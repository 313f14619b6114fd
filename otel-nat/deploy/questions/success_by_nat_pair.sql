-- Which pairs of NATs meet, and how many of them without a relay? The peer's type is judged from the candidates that
-- the peer advertised. Attempts without such a verdict, and those given up from outside, do not count.
SELECT nat_type,
       peer_nat_type,
       nat_count(whole) AS attempts,
       nat_count(good) AS connected,
       nat_count(good - relayed) AS direct,
       nat_percent(good, whole) AS success_percent,
       nat_percent(good - relayed, whole) AS direct_percent,
       nat_low(good - relayed, whole, squares) AS low_percent,
       nat_high(good - relayed, whole, squares) AS high_percent
FROM (
    SELECT nat_type,
           peer_nat_type,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           nat_where(n, connected) AS good,
           nat_where(n, connected AND (pair_local = 'relay' OR pair_remote = 'relay')) AS relayed
    FROM attempts
    WHERE peer_nat_type IS NOT NULL AND outcome <> 'cancelled'
    GROUP BY nat_type, peer_nat_type
)
WHERE seen >= nat_k()
ORDER BY nat_type, peer_nat_type;
