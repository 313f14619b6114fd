-- Which NATs let a connection happen? An attempt that was given up from outside is neither a success nor a failure.
SELECT nat_type,
       count(*) AS attempts,
       count(*) FILTER (connected) AS connected,
       count(*) FILTER (NOT connected AND error_type <> 'cancelled') AS failed,
       count(*) FILTER (error_type = 'cancelled') AS cancelled,
       round(100.0 * count(*) FILTER (connected) / nullif(count(*) FILTER (error_type IS DISTINCT FROM 'cancelled'), 0), 2)
           AS success_percent
FROM attempts
GROUP BY nat_type
ORDER BY attempts DESC, nat_type;
