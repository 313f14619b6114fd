-- Does a path open at the first attempt or at a later one? `percent_of_connected` is the share of all paths that opened
-- at this attempt. Attempts from the tenth on count as the tenth.
SELECT attempt_number,
       nat_count(rated) AS attempts,
       nat_count(good) AS connected,
       nat_percent(good, rated) AS success_percent,
       nat_low(good, rated, squares) AS low_percent,
       nat_high(good, rated, squares) AS high_percent,
       nat_percent(good, all_good) AS percent_of_connected
FROM (
    SELECT attempt_number,
           sum(spans) AS seen,
           sum(n) AS rated,
           sum(n2) AS squares,
           nat_where(n, connected) AS good,
           sum(nat_where(n, connected)) OVER () AS all_good
    FROM attempts
    WHERE attempt_number IS NOT NULL AND outcome <> 'cancelled'
    GROUP BY attempt_number
)
WHERE seen >= nat_k()
ORDER BY attempt_number;
