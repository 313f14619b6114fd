"""Runs what `otel-nat/deploy` holds beside the questions, over the attempts in a ClickHouse server.

    python3 deployed.py DEPLOY URL

It prints a JSON list of checks: the name, the faults, and the reason where a check is skipped.
"""

import concurrent.futures
import contextlib
import http.server
import json
import math
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

DEPLOY, URL = pathlib.Path(sys.argv[1]), sys.argv[2]
sys.path[:0] = [str(DEPLOY), str(DEPLOY / "clickhouse"), str(pathlib.Path(__file__).parent)]
sys.dont_write_bytecode = True

import apply  # noqa: E402
import formats  # noqa: E402
import report  # noqa: E402


def ask(sql):
    return json.loads(apply.send(URL, "otel", f"{sql}\nFORMAT JSONCompact")[0])["data"]


def do(sql):
    return apply.send(URL, "otel", sql)[0]


def is_near(one, other):
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and abs(one - other) < 0.0101
    return one == other


def is_same(one, other):
    return len(one) == len(other) and all(
        len(a) == len(b) and all(map(is_near, a, b)) for a, b in zip(one, other)
    )


def panels(page):
    """The name of a panel and its query, of a dashboard of Grafana or of SigNoz."""
    if "spec" in page:
        for panel in page["spec"]["panels"].values():
            yield panel["spec"]["display"]["name"], panel["spec"]["queries"][0]["spec"]["plugin"]["spec"]["query"]
    for panel in page.get("panels", []):
        yield panel["title"], panel["targets"][0]["rawSql"]
    for widget in page.get("widgets", []):
        yield widget["title"], widget["query"]["clickhouse_sql"][0]["query"]


def generated():
    """The generated files are current, and a file that was changed by hand is noticed."""
    program = [sys.executable, DEPLOY / "generate.py", "--check"]
    done = subprocess.run(program, capture_output=True, text=True)
    return [] if done.returncode == 0 else [done.stderr.strip().splitlines()[-1]]


def grafana():
    """Every query of every panel of Grafana's dashboard, over both relations."""
    page = json.loads((DEPLOY / "grafana/nat.json").read_text())
    faults = []
    for relation in ("nat_attempts", "nat_daily"):
        # as the plugin expands them
        expand = lambda sql: re.sub(  # noqa: E731
            r"\$__dateFilter\((\w+)\)", r"\1 >= toDate(now() - 86400 * 60) AND \1 <= toDate(now())", sql
        ).replace("${relation}", relation)
        faults += answers_of(page, expand, f"over {relation}")
    return faults


def signoz():
    """The dashboard's schema, and every query of every panel over a table with the columns of SigNoz'."""
    page = json.loads((DEPLOY / "signoz/nat.json").read_text())
    faults = formats.dashboard(page)
    older = json.loads((DEPLOY / "signoz/nat-before-0.135.json").read_text())
    if dict(panels(older)) != dict(panels(page)) or len(older["layout"]) != len(page["spec"]["panels"]):
        faults.append("the dashboard before 0.135 asks something else")
    do("CREATE DATABASE IF NOT EXISTS signoz_traces")
    do("DROP TABLE IF EXISTS signoz_traces.distributed_signoz_index_v3")
    do("""CREATE TABLE signoz_traces.distributed_signoz_index_v3 (
        ts_bucket_start UInt64, timestamp DateTime64(9), trace_id String, span_id String, trace_state String,
        name LowCardinality(String), duration_nano UInt64, status_code_string LowCardinality(String), resource JSON,
        attributes_string Map(LowCardinality(String), String), attributes_number Map(LowCardinality(String), Float64),
        attributes_bool Map(LowCardinality(String), Bool)
    ) ENGINE = MergeTree ORDER BY (ts_bucket_start, timestamp)""")
    do("""INSERT INTO signoz_traces.distributed_signoz_index_v3
        SELECT intDiv(toUnixTimestamp(Timestamp), 1800) * 1800, Timestamp, TraceId, SpanId, TraceState, SpanName, Duration,
               StatusCode, toJSONString(ResourceAttributes), mapFilter((k, v) -> toFloat64OrNull(v) IS NULL, SpanAttributes),
               mapApply((k, v) -> (k, toFloat64(v)), mapFilter((k, v) -> toFloat64OrNull(v) IS NOT NULL, SpanAttributes)), map()
        FROM otel_traces""")
    expand = lambda sql: (  # noqa: E731
        sql.replace("{{.start_datetime}}", "now() - 86400 * 60").replace("{{.end_datetime}}", "now()")
        .replace("{{.start_timestamp}}", "toUnixTimestamp(now() - 86400 * 60)").replace("{{.end_timestamp}}", "toUnixTimestamp(now())")
    )
    faults += answers_of(page, expand, "over SigNoz' table")
    do("DROP TABLE signoz_traces.distributed_signoz_index_v3")
    return faults


