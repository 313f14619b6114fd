-- Generated from the file of this name in the folder above, by generate.py.
-- One row per attempt: the columns that the questions read. spans, n, n2: the row itself, its weight under sampling, and
-- the square of that weight. A question sums them, so that the same text also reads the rollup.
CREATE OR REPLACE VIEW nat_attempts ON CLUSTER '{cluster}' AS
SELECT Timestamp AS began,
       toDate(Timestamp) AS day,
       if(nat_version = '', 'unknown', nat_version) AS version,
       SpanName = 'nat_success' AS connected,
       nullIf(nat_error_type, '') AS error_type,
       if(nat_error_type = '', 'connected', nat_error_type) AS outcome,
       nullIf(traces.nat_type, '') AS nat_type,
       nullIf(nat_mapping, '') AS mapping,
       nullIf(nat_peer_nat_type, '') AS peer_nat_type,
       nullIf(nat_network_type, '') AS network_type,
       nullIf(nat_rule, '') AS rule,
       nullIf(nat_servers_asked, -1) AS servers_asked,
       nullIf(nat_servers_answered, -1) AS servers_answered,
       nullIf(nat_base_scope, '') AS base_scope,
       nullIf(nat_external_scope, '') AS external_scope,
       nullIf(nat_pair_local, '') AS pair_local,
       nullIf(nat_pair_remote, '') AS pair_remote,
       nullIf(nat_outlook, '') AS outlook,
       nullIf(nat_outlook_reason, '') AS outlook_reason,
       nullIf(nat_failure_cause, '') AS failure_cause,
       nullIf(nat_stage, '') AS stage,
       nullIf(nat_stage_verdict, '') AS stage_verdict,
       nullIf(nat_attempt_number, -1) AS attempt_number,
       Duration / 1e9 AS seconds,
       nullIf(nat_gather_seconds, -1) AS gather_seconds,
       1 AS spans,
       nat_weight AS n,
       nat_weight * nat_weight AS n2,
       if(nat_gather_seconds < 0, 0, nat_weight) AS gathered,
       if(nat_gather_seconds < 0, 0, nat_gather_seconds * nat_weight) AS gather_sum
FROM otel_traces AS traces
WHERE SpanName IN ('nat_success', 'nat_failure');
