-- Which paths opened, carried data and then received nothing more, while the path below stayed alive, by release?
SELECT version,
       nat_count(whole) AS judged,
       nat_count(part) AS frozen,
       nat_percent(part, whole) AS frozen_percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT version,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           nat_where(n, stage_verdict = 'frozen_after_open') AS part
    FROM attempts
    WHERE stage IS NOT NULL AND (connected OR stage_verdict = 'frozen_after_open')
    GROUP BY version
)
WHERE seen >= nat_k()
ORDER BY version;
