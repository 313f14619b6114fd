-- Did the outlook hold: predicted and actual? `surprise` names each way in which it did not. An attempt that did not
-- reach the peer's NAT (signalling, given up, peer gone) tests no prediction and does not count.
SELECT outlook,
       outlook_reason,
       actual,
       CASE WHEN outlook = 'direct' AND actual = 'relay' THEN 'relay although direct was expected'
            WHEN outlook = 'direct' AND actual = 'none' THEN 'no path although direct was expected'
            WHEN outlook = 'relay' AND actual = 'direct' THEN 'direct although a relay was expected' END AS surprise,
       nat_count(part) AS attempts,
       nat_percent(part, whole) AS percent_of_outlook,
       nat_low(part, whole, squares) AS low_percent,
       nat_high(part, whole, squares) AS high_percent
FROM (
    SELECT outlook,
           outlook_reason,
           CASE WHEN NOT connected THEN 'none'
                WHEN pair_local = 'relay' OR pair_remote = 'relay' THEN 'relay'
                ELSE 'direct' END AS actual,
           sum(spans) AS seen,
           sum(n) AS part,
           sum(sum(n)) OVER (PARTITION BY outlook) AS whole,
           sum(sum(n2)) OVER (PARTITION BY outlook) AS squares
    FROM attempts
    WHERE outlook IS NOT NULL
      AND (connected OR outcome IN ('timeout', 'ice_failed', 'channel_failed', 'udp_blocked'))
    GROUP BY outlook, outlook_reason, actual
)
WHERE seen >= nat_k()
ORDER BY outlook, attempts DESC, outlook_reason, actual;
