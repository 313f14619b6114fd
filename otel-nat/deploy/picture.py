"""Draws the answers of report.py, one plot for each question."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "otel-nat"  # the same answers are the same file
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import PercentFormatter  # noqa: E402

COLOURS = pyplot.get_cmap("tab10").colors
GREEN, RED = COLOURS[2], COLOURS[3]
# without the greens, which mean success
OTHERS = [colour for place, colour in enumerate(pyplot.get_cmap("tab20").colors) if place not in (4, 5)]


def interval(rows, share):
    """The lengths of the error bars below and above each share."""
    low = [max(0, row[share] - row["low_percent"]) for row in rows]
    return [low, [max(0, row["high_percent"] - row[share]) for row in rows]]


def short(name):
    """A NAT's type as an axis has room for it."""
    return name.replace(" NAT", "").replace("UDP blocked by firewall", "UDP blocked").replace("Open to the Internet", "Open")


def bars(axes, title, rows, name, share, count):
    """A horizontal bar for each row, with the ends of its interval."""
    rows = [row for row in rows if row[share] is not None]
    names = [short(name(row)) for row in rows]
    axes.barh(names, [row[share] for row in rows], xerr=interval(rows, share), color=GREEN, ecolor="black", capsize=3)
    for place, row in enumerate(rows):
        axes.text(row["high_percent"] + 0.5, place, f"{row[share]:.1f} % of {row[count]:,}", va="center", fontsize="small")
    most = max((row["high_percent"] for row in rows), default=100)
    axes.set(title=title, xlim=(0, 1.6 * most + 5))
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.invert_yaxis()


def stacked(axes, title, rows, group, part, share, colours=None):
    """A horizontal bar for each group, cut into its parts; groups and parts in the order of their size."""
    groups = list(dict.fromkeys(group(row) for row in rows))
    parts = sorted({part(row) for row in rows}, key=lambda name: -sum(row[share] for row in rows if part(row) == name))
    left = dict.fromkeys(groups, 0)
    for place, name in enumerate(parts):
        widths = [sum(row[share] for row in rows if (group(row), part(row)) == (key, name)) for key in groups]
        colour = (colours or {}).get(name, OTHERS[place % len(OTHERS)])
        axes.barh(groups, widths, left=[left[key] for key in groups], label=name, color=colour)
        left = {key: left[key] + width for key, width in zip(groups, widths)}
    axes.set(title=title)
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.legend(fontsize="x-small", ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.07), frameon=False)
    axes.invert_yaxis()


def days(axes, title, series, share):
    """A line for each series over the days, between the ends of its interval."""
    for place, (name, rows) in enumerate(series.items()):
        dates = [row["date"][5:] for row in rows]
        axes.plot(dates, [row[share] for row in rows], label=name, color=COLOURS[place])
        low, high = ([row[end] for row in rows] for end in ("low_percent", "high_percent"))
        axes.fill_between(dates, low, high, color=COLOURS[place], alpha=0.2)
    axes.set(title=title)
    axes.set_ylim(bottom=0)
    axes.tick_params(axis="x", rotation=90, labelsize="x-small")
    axes.yaxis.set_major_formatter(PercentFormatter())
    if len(series) > 1:
        axes.legend(fontsize="small", frameon=False)


def pairs(axes, rows):
    """A square for each pair of NATs, with the share that met without a relay."""
    ours = sorted({row["nat_type"] for row in rows})
    theirs = sorted({row["peer_nat_type"] for row in rows})
    grid = [[float("nan")] * len(theirs) for _ in ours]
    for row in rows:
        grid[ours.index(row["nat_type"])][theirs.index(row["peer_nat_type"])] = row["direct_percent"]
    axes.imshow(grid, cmap="RdYlGn", vmin=0, vmax=100, aspect="auto")
    for row in rows:
        place = theirs.index(row["peer_nat_type"]), ours.index(row["nat_type"])
        text = f"{row['direct_percent']:.0f} %\n{row['low_percent']:.0f} to {row['high_percent']:.0f}"
        axes.text(*place, text, ha="center", va="center", fontsize="small")
    axes.set(title="Pairs that met without a relay", xlabel="the peer's NAT", ylabel="our NAT")
    axes.set_xticks(range(len(theirs)), [short(name) for name in theirs])
    axes.set_yticks(range(len(ours)), [short(name) for name in ours])


