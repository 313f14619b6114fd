-- What do the verdicts rest on: which rule decided, and how many STUN servers had answered?
SELECT rule,
       servers_answered,
       nat_count(part) AS attempts,
       nat_percent(part, whole) AS percent,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT rule,
           servers_answered,
           sum(spans) AS seen,
           sum(n) AS part,
           sum(sum(n)) OVER () AS whole,
           sum(sum(n2)) OVER () AS squares
    FROM attempts
    GROUP BY rule, servers_answered
)
WHERE seen >= nat_k()
ORDER BY rule, servers_answered NULLS FIRST;
