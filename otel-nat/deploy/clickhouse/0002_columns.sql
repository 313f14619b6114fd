-- The attributes that questions group by, as columns of their own: a question then reads a few bytes per attempt, and not
-- the map. Absent is '' for a text and -1 for a number; the views give NULL for both. Parts that are older than the
-- columns compute them from the map at each read, until they are merged; `ALTER TABLE otel_traces MATERIALIZE COLUMN ...`
-- does it at once.
ALTER TABLE otel_traces
    ADD COLUMN IF NOT EXISTS nat_version LowCardinality(String) MATERIALIZED ResourceAttributes['service.version'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_error_type LowCardinality(String) MATERIALIZED SpanAttributes['error.type'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_type LowCardinality(String) MATERIALIZED SpanAttributes['nat_type'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_mapping LowCardinality(String) MATERIALIZED SpanAttributes['nat_mapping_behavior'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_peer_nat_type LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.peer.nat_type'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_network_type LowCardinality(String) MATERIALIZED SpanAttributes['network.type'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_rule LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.rule'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_servers_asked Int8 MATERIALIZED least(ifNull(toInt32OrNull(SpanAttributes['nat_telemetry.servers.asked']), -1), 127) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_servers_answered Int8 MATERIALIZED least(ifNull(toInt32OrNull(SpanAttributes['nat_telemetry.servers.answered']), -1), 127) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_base_scope LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.base.scope'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_external_scope LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.external.scope'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_pair_local LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.pair.local'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_pair_remote LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.pair.remote'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_outlook LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.outlook'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_outlook_reason LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.outlook.reason'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_failure_cause LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.failure.cause'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_stage LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.stage'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_stage_verdict LowCardinality(String) MATERIALIZED SpanAttributes['nat_telemetry.stage.verdict'] CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_attempt_number Int8 MATERIALIZED least(ifNull(toInt32OrNull(SpanAttributes['nat_telemetry.attempt.number']), -1), 10) CODEC(ZSTD(1)),
    ADD COLUMN IF NOT EXISTS nat_gather_seconds Float32 MATERIALIZED ifNull(toFloat32OrNull(SpanAttributes['nat_telemetry.gather.duration']), -1) CODEC(ZSTD(1)),
    -- The weight of a span under OpenTelemetry's consistent sampling: `th` in its trace state holds the first hexadecimal
    -- digits of the 56 bits below which trace ids are dropped. 1 without sampling.
    ADD COLUMN IF NOT EXISTS nat_weight Float64 MATERIALIZED 72057594037927936. / (72057594037927936 - reinterpretAsUInt64(reverse(unhex(rightPad(extract(TraceState, 'ot=(?:[^,]*;)?th:([0-9a-f]{1,14})'), 14, '0'))))) CODEC(ZSTD(1)),
    -- A batch that an exporter sends twice, because the answer to the first was lost, counts once.
    MODIFY SETTING non_replicated_deduplication_window = 10000;