def answers_of(page, expand, where):
    """Runs every panel: a table's answer is that of its question, and a line has points."""
    titles = {name.replace("_", " ").replace("nat", "NAT").replace("stun", "STUN").capitalize(): name for name in report.QUESTIONS}
    faults, seen = [], set()
    for title, sql in panels(page):
        try:
            rows = ask(expand(sql))
        except SystemExit as error:
            faults.append(f"{title}, {where}: {str(error)[:300]}")
            continue
        if title in titles:
            seen.add(titles[title])
            if not is_same(rows, EXPECTED[titles[title]]):
                faults.append(f"{title}, {where}: the answer is not that of the question")
        elif not rows:
            faults.append(f"{title}, {where}: nothing to draw")
    faults += [f"{name}, {where}: no panel asks it" for name in report.QUESTIONS if name not in seen]
    return faults


CLUSTER = """<clickhouse>
<tcp_port>9000</tcp_port>
<remote_servers><nat><shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard></nat></remote_servers>
</clickhouse>"""
IN_CLUSTER = """
import json, re, sys
sys.path[:0] = [sys.argv[1] + "/clickhouse", sys.argv[1]]
import pathlib, apply, report
from chdb import session
base = session.Session(f"{sys.argv[3]}/data?config-file={sys.argv[2]}")
base.query("CREATE DATABASE otel"); base.query("USE otel")
def ask(sql):
    # there is no keeper in a process: tables are not replicated, and each statement runs here alone
    sql = sql.replace(" ON CLUSTER '{cluster}'", "").replace("{cluster}", "nat").replace("replicated_dedup", "non_replicated_dedup")
    return str(base.query(re.sub(r"Replicated(\\w*)MergeTree\\('[^']*', '[^']*'\\)", r"\\1MergeTree", sql), "TSV"))
apply.apply(ask, pathlib.Path(sys.argv[1]) / "clickhouse/cluster")
ask(f"INSERT INTO otel_traces SELECT * FROM file('{sys.argv[3]}/traces.native', Native)")
ask("SYSTEM FLUSH DISTRIBUTED otel_traces")
answers = {}
for relation in ("nat_attempts", "nat_daily"):
    for name in report.QUESTIONS:
        sql = f"WITH attempts AS (SELECT * FROM {relation})\\n{report.question(name)}"
        answers[f"{name}, over {relation}"] = json.loads(str(base.query(sql, "JSONCompact")))["data"]
print(json.dumps(answers))
"""


