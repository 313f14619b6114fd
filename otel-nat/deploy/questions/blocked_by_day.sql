-- Which share of attempts finds UDP blocked, day by day?
SELECT CAST(day AS VARCHAR) AS date,
       nat_count(whole) AS attempts,
       nat_count(part) AS blocked,
       nat_percent(part, whole) AS blocked_percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT day,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           nat_where(n, nat_type = 'UDP blocked by firewall') AS part
    FROM attempts
    GROUP BY day
)
WHERE seen >= nat_k()
ORDER BY date;
