"""Draws the answers of report.py, one plot for each question."""

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "otel-nat"  # the same answers are the same file
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import PercentFormatter  # noqa: E402

COLOURS = pyplot.get_cmap("tab10").colors
# green is success, red what should not be
GREEN, ORANGE, RED, HIDDEN = COLOURS[2], COLOURS[1], COLOURS[3], "0.9"
# without these, which have a meaning
OTHERS = [colour for place, colour in enumerate(pyplot.get_cmap("tab20").colors) if place not in (4, 5, 6, 7)]
# the answer's rows leave out small groups
NOT_SHOWN = "groups under 20, not shown"


def interval(rows, share):
    """The lengths of the error bars below and above each share."""
    low = [max(0, row[share] - row["low_percent"]) for row in rows]
    return [low, [max(0, row["high_percent"] - row[share]) for row in rows]]


def short(name):
    """A NAT's type as an axis has room for it."""
    return name.replace(" NAT", "").replace("UDP blocked by firewall", "UDP blocked").replace("Open to the Internet", "Open")


def bars(axes, title, rows, name, share, count, colour=GREEN, text="{:.1f} % of {:,}"):
    """A horizontal bar for each row, with the ends of its interval; beside it the share and the count."""
    rows = [row for row in rows if row[share] is not None]
    places = range(len(rows))
    axes.barh(places, [row[share] for row in rows], xerr=interval(rows, share), color=colour, ecolor="black", capsize=3, height=0.6)
    for place, row in enumerate(rows):
        beside = text.format(row[share], row[count])
        axes.annotate(beside, (row["high_percent"], place), (8, 0), textcoords="offset points", va="center", fontsize="small")
    most = max((row["high_percent"] for row in rows), default=100)
    axes.set(title=title, xlim=(0, 1.6 * most))
    # a share ends at 100 %, and the axis has room for the texts beyond
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= min(100, 1.6 * most)])
    axes.set_yticks(places, [name(row) for row in rows])
    axes.set_ylim(max(len(rows), 3) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(decimals=None if most > 5 else 1))


def stacked(axes, title, rows, group, part, share, colours, *, rest="", legend=""):
    """A horizontal bar for each group, cut into its parts in the order of `colours`, then of their size."""
    groups = list(dict.fromkeys(group(row) for row in rows))
    size = {}
    for row in rows:
        size[part(row)] = size.get(part(row), 0) + row[share]
    named = [name for name in colours if name in size]
    parts = named + sorted((name for name in size if name not in colours), key=lambda name: -size[name])
    left = dict.fromkeys(groups, 0)

    def draw(name, widths, colour):
        axes.barh(groups, widths, left=[left[key] for key in groups], label=name, color=colour, height=0.6)
        for key, width in zip(groups, widths):
            left[key] += width

    free = iter(OTHERS * 9)
    for name in parts:
        widths = [sum(row[share] for row in rows if (group(row), part(row)) == (key, name)) for key in groups]
        draw(name, widths, colours.get(name) or next(free))
    if rest and any(left[key] < 99.5 for key in groups):
        draw(rest, [max(0, 100 - left[key]) for key in groups], HIDDEN)
    axes.set(title=title, xlim=(0, 100 if rest else None))
    axes.xaxis.set_major_formatter(PercentFormatter())
    axes.legend(
        fontsize="small", ncols=3, loc="upper center", bbox_to_anchor=(0.4, -0.07), frameon=False,
        title=legend or None, title_fontsize="small",
    )
    axes.invert_yaxis()


