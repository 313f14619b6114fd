-- Generated from the file of this name in the folder above, by generate.py.
-- One row per day and group, so that a question over a year reads the sums of each day and not its attempts. The view
-- nat_daily has the columns of nat_attempts, so that every question reads either.
CREATE TABLE IF NOT EXISTS nat_daily_sums_local ON CLUSTER '{cluster}' (
    day Date,
    connected Bool,
    version LowCardinality(String),
    error_type LowCardinality(String),
    nat_type LowCardinality(String),
    mapping LowCardinality(String),
    peer_nat_type LowCardinality(String),
    network_type LowCardinality(String),
    rule LowCardinality(String),
    servers_asked Int8,
    servers_answered Int8,
    base_scope LowCardinality(String),
    external_scope LowCardinality(String),
    pair_local LowCardinality(String),
    pair_remote LowCardinality(String),
    outlook LowCardinality(String),
    outlook_reason LowCardinality(String),
    failure_cause LowCardinality(String),
    stage LowCardinality(String),
    stage_verdict LowCardinality(String),
    attempt_number Int8,
    spans SimpleAggregateFunction(sum, UInt64),
    n SimpleAggregateFunction(sum, Float64),
    n2 SimpleAggregateFunction(sum, Float64),
    gathered SimpleAggregateFunction(sum, Float64),
    gather_sum SimpleAggregateFunction(sum, Float64)
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')
PARTITION BY day
ORDER BY (day, connected, version, error_type, nat_type, mapping, peer_nat_type, network_type, rule, servers_asked, servers_answered, base_scope, external_scope, pair_local, pair_remote, outlook, outlook_reason, failure_cause, stage, stage_verdict, attempt_number)
TTL day + INTERVAL 2 YEAR
SETTINGS ttl_only_drop_parts = 1;

-- Spans the shards. An insert goes to one of them.
CREATE TABLE IF NOT EXISTS nat_daily_sums ON CLUSTER '{cluster}' AS nat_daily_sums_local
ENGINE = Distributed('{cluster}', currentDatabase(), nat_daily_sums_local, rand());

CREATE MATERIALIZED VIEW IF NOT EXISTS nat_daily_fill ON CLUSTER '{cluster}' TO nat_daily_sums_local AS
SELECT toDate(Timestamp) AS day,
       SpanName = 'nat_success' AS connected,
       nat_version AS version,
       nat_error_type AS error_type,
       nat_type,
       nat_mapping AS mapping,
       nat_peer_nat_type AS peer_nat_type,
       nat_network_type AS network_type,
       nat_rule AS rule,
       nat_servers_asked AS servers_asked,
       nat_servers_answered AS servers_answered,
       nat_base_scope AS base_scope,
       nat_external_scope AS external_scope,
       nat_pair_local AS pair_local,
       nat_pair_remote AS pair_remote,
       nat_outlook AS outlook,
       nat_outlook_reason AS outlook_reason,
       nat_failure_cause AS failure_cause,
       nat_stage AS stage,
       nat_stage_verdict AS stage_verdict,
       nat_attempt_number AS attempt_number,
       count() AS spans,
       sum(nat_weight) AS n,
       sum(nat_weight * nat_weight) AS n2,
       sum(if(nat_gather_seconds < 0, 0, nat_weight)) AS gathered,
       sum(if(nat_gather_seconds < 0, 0, nat_gather_seconds * nat_weight)) AS gather_sum
FROM otel_traces_local
WHERE SpanName IN ('nat_success', 'nat_failure')
GROUP BY day, connected, version, error_type, nat_type, mapping, peer_nat_type, network_type, rule, servers_asked, servers_answered, base_scope, external_scope, pair_local, pair_remote, outlook, outlook_reason, failure_cause, stage, stage_verdict, attempt_number;

CREATE OR REPLACE VIEW nat_daily ON CLUSTER '{cluster}' AS
SELECT day,
       if(sums.version = '', 'unknown', sums.version) AS version,
       connected,
       nullIf(sums.error_type, '') AS error_type,
       if(sums.error_type = '', 'connected', sums.error_type) AS outcome,
       nullIf(sums.nat_type, '') AS nat_type,
       nullIf(sums.mapping, '') AS mapping,
       nullIf(sums.peer_nat_type, '') AS peer_nat_type,
       nullIf(sums.network_type, '') AS network_type,
       nullIf(sums.rule, '') AS rule,
       nullIf(sums.servers_asked, -1) AS servers_asked,
       nullIf(sums.servers_answered, -1) AS servers_answered,
       nullIf(sums.base_scope, '') AS base_scope,
       nullIf(sums.external_scope, '') AS external_scope,
       nullIf(sums.pair_local, '') AS pair_local,
       nullIf(sums.pair_remote, '') AS pair_remote,
       nullIf(sums.outlook, '') AS outlook,
       nullIf(sums.outlook_reason, '') AS outlook_reason,
       nullIf(sums.failure_cause, '') AS failure_cause,
       nullIf(sums.stage, '') AS stage,
       nullIf(sums.stage_verdict, '') AS stage_verdict,
       nullIf(sums.attempt_number, -1) AS attempt_number,
       spans,
       n,
       n2,
       gathered,
       gather_sum
FROM nat_daily_sums AS sums;