def cluster():
    """The files of a cluster: as they are, each statement parses; with one shard and without replication, they run."""
    faults = []
    for path in sorted((DEPLOY / "clickhouse/cluster").glob("0*.sql")):
        for statement in apply.statements(path.read_text()):
            is_of_shard = "Replicated" in statement and "/{shard}/" in statement
            if "Replicated" in statement and is_of_shard == ("nat_schema" in statement):
                faults.append(f"{path.name}: the sums and spans are those of a shard, and nat_schema is one for all")
            try:
                do(f"EXPLAIN AST {statement.removesuffix(';')}")
            except SystemExit as error:
                faults.append(f"{path.name}: {str(error)[:300]}")
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "config.xml"
        config.write_text(CLUSTER)
        do(f"INSERT INTO FUNCTION file('{folder}/traces.native', Native) SELECT * FROM otel_traces")
        program = [sys.executable, "-B", "-c", IN_CLUSTER, str(DEPLOY), str(config), folder]
        done = subprocess.run(program, capture_output=True, text=True)
        if done.returncode:
            return [done.stderr.strip()[-600:]]
    answers = json.loads(done.stdout)
    faults += [f"{name}: the answer is another" for name, rows in answers.items() if not is_same(rows, EXPECTED[name.partition(",")[0]])]
    return faults


SCRAPED = """# TYPE nat_telemetry_attempt_duration_seconds histogram
nat_telemetry_attempt_duration_seconds_bucket{nat_type="Cone NAT",le="0.5"} %d
nat_telemetry_attempt_duration_seconds_bucket{nat_type="Cone NAT",le="+Inf"} %d
nat_telemetry_attempt_duration_seconds_count{nat_type="Cone NAT"} %d
nat_telemetry_attempt_duration_seconds_sum{nat_type="Cone NAT"} %d
nat_telemetry_attempt_duration_seconds_count{nat_type="Cone NAT",error_type="timeout"} %d
"""