def days(axes, title, series, share):
    """A line for each series over the days, between the ends of its interval."""
    for place, (name, rows) in enumerate(series.items()):
        dates = [row["date"][5:] for row in rows]
        axes.plot(dates, [row[share] for row in rows], label=name, color=COLOURS[place], marker=".")
        low, high = ([row[end] for row in rows] for end in ("low_percent", "high_percent"))
        axes.fill_between(dates, low, high, color=COLOURS[place], alpha=0.2)
    axes.set(title=title)
    axes.set_ylim(bottom=0)
    labels = axes.get_xticks()
    axes.set_xticks(labels[:: max(1, len(labels) // 7)])
    axes.yaxis.set_major_formatter(PercentFormatter())
    if series:
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
        text = f"{row['direct_percent']:.0f} % of {row['attempts']:,}\n({row['low_percent']:.0f} to {row['high_percent']:.0f})"
        colour = "black" if 12 < row["direct_percent"] < 88 else "white"
        axes.text(*place, text, ha="center", va="center", color=colour)
    axes.set(title="Pairs of NATs that met without a relay", xlabel="the peer's NAT", ylabel="our NAT")
    axes.set_xticks(range(len(theirs)), [short(name) for name in theirs])
    axes.set_yticks(range(len(ours)), [short(name) for name in ours])


def draw(answers, path):
    rows = {name: answer["rows"] for name, answer in answers.items()}
    figure, grid = pyplot.subplots(5, 3, figsize=(19, 26), layout="constrained")
    places = iter(grid.flat)
    attempts = sum(row["attempts"] for row in rows["success_by_nat_type"])
    figure.suptitle(
        f"{attempts:,} connection attempts; intervals are Wilson's at 95 %, groups under 20 are not shown\n", fontsize="x-large"
    )

    title = "Success by NAT type"
    bars(next(places), title, rows["success_by_nat_type"], lambda row: short(row["nat_type"]), "success_percent", "attempts")
    stacked(
        next(places), "Outcome by mapping of the NAT", rows["mapping_by_outcome"], lambda row: row["mapping"].replace(" dep", "\ndep"),
        lambda row: row["outcome"], "percent_of_mapping", {"connected": GREEN, "timeout": RED}, rest=NOT_SHOWN,
    )
    title = "UDP blocked, by release"
    bars(next(places), title, rows["blocked_share"], lambda row: row["version"], "blocked_percent", "attempts", RED)
    pairs(next(places), rows["success_by_nat_pair"])
    stacked(
        next(places), "What became of each outlook", rows["outlook_by_outcome"], lambda row: f"{row['outlook']}\nexpected".replace("undecided\nexpected", "undecided"),
        lambda row: {"none": "no path"}.get(row["actual"], row["actual"]), "percent_of_outlook",
        {"direct": GREEN, "relay": ORANGE, "no path": RED}, rest=NOT_SHOWN,
    )
    surprises = [row for row in rows["outlook_by_outcome"] if row["surprise"]]
    title = "Wrong outlooks, of attempts with that outlook"
    surprise = lambda row: row["surprise"].replace(" although", "\nalthough").replace(" was expected", "\nwas expected")  # noqa: E731
    bars(next(places), title, surprises, surprise, "percent_of_outlook", "attempts", RED, "{:.1f} %: {:,} attempts")
    title = "UDP blocked, by day"
    days(next(places), title, {"all releases": rows["blocked_by_day"]}, "blocked_percent")
    stopped = {}
    for row in rows["stage_by_release"]:
        if row["stage_verdict"] == "hello_unanswered":
            stopped.setdefault(f"release {row['version']}", []).append(row)
    days(next(places), "DTLS hello unanswered, by day and release", stopped, "percent")
    totals = {}
    for row in rows["stage_by_release"]:
        key = row["version"], row["stage"] + (f": {row['stage_verdict']}" if row["stage_verdict"] else "")
        totals[key] = totals.get(key, 0) + row["attempts"]
    sums = {version: sum(n for (other, _), n in totals.items() if other == version) for version, _ in totals}
    staged = [{"version": v, "stage": s, "percent": 100 * n / sums[v]} for (v, s), n in sorted(totals.items())]
    stacked(
        next(places), "Last stage reached, by release", staged, lambda row: row["version"], lambda row: row["stage"],
        "percent", {"open": GREEN, "hello: hello_unanswered": RED}, rest=NOT_SHOWN,
    )
    title = "No STUN server answered, by network"
    named = [{**row, "network_type": row["network_type"] or "unknown"} for row in rows["stun_by_network_type"]]
    bars(next(places), title, named, lambda row: row["network_type"], "no_answer_percent", "attempts", RED)
    title = "Success behind a carrier's NAT"
    bars(next(places), title, rows["carrier_nat"], lambda row: row["carrier"], "success_percent", "attempts")
    title = "Relay although direct was expected: our NAT / the peer's"
    expected = [row for row in rows["relay_though_direct"] if row["relayed"]]
    pair = lambda row: f"{short(row['nat_type'])} / {short(row['peer_nat_type'])}"  # noqa: E731
    bars(next(places), title, expected, pair, "relayed_percent", "opened", RED)
    title = "Success by number of the attempt"
    bars(next(places), title, rows["attempt_number"], lambda row: f"attempt {row['attempt_number']}", "success_percent", "attempts")
    title = "Paths that froze after they opened, by release"
    bars(next(places), title, rows["frozen_paths"], lambda row: row["version"], "frozen_percent", "judged", RED)
    answered = lambda row: "unknown" if row["servers_answered"] is None else str(row["servers_answered"])  # noqa: E731
    numbers = sorted({answered(row) for row in rows["rule_by_evidence"]}, reverse=True)
    stacked(
        next(places), "Verdicts, by the rule that decided", rows["rule_by_evidence"], lambda row: row["rule"].replace("_", " "),
        answered, "percent", dict.fromkeys(numbers), legend="STUN servers that answered",
    )
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    figure.get_layout_engine().set(h_pad=0.15, w_pad=0.15)
    figure.savefig(path, dpi=72, metadata={"Date": None} if str(path).endswith(".svg") else {"Software": None})
