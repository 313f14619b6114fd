"""Writes what follows from the questions and the files of clickhouse/: the dashboards, and the same files for a cluster.

    pip install grafana-foundation-sdk
    python3 generate.py [--check]

With --check nothing is written; the program fails and names the files that are not current.
"""

import argparse
import json
import pathlib
import re

from grafana_foundation_sdk.builders import dashboard, table, timeseries
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

import report

FOLDER = pathlib.Path(__file__).parent
SPANS = "('nat_success', 'nat_failure')"
# Panels beside the tables: the question, the title, and what of its answer is drawn over the days.
SERIES = [
    (
        "blocked_by_day",
        "UDP blocked, by day",
        "SELECT toDateTime(toDate(date)) AS time, blocked_percent AS blocked, low_percent AS low, high_percent AS high",
        "",
    ),
    (
        "stage_by_release",
        "What stopped attempts, by day, release and verdict",
        "SELECT toDateTime(toDate(date)) AS time, concat(version, ' ', ifNull(stage_verdict, '')) AS verdict, percent",
        "WHERE stage_verdict IS NOT NULL",
    ),
]


def title(name):
    return name.replace("_", " ").replace("nat", "NAT").replace("stun", "STUN").capitalize()


def described(name):
    """The comment above a question, as one line."""
    lines = (FOLDER / "questions" / f"{name}.sql").read_text().splitlines()
    return " ".join(line.removeprefix("-- ") for line in lines if line.startswith("--"))


def asked(name):
    """The question, without its comment."""
    return "\n".join(line for line in report.question(name).splitlines() if not line.startswith("--"))


def over(attempts, name):
    return f"WITH attempts AS ({attempts})\n{asked(name)}"


def series(attempts, name, select, where):
    return "\n".join(filter(None, [f"WITH attempts AS ({attempts})", select, f"FROM (\n{asked(name)}\n)", where, "ORDER BY time"]))


# Grafana

GRAFANA = "SELECT * FROM ${relation} WHERE $__dateFilter(day)"
SOURCE = models.DataSourceRef(type_val="grafana-clickhouse-datasource", uid="${source}")


class Target(variants.Dataquery):
    """A target of the plugin grafana-clickhouse-datasource. As a builder, it is built already."""

    def __init__(self, sql, kind):
        self.sql, self.kind = sql, kind

    def build(self):
        return self

    def to_json(self):
        return {
            "datasource": SOURCE,
            "editorType": "sql",
            "format": {"timeseries": 0, "table": 1}[self.kind],
            "queryType": self.kind,
            "rawSql": self.sql,
            "refId": "A",
        }


def grafana():
    relation = dashboard.CustomVariable("relation").label("Attempts, or sums of each day").values("nat_attempts,nat_daily")
    relation = relation.current(models.VariableOption(selected=True, text="nat_daily", value="nat_daily"))
    page = (
        dashboard.Dashboard("NAT traversal")
        .uid("nat-traversal")
        .description("Connection attempts of a fleet, from the spans of otel-nat in ClickHouse. Generated: see generate.py.")
        .tags(["nat", "ice", "generated"])
        .time("now-30d", "now")
        .with_variable(dashboard.DatasourceVariable("source").label("ClickHouse").type("grafana-clickhouse-datasource"))
        .with_variable(relation)
    )
    for name, heading, select, where in SERIES:
        panel = timeseries.Panel().title(heading).description(described(name)).datasource(SOURCE)
        panel = panel.unit("percent").min(0).span(24).height(9)
        page = page.with_panel(panel.with_target(Target(series(GRAFANA, name, select, where), "timeseries")))
    for name in report.QUESTIONS:
        panel = table.Panel().title(title(name)).description(described(name)).datasource(SOURCE).span(12).height(10)
        page = page.with_panel(panel.with_target(Target(over(GRAFANA, name), "table")))
    built = page.build()
    text = json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True)
    # the types of the SDK read what they wrote; targets stay as they are, because the SDK has no type for the plugin
    read = json.loads(json.dumps(models.Dashboard.from_json(strip(json.loads(text))), cls=JSONEncoder))
    if read != strip(json.loads(text)):
        raise SystemExit("the dashboard is not what grafana-foundation-sdk reads")
    return text + "\n"


def strip(page):
    for panel in page["panels"]:
        panel.pop("targets", None)
    return page


# SigNoz

DESCRIPTION = "Connection attempts of a fleet, from the spans of otel-nat. Generated: see generate.py."


