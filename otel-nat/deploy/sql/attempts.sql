-- One row per attempt, from OTLP/JSON lines as `Pipeline::json_lines` or a collector's file exporter writes them.
-- $spans: the file, or a pattern for several. A span that was delivered twice is one attempt.
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
                        traceId VARCHAR, spanId VARCHAR, name VARCHAR,
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
                         a.value.doubleValue::VARCHAR) FOR a IN span.attributes]) AS say
    FROM spans
    WHERE span.name IN ('nat_success', 'nat_failure')
)
SELECT coalesce(version, 'unknown') AS version,
       span.name = 'nat_success' AS connected,
       say['error.type'] AS error_type,
       say['nat_type'] AS nat_type,
       say['nat_mapping_behavior'] AS mapping,
       say['nat_telemetry.rule'] AS rule,
       say['nat_telemetry.servers.asked']::INTEGER AS servers_asked,
       say['nat_telemetry.servers.answered']::INTEGER AS servers_answered,
       say['nat_telemetry.failure.cause'] AS failure_cause,
       say['nat_telemetry.stage'] AS stage,
       say['nat_telemetry.stage.verdict'] AS stage_verdict,
       say['nat_telemetry.peer.nat_type'] AS peer_nat_type,
       (span.endTimeUnixNano - span.startTimeUnixNano) / 1e9 AS seconds
FROM told
QUALIFY row_number() OVER (PARTITION BY span.traceId, span.spanId) = 1;
