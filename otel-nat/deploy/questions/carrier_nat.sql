-- Who is behind a carrier's NAT, and how do they fare? Only an address of the carrier's range (RFC 6598) or of a CLAT
-- (RFC 7335) proves it; behind a router of one's own the carrier's NAT does not show, so `not seen` is no denial.
SELECT carrier,
       nat_count(whole) AS attempts,
       nat_percent(whole, everything) AS percent,
       nat_percent(good, rated) AS success_percent,
       nat_low(good, rated, squares) AS low_percent,
       nat_high(good, rated, squares) AS high_percent
FROM (
    SELECT CASE WHEN base_scope = 'clat' THEN 'CLAT'
                WHEN base_scope = 'carrier_grade' OR external_scope = 'carrier_grade' THEN 'carrier NAT'
                WHEN base_scope IS NULL THEN 'unknown'
                ELSE 'not seen' END AS carrier,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(sum(n)) OVER () AS everything,
           nat_where(n, connected) AS good,
           nat_where(n, outcome <> 'cancelled') AS rated,
           nat_where(n2, outcome <> 'cancelled') AS squares
    FROM attempts
    GROUP BY carrier
)
WHERE seen >= nat_k()
ORDER BY attempts DESC, carrier;
