"""Asks the attempts of a fleet the questions of operators, in DuckDB or ClickHouse, and draws the answers.

    pip install duckdb matplotlib
    python3 report.py spans.jsonl [--json] [--picture report.svg]
    python3 report.py http://localhost:8123 --relation nat_daily

The questions are the files of questions/, one text for both engines. They read a relation `attempts`, which is made by
duckdb/ or clickhouse/.
"""

import argparse
import json
import pathlib
import sys
import time

FOLDER = pathlib.Path(__file__).parent
QUESTIONS = [
    "success_by_nat_type",
    "mapping_by_outcome",
    "blocked_share",
    "rule_by_evidence",
    "success_by_nat_pair",
    "outlook_by_outcome",
    "stun_by_network_type",
    "blocked_by_day",
    "carrier_nat",
    "relay_though_direct",
    "attempt_number",
    "stage_by_release",
    "frozen_paths",
]


def question(name):
    """The text of a question."""
    return (FOLDER / "questions" / f"{name}.sql").read_text().rstrip().removesuffix(";")


class DuckDb:
    """Attempts from OTLP/JSON lines, or from a Parquet file with the columns of `nat_attempts`."""

    def __init__(self, spans):
        import duckdb

        self.database = duckdb.connect()
        self.database.execute((FOLDER / "duckdb/functions.sql").read_text())
        if spans.endswith(".parquet"):
            self.database.execute(f"CREATE VIEW attempts AS SELECT * FROM read_parquet('{spans}')")
        else:
            self.database.execute((FOLDER / "duckdb/attempts.sql").read_text(), {"spans": spans})

    def ask(self, name):
        asked = self.database.execute(question(name))
        heads = [column[0] for column in asked.description]
        return heads, asked.fetchall(), None


class ClickHouse:
    """Attempts in a server, over its HTTP interface; user and password as clickhouse/apply.py takes them."""

    def __init__(self, url, database, relation):
        sys.path.insert(0, str(FOLDER / "clickhouse"))
        import apply

        self.send, self.url, self.database, self.relation = apply.send, url, database, relation

    def ask(self, name):
        text = f"WITH attempts AS (SELECT * FROM {self.relation})\n{question(name)}\nFORMAT JSONCompact"
        answer, summary = self.send(self.url, self.database, text)
        answer = json.loads(answer)
        return [column["name"] for column in answer["meta"]], answer["data"], int(summary.get("read_bytes", 0))


def table(heads, rows):
    cells = [heads, *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("spans", help="OTLP/JSON lines: a file, or a pattern for several; or the URL of a ClickHouse server")
    arguments.add_argument("--database", default="otel", help="of the ClickHouse server")
    arguments.add_argument("--relation", default="nat_attempts", help="nat_attempts, or nat_daily for the sums of each day")
    arguments.add_argument("--json", action="store_true", help="an object for each question, a line each, as it is answered")
    arguments.add_argument("--picture", metavar="FILE", help="draws the answers there, as PNG or SVG")
    chosen = arguments.parse_args()
    if chosen.spans.startswith(("http://", "https://")):
        engine = ClickHouse(chosen.spans, chosen.database, chosen.relation)
    else:
        engine = DuckDb(chosen.spans)
    answers = {}
    for name in QUESTIONS:
        started = time.monotonic()
        heads, rows, read = engine.ask(name)
        seconds = time.monotonic() - started
        answers[name] = {
            "question": name, "columns": heads, "rows": [dict(zip(heads, row)) for row in rows],
            "seconds": seconds, "bytes_read": read,
        }
        text = json.dumps(answers[name]) if chosen.json else f"{name.replace('_', ' ')}\n\n{table(heads, rows)}\n"
        print(text, flush=True)
    if chosen.picture:
        import picture

        picture.draw(answers, chosen.picture)


if __name__ == "__main__":
    main()
