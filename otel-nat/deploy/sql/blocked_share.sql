-- Which share of attempts finds UDP blocked, by the release of the consumer, and over all (`all`)?
SELECT coalesce(version, 'all') AS version,
       count(*) AS attempts,
       count(*) FILTER (nat_type = 'UDP blocked by firewall') AS blocked,
       round(100.0 * count(*) FILTER (nat_type = 'UDP blocked by firewall') / count(*), 2) AS blocked_percent
FROM attempts
GROUP BY ROLLUP (version)
ORDER BY grouping(version), version;
