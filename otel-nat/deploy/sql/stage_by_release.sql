-- How far do attempts come, by release and by the peer's NAT, and what stops them there?
-- A verdict that rises in one release alone is that release's; one that rises in all of them is the network's.
SELECT version,
       coalesce(peer_nat_type, 'not told') AS peer_nat_type,
       stage,
       coalesce(stage_verdict, 'connected') AS verdict,
       count(*) AS attempts,
       round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY version), 2) AS percent_of_release
FROM attempts
WHERE stage IS NOT NULL
GROUP BY ALL
ORDER BY version, attempts DESC, peer_nat_type, stage, verdict;
