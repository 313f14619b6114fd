"""Asks the spans of a fleet what operators ask, in DuckDB, and draws the answers.

    pip install duckdb matplotlib
    python3 report.py spans.jsonl [--json] [--picture report.png]

The questions are the files of sql/, to be copied to wherever the spans are kept.
"""

import argparse
import json
import pathlib

import duckdb

SQL = pathlib.Path(__file__).parent / "sql"
QUESTIONS = ["success_by_nat_type", "mapping_by_outcome", "blocked_share", "rule_by_evidence", "stage_by_release"]


def answers(spans):
    """What each question comes to: the names of its columns, and its rows."""
    database = duckdb.connect()
    database.execute((SQL / "attempts.sql").read_text(), {"spans": spans})
    for question in QUESTIONS:
        asked = database.execute((SQL / f"{question}.sql").read_text())
        yield question, [column[0] for column in asked.description], asked.fetchall()


def table(heads, rows):
    cells = [heads, *([("" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def draw(told, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import PercentFormatter

    figure, ((success, outcome), (blocked, rules)) = pyplot.subplots(2, 2, figsize=(13, 8.5), layout="constrained")
    colours = pyplot.get_cmap("tab10").colors

    rows = told["success_by_nat_type"]["rows"]
    attempts = sum(row["attempts"] for row in rows)
    figure.suptitle(f"{attempts:,} connection attempts")
    rated = [row for row in rows if row["success_percent"] is not None]
    bars = success.barh([row["nat_type"] for row in rated], [row["success_percent"] for row in rated], color=colours[2])
    success.bar_label(bars, [f"{row['success_percent']:.1f} %  of {row['attempts']:,}" for row in rated], padding=3)
    success.set(title="Success rate by NAT type", xlim=(0, 135), xticks=range(0, 101, 20))
    success.xaxis.set_major_formatter(PercentFormatter())
    success.invert_yaxis()

    rows = told["mapping_by_outcome"]["rows"]
    mappings = sorted({row["mapping"] for row in rows})
    totals = {}
    for row in rows:
        totals[row["outcome"]] = totals.get(row["outcome"], 0) + row["attempts"]
    outcomes = sorted(totals, key=lambda outcome: (outcome != "connected", -totals[outcome]))
    others = iter([*colours[:2], *colours[3:]])
    shades = {name: colours[2] if name == "connected" else next(others) for name in outcomes}
    left = dict.fromkeys(mappings, 0)
    for name in outcomes:
        share = {row["mapping"]: row["percent_of_mapping"] for row in rows if row["outcome"] == name}
        widths = [share.get(mapping, 0) for mapping in mappings]
        outcome.barh(mappings, widths, left=[left[mapping] for mapping in mappings], label=name, color=shades[name])
        left = {mapping: left[mapping] + width for mapping, width in zip(mappings, widths)}
    outcome.set(title="Outcome by mapping", xlim=(0, 100))
    outcome.xaxis.set_major_formatter(PercentFormatter())
    outcome.legend(fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
    outcome.invert_yaxis()

    rows = told["blocked_share"]["rows"]
    shares = [row["blocked_percent"] for row in rows]
    bars = blocked.bar([row["version"] for row in rows], shares, color=colours[3], width=0.5)
    blocked.bar_label(bars, [f"{row['blocked_percent']:.2f} %\n{row['blocked']:,}" for row in rows], padding=3)
    blocked.set(title="Share of attempts with UDP blocked, by release", xlabel="service.version")
    blocked.yaxis.set_major_formatter(PercentFormatter())
    blocked.margins(y=0.25)

    rows = told["rule_by_evidence"]["rows"]
    names = sorted({row["rule"] for row in rows})
    counts = sorted({row["servers_answered"] for row in rows}, key=lambda count: (count is not None, count))
    left = dict.fromkeys(names, 0)
    for place, count in enumerate(counts):
        share = {row["rule"]: row["percent"] for row in rows if row["servers_answered"] == count}
        widths = [share.get(name, 0) for name in names]
        label = "not told" if count is None else str(count)
        shade = colours[7] if count is None else pyplot.get_cmap("viridis")(place / max(1, len(counts) - 1))
        rules.barh(names, widths, left=[left[name] for name in names], label=label, color=shade)
        left = {name: left[name] + width for name, width in zip(names, widths)}
    rules.set(title="Verdicts by rule and evidence")
    rules.xaxis.set_major_formatter(PercentFormatter())
    rules.legend(title="servers answered", fontsize="small", ncols=2)
    rules.invert_yaxis()

    for axes in (success, outcome, blocked, rules):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("spans", help="OTLP/JSON lines: a file, or a pattern for several")
    arguments.add_argument("--json", action="store_true", help="one object, the columns and rows of each question")
    arguments.add_argument("--picture", metavar="FILE", help="draws the answers there, as PNG or SVG")
    chosen = arguments.parse_args()
    told = {}
    for question, heads, rows in answers(chosen.spans):
        told[question] = {"columns": heads, "rows": [dict(zip(heads, row)) for row in rows]}
        if not chosen.json:
            print(f"{question.replace('_', ' ')}\n\n{table(heads, rows)}\n")
    if chosen.json:
        print(json.dumps(told))
    if chosen.picture:
        draw(told, chosen.picture)


if __name__ == "__main__":
    main()
