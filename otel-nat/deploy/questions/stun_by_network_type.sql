-- How many of the STUN servers that were asked answered, by IP family, and how long did gathering take on average? The
-- family is that of the mapped address, so an attempt without any answer has none. Which server is slow or silent is in the metrics of servers, by the label that the operator gave it.
SELECT network_type,
       nat_count(whole) AS attempts,
       nat_count(asked) AS servers_asked,
       nat_count(answered) AS servers_answered,
       nat_percent(answered, asked) AS answered_percent,
       nat_percent(silent, whole) AS no_answer_percent,
       nat_low(silent, whole, squares) AS low_percent,
       nat_high(silent, whole, squares) AS high_percent,
       round(1000.0 * gathering / nullif(timed, 0), 3) AS gather_ms
FROM (
    SELECT network_type,
           sum(spans) AS seen,
           sum(n) AS whole,
           sum(n2) AS squares,
           sum(n * servers_asked) AS asked,
           sum(n * servers_answered) AS answered,
           nat_where(n, servers_answered = 0) AS silent,
           sum(gather_sum) AS gathering,
           sum(gathered) AS timed
    FROM attempts
    WHERE servers_asked IS NOT NULL
    GROUP BY network_type
)
WHERE seen >= nat_k()
ORDER BY network_type NULLS FIRST;