def draw(answers, path):
    rows = {name: answer["rows"] for name, answer in answers.items()}
    figure, grid = pyplot.subplots(5, 3, figsize=(18, 25), layout="constrained")
    places = iter(grid.flat)
    attempts = sum(row["attempts"] for row in rows["success_by_nat_type"])
    figure.suptitle(f"{attempts:,} connection attempts; intervals are Wilson's at 95 %, groups under 20 are not shown")

    title = "Success rate by NAT type"
    bars(next(places), title, rows["success_by_nat_type"], lambda row: row["nat_type"], "success_percent", "attempts")
    stacked(
        next(places), "Outcome by mapping", rows["mapping_by_outcome"], lambda row: row["mapping"],
        lambda row: row["outcome"], "percent_of_mapping", {"connected": GREEN},
    )
    title = "UDP blocked, by release"
    bars(next(places), title, rows["blocked_share"], lambda row: row["version"], "blocked_percent", "attempts")
    pairs(next(places), rows["success_by_nat_pair"])
    stacked(
        next(places), "Predicted (rows) and actual", rows["outlook_by_outcome"], lambda row: row["outlook"],
        lambda row: row["actual"], "percent_of_outlook", {"direct": GREEN, "relay": COLOURS[1], "none": RED},
    )
    surprises = [row for row in rows["outlook_by_outcome"] if row["surprise"]]
    title = "Surprises, of attempts with that outlook"
    bars(next(places), title, surprises, lambda row: row["surprise"].replace(" was expected", "\nwas expected") + f"\n({row['outlook_reason']})", "percent_of_outlook", "attempts")
    title = "UDP blocked, by day"
    days(next(places), title, {"all": rows["blocked_by_day"]}, "blocked_percent")
    stopped = {}
    for row in rows["stage_by_release"]:
        if row["stage_verdict"] == "hello_unanswered":
            stopped.setdefault(row["version"], []).append(row)
    days(next(places), "DTLS hello unanswered, by day and release (days under 20 are hidden)", stopped, "percent")
    totals = {}
    for row in rows["stage_by_release"]:
        key = row["version"], row["stage"] + (f": {row['stage_verdict']}" if row["stage_verdict"] else "")
        totals[key] = totals.get(key, 0) + row["attempts"]
    sums = {version: sum(n for (other, _), n in totals.items() if other == version) for version, _ in totals}
    staged = [{"version": v, "stage": s, "percent": 100 * n / sums[v]} for (v, s), n in sorted(totals.items())]
    stacked(
        next(places), "Last stage reached, by release", staged, lambda row: row["version"], lambda row: row["stage"],
        "percent", {"open": GREEN},
    )
    title = "STUN: no server answered, by network"
    named = [{**row, "network_type": row["network_type"] or "unknown"} for row in rows["stun_by_network_type"]]
    bars(next(places), title, named, lambda row: row["network_type"], "no_answer_percent", "attempts")
    title = "Success behind a carrier's NAT"
    bars(next(places), title, rows["carrier_nat"], lambda row: row["carrier"], "success_percent", "attempts")
    title = "Relay although direct was expected"
    expected = [row for row in rows["relay_though_direct"] if row["relayed"]]
    pair = lambda row: f"{short(row['nat_type'])} / {short(row['peer_nat_type'])}"  # noqa: E731
    bars(next(places), title, expected, pair, "relayed_percent", "opened")
    title = "Success by number of the attempt"
    bars(next(places), title, rows["attempt_number"], lambda row: str(row["attempt_number"]), "success_percent", "attempts")
    title = "Paths that froze after they opened"
    bars(next(places), title, rows["frozen_paths"], lambda row: row["version"], "frozen_percent", "judged")
    stacked(
        next(places), "Verdicts by rule, and servers that answered", rows["rule_by_evidence"], lambda row: row["rule"],
        lambda row: "not recorded" if row["servers_answered"] is None else str(row["servers_answered"]), "percent",
    )
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=72, metadata={"Date": None} if str(path).endswith(".svg") else {"Software": None})
