-- What do the verdicts rest on: which rule decided, and how many STUN servers had answered?
SELECT rule,
       servers_answered,
       count(*) AS attempts,
       round(100.0 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM attempts
GROUP BY rule, servers_answered
ORDER BY rule, servers_answered NULLS FIRST;