def columns():
    """The columns of clickhouse/0002_columns.sql: name, and the expression that makes it."""
    text = (FOLDER / "clickhouse/0002_columns.sql").read_text()
    return re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) .*? MATERIALIZED (.*) CODEC", text)


def signoz_attempts():
    """The columns of nat_attempts, from SigNoz' table of spans."""
    view = (FOLDER / "clickhouse/0003_attempts.sql").read_text()
    select = view.partition("AS\nSELECT ")[2].partition("FROM otel_traces")[0].replace("traces.nat_type", "nat_type_")
    for name, expression in columns():
        expression = re.sub(r"ResourceAttributes\['([^']+)'\]", r"ifNull(resource.`\1`::Nullable(String), '')", expression)
        # a number is in a map of its own
        number = re.search(r"to\w+OrNull\(SpanAttributes(\['[^']+'\])\)", expression)
        if number:
            key = number[1][1:-1]
            value = f"if(mapContains(attributes_number, {key}), attributes_number[{key}], NULL)"
            expression = expression.replace(number[0], value)
        expression = expression.replace("SpanAttributes", "attributes_string").replace("TraceState", "trace_state")
        name = "nat_type_" if name == "nat_type" else name
        select = re.sub(rf"\b{name}\b", lambda _: f"({expression})", select)
    select = select.replace("Timestamp", "timestamp").replace("SpanName", "name").replace("Duration", "duration_nano")
    return (
        f"SELECT {select}FROM signoz_traces.distributed_signoz_index_v3\n"
        f"WHERE name IN {SPANS}\n"
        "  AND timestamp BETWEEN {{.start_datetime}} AND {{.end_datetime}}\n"
        "  AND ts_bucket_start BETWEEN {{.start_timestamp}} - 1800 AND {{.end_timestamp}}"
    )


def signoz_panels():
    """Of each panel: an identity, the heading, the question, whether it is a line over the days, the query, the width of 12."""
    attempts = signoz_attempts()
    for name, heading, select, where in SERIES:
        # SigNoz names the columns: `ts` and `value`, and the rest are labels
        select = select.replace(" AS time", " AS ts").replace("blocked_percent AS blocked, low_percent AS low, high_percent AS high", "blocked_percent AS value")
        select = re.sub(r"\bpercent$", "percent AS value", select)
        sql = series(attempts, name, select, where).replace("ORDER BY time", "ORDER BY ts")
        yield f"{name}_by_time", heading, name, True, sql, 12
    for name in report.QUESTIONS:
        yield name, title(name), name, False, over(attempts, name), 6


def placed(panels):
    """The panels, each with the column and the row of its upper left corner."""
    taken = 0
    for panel in panels:
        yield panel, taken % 12, taken // 12 * 9
        taken += panel[-1]


def signoz():
    """The schema `v6` of SigNoz 0.135 and later."""
    panels, items = {}, []
    for (identity, heading, name, is_line, sql, width), x, y in placed(signoz_panels()):
        kind, asked_as = ("signoz/TimeSeriesPanel", "time_series") if is_line else ("signoz/TablePanel", "scalar")
        look = {"formatting": {"unit": "percent"}, "axes": {"softMin": 0}} if is_line else {}
        query = {"kind": "signoz/ClickHouseSQL", "spec": {"name": "A", "query": sql, "disabled": False, "legend": ""}}
        panels[identity] = {"kind": "Panel", "spec": {
            "display": {"name": heading, "description": described(name)},
            "plugin": {"kind": kind, "spec": look},
            "queries": [{"kind": asked_as, "spec": {"name": "A", "plugin": query}}],
        }}
        items.append({"x": x, "y": y, "width": width, "height": 9, "content": {"$ref": f"#/spec/panels/{identity}"}})
    page = {
        "schemaVersion": "v6", "name": "nat-traversal", "tags": [{"key": "area", "value": "nat"}],
        "spec": {
            "display": {"name": "NAT traversal", "description": DESCRIPTION}, "variables": [], "panels": panels,
            "layouts": [{"kind": "Grid", "spec": {"items": items}}], "duration": "30d",
        },
    }
    return json.dumps(page, indent=2, sort_keys=True) + "\n"


