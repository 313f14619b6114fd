"""Applies the files of this folder to a ClickHouse server, in order, each once.

    python3 apply.py http://localhost:8123 --database otel [--cluster NAME]
    python3 apply.py http://localhost:8123 --rebuild

The table nat_schema names the files that were applied, each with the hash of its text. A file never changes after a
release: what changes later is a file of its own. Names and passwords go as CLICKHOUSE_USER and CLICKHOUSE_PASSWORD.
"""

import argparse
import hashlib
import json
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request

FOLDER = pathlib.Path(__file__).parent


def send(url, database, statement):
    """The answer to one statement, and the server's summary of it."""
    parameters = {"database": database, "wait_end_of_query": 1}
    request = urllib.request.Request(f"{url}/?{urllib.parse.urlencode(parameters)}", statement.encode())
    for header, variable in (("X-ClickHouse-User", "CLICKHOUSE_USER"), ("X-ClickHouse-Key", "CLICKHOUSE_PASSWORD")):
        if variable in os.environ:
            request.add_header(header, os.environ[variable])
    try:
        with urllib.request.urlopen(request, timeout=3600) as answer:
            return answer.read().decode(), json.loads(answer.headers.get("X-ClickHouse-Summary") or "{}")
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{error.read().decode().strip()}\nin: {statement}") from None


def statements(text):
    """The statements of a file, without the comments between them."""
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip().strip(";")]


def apply(ask, folder, until=None):
    """Applies the files that were not yet applied, up to the one named; their names."""
    for statement in statements((folder / "0000_schema.sql").read_text()):
        ask(statement)
    known = dict(line.split("\t") for line in ask("SELECT file, hash FROM nat_schema FORMAT TSV").splitlines())
    applied = []
    for path in sorted(folder.glob("0*.sql"))[1:]:
        text = path.read_text()
        hashed = hashlib.sha256(text.encode()).hexdigest()
        if known.get(path.name, hashed) != hashed:
            raise SystemExit(f"{path.name} was applied with another text: restore it, and put the change into a new file")
        if path.name not in known:
            for statement in statements(text):
                ask(statement)
            ask(f"INSERT INTO nat_schema (file, hash) VALUES ('{path.name}', '{hashed}')")
            applied.append(path.name)
        if path.name == until:
            break
    return applied


def rebuild(ask):
    """Makes the sums of each day anew that has attempts; the days. Nothing should arrive for those days meanwhile."""
    select = ask("SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'nat_daily_fill' FORMAT TSVRaw")
    days = ask("SELECT DISTINCT day FROM nat_attempts ORDER BY day FORMAT TSV").split()
    for day in days:
        ask(f"ALTER TABLE nat_daily_sums DROP PARTITION '{day}'")
        ask(f"INSERT INTO nat_daily_sums SELECT * FROM ({select}) WHERE day = '{day}'")
    return days


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("url", help="of the server's HTTP interface")
    arguments.add_argument("--database", default="otel", help="the one that the exporter writes to")
    arguments.add_argument("--cluster", metavar="NAME", help="applies cluster/ in its place, on all hosts of the cluster")
    arguments.add_argument("--until", metavar="FILE", help="the last file to apply")
    arguments.add_argument("--rebuild", action="store_true", help="makes the daily sums anew, from the attempts that are kept")
    chosen = arguments.parse_args()

    def ask(statement):
        return send(chosen.url, chosen.database, statement.replace("{cluster}", chosen.cluster or ""))[0]

    if chosen.rebuild:
        return print("\n".join(rebuild(ask)))
    applied = apply(ask, FOLDER / "cluster" if chosen.cluster else FOLDER, chosen.until)
    print("\n".join(applied) or "nothing to apply")


if __name__ == "__main__":
    main()
