-- Which share of attempts finds UDP blocked, by the release of the consumer, and over all (`all`)?
SELECT release AS version,
       nat_count(whole) AS attempts,
       nat_count(part) AS blocked,
       nat_percent(part, whole) AS blocked_percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT CASE WHEN grouping(version) = 1 THEN 'all' ELSE version END AS release,
           grouping(version) AS is_total,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           nat_where(n, nat_type = 'UDP blocked by firewall') AS part
    FROM attempts
    GROUP BY ROLLUP (version)
)
WHERE seen >= nat_k()
ORDER BY is_total, version;