def signoz_before_v6():
    """The schema of SigNoz before 0.135."""
    widgets, layout = [], []
    for (identity, heading, name, is_line, sql, width), x, y in placed(signoz_panels()):
        widgets.append({
            "id": identity, "title": heading, "description": described(name), "panelTypes": "graph" if is_line else "table",
            "isStacked": False, "nullZeroValues": "zero", "opacity": "1", "timePreferance": "GLOBAL_TIME",
            "yAxisUnit": "percent" if is_line else "none", "softMin": 0 if is_line else None, "softMax": None,
            "selectedLogFields": None, "selectedTracesFields": None,
            "query": {
                "id": identity, "queryType": "clickhouse_sql",
                "clickhouse_sql": [{"name": "A", "legend": "", "disabled": False, "query": sql}],
                "builder": {"queryData": [], "queryFormulas": []},
                "promql": [],
            },
        })
        layout.append({"i": identity, "x": x, "y": y, "w": width, "h": 9})
    page = {
        "title": "NAT traversal", "description": DESCRIPTION,
        "tags": ["nat", "ice", "generated"], "version": "v4", "variables": {}, "widgets": widgets, "layout": layout,
    }
    return json.dumps(page, indent=2, sort_keys=True) + "\n"


# a cluster

REPLICATED = "Replicated{kind}MergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"
# one for all shards, because apply.py may ask any host
OF_ALL = "ReplicatedMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}')"


def of_cluster(text):
    """A file of clickhouse/ for every host of a cluster: each table replicated, with one before it that spans the shards."""
    text = re.sub(r"\b(otel_traces|nat_daily_sums)\b", r"\1_local", text)
    engine = OF_ALL if "nat_schema" in text else REPLICATED
    text = re.sub(r"ENGINE = (Aggregating)?MergeTree", lambda found: "ENGINE = " + engine.replace("{kind}", found[1] or ""), text)
    text = re.sub(r"^(CREATE (?:OR REPLACE )?(?:TABLE|VIEW|MATERIALIZED VIEW|FUNCTION) (?:IF NOT EXISTS )?\w+|ALTER TABLE \w+)", r"\1 ON CLUSTER '{cluster}'", text, flags=re.M)
    # the views that the questions read span the shards; the one that fills the sums does not
    text = text.replace("FROM otel_traces_local AS traces", "FROM otel_traces AS traces").replace("FROM nat_daily_sums_local AS sums", "FROM nat_daily_sums AS sums")
    text = text.replace("non_replicated_deduplication_window", "replicated_deduplication_window")
    for name in re.findall(r"CREATE TABLE IF NOT EXISTS (otel_traces|nat_daily_sums)_local", text):
        key = {"otel_traces": "cityHash64(TraceId)", "nat_daily_sums": "rand()"}[name]
        distributed = (
            "-- Spans the shards. An insert goes to one of them.\n"
            f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER '{{cluster}}' AS {name}_local\n"
            f"ENGINE = Distributed('{{cluster}}', currentDatabase(), {name}_local, {key});\n"
        )
        text = text.replace("CREATE MATERIALIZED VIEW", distributed + "\nCREATE MATERIALIZED VIEW", 1) if "CREATE MATERIALIZED VIEW" in text else text + "\n" + distributed
    return "-- Generated from the file of this name in the folder above, by generate.py.\n" + text


def with_columns(cluster):
    """The columns once more for the table that spans the shards: it reads them, and leaves them to the shards on an insert."""
    names = "".join(
        f",\n    ADD COLUMN IF NOT EXISTS {name} {kind} MATERIALIZED {expression}" for name, kind, expression in
        re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) (.*?) MATERIALIZED (.*) CODEC", cluster["0002_columns.sql"])
    )
    cluster["0002_columns.sql"] += f"\nALTER TABLE otel_traces ON CLUSTER '{{cluster}}'{names.removeprefix(',')};\n"
    return cluster


def files():
    """Every generated file: its path, and its text."""
    yield "grafana/nat.json", grafana()
    yield "signoz/nat.json", signoz()
    yield "signoz/nat-before-0.135.json", signoz_before_v6()
    cluster = {path.name: of_cluster(path.read_text()) for path in sorted((FOLDER / "clickhouse").glob("0*.sql"))}
    for name, text in with_columns(cluster).items():
        yield f"clickhouse/cluster/{name}", text


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="writes nothing, and fails where a file is not current")
    check = arguments.parse_args().check
    stale = []
    for name, text in files():
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    if stale and check:
        raise SystemExit(f"run generate.py, these files are not current: {', '.join(stale)}")
    print("\n".join(stale) or "all current")


if __name__ == "__main__":
    main()
