-- How do attempts end, by how the NAT maps?
SELECT mapping,
       coalesce(error_type, 'connected') AS outcome,
       count(*) AS attempts,
       round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY mapping), 2) AS percent_of_mapping
FROM attempts
GROUP BY mapping, outcome
ORDER BY mapping, attempts DESC, outcome;
