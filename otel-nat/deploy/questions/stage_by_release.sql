-- How far do attempts come and what stops them, by release and day? A verdict of a stage has its proof; an attempt
-- without one shows the stage alone.
SELECT CAST(day AS VARCHAR) AS date,
       version,
       stage,
       stage_verdict,
       nat_count(part) AS attempts,
       nat_percent(part, whole) AS percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT day,
           version,
           stage,
           stage_verdict,
           sum(spans) AS seen,
           sum(n) AS part,
           sum(sum(n)) OVER (PARTITION BY day, version) AS whole,
           sum(sum(n2)) OVER (PARTITION BY day, version) AS squares
    FROM attempts
    WHERE stage IS NOT NULL
    GROUP BY day, version, stage, stage_verdict
)
WHERE seen >= nat_k()
ORDER BY date, version, attempts DESC, stage, stage_verdict NULLS FIRST;