def prometheus():
    """The rules by promtool, and then in a Prometheus that scrapes a page with our names."""
    rules = DEPLOY / "prometheus"
    for line in (["check", "config", rules / "prometheus.yml"], ["test", "rules", rules / "rules_test.yml"]):
        done = subprocess.run(["promtool", *line], capture_output=True, text=True)
        if done.returncode:
            return [done.stdout.strip() + done.stderr.strip()]
    started = time.time()

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            n = int(10 * (time.time() - started)) + 1
            page = (SCRAPED % (n, n, n, n, n)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            pass

    page = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        config = pathlib.Path(folder) / "prometheus.yml"
        text = (rules / "prometheus.yml").read_text().replace("127.0.0.1:8889", f"127.0.0.1:{page.server_port}")
        config.write_text(text.replace("scrape_interval: 30s, evaluation_interval: 1m", "scrape_interval: 250ms, evaluation_interval: 250ms"))
        # a minute is too long for a check, and the rules stay as they are otherwise
        (pathlib.Path(folder) / "rules.yml").write_text((rules / "rules.yml").read_text().replace("interval: 1m", "interval: 250ms"))
        server = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            # far from the few seconds that it takes, because other work may keep the machine busy
            until = time.time() + 90
            while time.time() < until:
                time.sleep(0.25)
                with contextlib.suppress(OSError):
                    query = urllib.parse.urlencode({"query": "nat:success:ratio_rate1h"})
                    answer = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{query}", timeout=5))
                    values = [float(result["value"][1]) for result in answer["data"]["result"]]
                    if values and abs(values[0] - 0.5) < 0.05:
                        return []
            return ["Prometheus did not record half of the attempts as successes within 90 s"]
        finally:
            server.terminate()
            server.wait()
            page.shutdown()


SPAN = """{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%d","spanId":"%d","name":"nat_success","traceState":"%s",
"startTimeUnixNano":"1","endTimeUnixNano":"2","attributes":[]}]}]}]}"""
# trace states, and the weight of a span with each
WEIGHTS = {"": 1, "ot=th:0": 1, "ot=th:8": 2, "ot=th:c": 4, "ot=rv:00000000000001;th:e666666666666": 10, "a=b,ot=th:8": 2, "a=th:8": 1}


def sampled():
    """Failures and a tenth of the successes have the shares of all, by their weights; both engines weigh alike."""
    faults = []
    columns = "Timestamp, TraceId, SpanId, TraceState, SpanName, ServiceName, ResourceAttributes, SpanAttributes, Duration"
    do("CREATE TABLE sampled AS otel_traces")
    view = do("SELECT as_select FROM system.tables WHERE database = 'otel' AND name = 'nat_attempts' FORMAT TSVRaw")
    do(f"CREATE OR REPLACE VIEW nat_attempts_sampled AS {view.replace('otel_traces', 'sampled')}")
    for place, state in enumerate(WEIGHTS):
        # a row without a time would be older than the retention
        do(f"INSERT INTO sampled (Timestamp, SpanName, TraceId, TraceState) SELECT now64(9), 'nat_success', '{place}', '{state}'")
    weights = [row[0] for row in ask("SELECT nat_weight FROM sampled ORDER BY TraceId")]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as lines:
        for place, state in enumerate(WEIGHTS):
            lines.write((SPAN % (place, place, state)).replace("\n", "") + "\n")
        lines.flush()
        engine = report.DuckDb(lines.name)
        # spans have their own ids, and so the order of the file is lost
        theirs = [row[0] for row in engine.database.execute("SELECT n FROM attempts ORDER BY n").fetchall()]
    for engine, told in (("ClickHouse", weights), ("DuckDB", theirs)):
        expected = list(WEIGHTS.values()) if engine == "ClickHouse" else sorted(WEIGHTS.values())
        if any(abs(one - other) > 1e-6 for one, other in zip(told, expected)) or len(told) != len(expected):
            faults.append(f"{engine} weighs {told}, and not {expected}")
    do("TRUNCATE TABLE sampled")
    do(f"""INSERT INTO sampled ({columns}) SELECT * REPLACE (if(SpanName = 'nat_success', 'ot=th:e666666666666', '') AS TraceState)
        FROM (SELECT {columns} FROM otel_traces) WHERE SpanName = 'nat_failure' OR cityHash64(TraceId) % 10 = 0""")
    rows = {row[0]: row for row in ask(f"WITH attempts AS (SELECT * FROM nat_attempts_sampled)\n{report.question('success_by_nat_type')}")}
    for full in EXPECTED["success_by_nat_type"]:
        # nat_type, attempts, connected, failed, cancelled, success_percent, low_percent, high_percent
        # every failure is kept, and of the successes one in ten
        connected, failed, found = full[2], full[3], rows[full[0]][5]
        share = lambda kept: 100 * 10 * kept / (10 * kept + failed) if kept else 0
        # five standard deviations of the number that is kept: once in a million
        spread = 5 * math.sqrt(connected * 0.1 * 0.9)
        low, high = share(max(connected / 10 - spread, 0)), share(connected / 10 + spread)
        if not low - 0.02 <= found <= high + 0.02:
            faults.append(f"{full[0]}: {found} % of the sampled, and {full[5]} % of all")
    do("DROP TABLE nat_attempts_sampled")
    do("DROP TABLE sampled")
    return faults


def missing(*programs):
    absent = [program for program in programs if shutil.which(program) is None]
    return f"there is no {absent[0]}; apt-get install prometheus" if absent else None


EXPECTED = {name: ask(f"WITH attempts AS (SELECT * FROM nat_attempts)\n{report.question(name)}") for name in report.QUESTIONS}


def row(name, check, skipped=None):
    begun = time.time()
    faults = [] if skipped else check()
    return {"check": name, "faults": faults, "skipped": skipped, "seconds": round(time.time() - begun, 1)}


# Prometheus waits for its clock and for nothing else, so it runs beside the others
with concurrent.futures.ThreadPoolExecutor() as beside:
    rules = beside.submit(row, "rules of Prometheus", prometheus, missing("promtool", "prometheus"))
    results = [
        row("generated files are current", generated),
        row("the collector's files, by its schemas", lambda: formats.collectors(DEPLOY / "collector")),
        row("the registry, by weaver's schema", lambda: formats.registry(DEPLOY.parent / "docs/registry/nat.yaml")),
        row("panels of Grafana", grafana),
        row("panels of SigNoz", signoz),
        row("sampling without bias", sampled),
        row("files of a cluster", cluster),
        rules.result(),
    ]
print(json.dumps(results))
