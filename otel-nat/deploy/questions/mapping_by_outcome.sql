-- How do attempts end, by how the NAT maps?
SELECT mapping,
       outcome,
       nat_count(part) AS attempts,
       nat_percent(part, whole) AS percent_of_mapping,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT mapping,
           outcome,
           sum(spans) AS seen,
           sum(n) AS part,
           sum(sum(n)) OVER (PARTITION BY mapping) AS whole,
           sum(sum(n2)) OVER (PARTITION BY mapping) AS squares
    FROM attempts
    GROUP BY mapping, outcome
)
WHERE seen >= nat_k()
ORDER BY mapping, attempts DESC, outcome;
