-- One row per attempt, from OTLP/JSON lines as `Pipeline::json_lines` or a collector's file exporter writes them.
-- $spans: the file, or a pattern for several. A span that was delivered twice is one attempt.
-- spans, n, n2: the row itself, its weight under sampling, and the square of that weight. A question sums them, so that
-- the same text also reads a rollup.
CREATE OR REPLACE TEMP TABLE attempts AS
WITH resources AS (
    SELECT unnest("resourceSpans") AS resource_spans
    FROM read_json(
        $spans,
        format = 'newline_delimited',
        maximum_object_size = 67108864,
        columns = {
            "resourceSpans": 'STRUCT(
                resource STRUCT(attributes STRUCT("key" VARCHAR, "value" STRUCT(stringValue VARCHAR))[]),
                scopeSpans STRUCT(
                    spans STRUCT(
                        traceId VARCHAR, spanId VARCHAR, traceState VARCHAR, name VARCHAR,
                        startTimeUnixNano UBIGINT, endTimeUnixNano UBIGINT,
                        attributes STRUCT("key" VARCHAR, "value" STRUCT(
                            stringValue VARCHAR, boolValue BOOLEAN, intValue BIGINT, doubleValue DOUBLE))[]
                    )[]
                )[]
            )[]'
        }
    )
),
scopes AS (
    SELECT [a.value.stringValue FOR a IN resource_spans.resource.attributes IF a.key = 'service.version'][1] AS version,
           unnest(resource_spans.scopeSpans) AS scope_spans
    FROM resources
),
spans AS (SELECT version, unnest(scope_spans.spans) AS span FROM scopes),
told AS (
    SELECT version, span,
           map([a.key FOR a IN span.attributes],
               [coalesce(a.value.stringValue, a.value.boolValue::VARCHAR, a.value.intValue::VARCHAR,
                         a.value.doubleValue::VARCHAR) FOR a IN span.attributes]) AS say,
           -- OpenTelemetry's threshold of consistent sampling: the first hexadecimal digits of 56 bits
           nullif(regexp_extract(coalesce(span.traceState, ''), 'ot=(?:[^,]*;)?th:([0-9a-f]{1,14})', 1), '') AS threshold
    FROM spans
    WHERE span.name IN ('nat_success', 'nat_failure')
),
weighed AS (
    SELECT *, coalesce(72057594037927936.0 / (72057594037927936 - ('0x' || rpad(threshold, 14, '0'))::UBIGINT), 1.0) AS n
    FROM told
)
SELECT make_timestamp_ns(span.startTimeUnixNano::BIGINT) AS began,
       began::DATE AS day,
       coalesce(version, 'unknown') AS version,
       span.name = 'nat_success' AS connected,
       say['error.type'] AS error_type,
       coalesce(error_type, 'connected') AS outcome,
       say['nat_type'] AS nat_type,
       say['nat_mapping_behavior'] AS mapping,
       say['nat_telemetry.peer.nat_type'] AS peer_nat_type,
       say['network.type'] AS network_type,
       say['nat_telemetry.rule'] AS rule,
       say['nat_telemetry.servers.asked']::INTEGER AS servers_asked,
       say['nat_telemetry.servers.answered']::INTEGER AS servers_answered,
       say['nat_telemetry.base.scope'] AS base_scope,
       say['nat_telemetry.external.scope'] AS external_scope,
       say['nat_telemetry.pair.local'] AS pair_local,
       say['nat_telemetry.pair.remote'] AS pair_remote,
       say['nat_telemetry.outlook'] AS outlook,
       say['nat_telemetry.outlook.reason'] AS outlook_reason,
       say['nat_telemetry.failure.cause'] AS failure_cause,
       say['nat_telemetry.stage'] AS stage,
       say['nat_telemetry.stage.verdict'] AS stage_verdict,
       -- `least` skips NULL
       nullif(least(coalesce(say['nat_telemetry.attempt.number']::INTEGER, -1), 10), -1) AS attempt_number,
       (span.endTimeUnixNano - span.startTimeUnixNano) / 1e9 AS seconds,
       say['nat_telemetry.gather.duration']::DOUBLE AS gather_seconds,
       1 AS spans,
       n,
       n * n AS n2,
       CASE WHEN gather_seconds IS NULL THEN 0 ELSE n END AS gathered,
       coalesce(gather_seconds, 0) * n AS gather_sum
FROM weighed
QUALIFY row_number() OVER (PARTITION BY span.traceId, span.spanId) = 1;
