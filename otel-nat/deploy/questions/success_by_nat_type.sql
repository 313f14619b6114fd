-- Which NATs let a connection happen? An attempt that was given up from outside is neither a success nor a failure.
SELECT nat_type,
       nat_count(everything) AS attempts,
       nat_count(good) AS connected,
       nat_count(rated - good) AS failed,
       nat_count(everything - rated) AS cancelled,
       nat_percent(good, rated) AS success_percent,
       nat_low(good, rated, squares) AS low_percent,
       nat_high(good, rated, squares) AS high_percent
FROM (
    SELECT nat_type,
           sum(spans) AS seen,
           sum(n) AS everything,
           nat_where(n, connected) AS good,
           nat_where(n, outcome <> 'cancelled') AS rated,
           nat_where(n2, outcome <> 'cancelled') AS squares
    FROM attempts
    GROUP BY nat_type
)
WHERE seen >= nat_k()
ORDER BY attempts DESC, nat_type;
