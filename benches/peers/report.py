"""Writes the tables of a run as Markdown."""

import statistics

import loads
from engines import FP32, INT8, OURS, PRECISIONS
from summary import opponents, targets


def table(head, rows):
    """A Markdown table: the first columns named with `<` are text, all others numbers."""
    aligned = ["---" if name.startswith("<") else "---:" for name in head]
    lines = [[name.lstrip("<") for name in head], aligned, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value):
    """Three significant digits, no exponent."""
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def ordered(summary):
    """By precision, the fastest on the mixed load first; those without times last."""
    def place(result):
        known = result in summary.measured(loads.MIXED)
        return PRECISIONS.index(result["precision"]), -summary.rate(result, loads.MIXED) if known else 0

    return sorted(summary.results, key=place)


def name(result):
    title = f"**{result['title']}**" if result["title"] == OURS else result["title"]
    tuned = f" ({result['tuned']})" if result["tuned"] else ""
    return title + tuned + (" ⚠" if result["off"] else "")


def cells(summary, results, load, cell):
    known = summary.measured(load)
    return [cell(result) if result in known else "–" for result in results]


def throughput(summary, results, names):
    def cell(load):
        def text(result):
            rates = summary.rates(result, load)
            return f"{number(statistics.median(rates))} ({number(min(rates))}–{number(max(rates))})"

        return text

    columns = [cells(summary, results, load, cell(load)) for load in names]
    rows = [[name(r), r["precision"], *values] for r, *values in zip(results, *columns)]
    return table(["<engine", "<weights", *names], rows)


def other(summary, results, names):
    def times(load):
        def text(result):
            return " / ".join(number(1000 * summary.latency(result, load, share)) for share in (0.5, 0.95))

        return text

    columns = [cells(summary, results, load, times(load)) for load in names]
    rows = []
    for result, *latencies in zip(results, *columns):
        peak = f"{result['peak'] / 1e6:.0f}" if result["peak"] else "–"
        start = f"{statistics.median(result['starts']):.2f}" if result["starts"] else "–"
        difference = "–" if result["difference"] is None else f"{result['difference']:.1e}"
        first = "–"
        if result["first_seconds"]:
            first = number(summary.data["mixed"] / result["first_seconds"])
        rows.append([name(result), result["precision"], *latencies, first, peak, start, difference])
    heads = [f"{load}: p50 / p95, ms" for load in names]
    return table(["<engine", "<weights", *heads, "mixed, first time, pairs/s", "peak memory, MB", "first score, s", "max. difference"], rows)


def compared(summary):
    """Ours in the table of ratios: what the row calls it, whom it is compared with, and the engine."""
    rows = [
        (FP32, FP32, summary.ours(FP32)), (INT8, INT8, summary.ours(INT8)),
        ("w8a8", INT8, summary.find(f"{OURS}, w8a8", INT8)),
    ]  # fmt: skip
    return [row for row in rows if row[2]]


def ratios(summary, names):
    rows = []
    for called, precision, ours in compared(summary):
        for peer in ordered(summary):
            if peer not in [p for load in names for p in opponents(summary, load, precision)]:
                continue
            values = []
            for load in names:
                both = ours in summary.measured(load) and peer in summary.measured(load)
                values.append(f"{summary.ratio(ours, peer, load):.2f} ×" if both else "–")
            rows.append([called, name(peer), peer["precision"], *values])
    return table([f"<{OURS}", "<peer", "<its weights", *names], rows)


def about(data):
    machine = data["machine"]
    sizes = []
    for load, requests in data["loads"].items():
        counts = [count for _, count in requests]
        queries = f"{len(counts)} queries of " if load in loads.LATENCY else ""
        sizes.append(f"{load}: {queries}{counts[0]} documents")
    distinct = data["distinct"]
    lines = [
        f"- {data['date']}, {data['rounds']} rounds, {data['starts']} start{'s' if data['starts'] > 1 else ''}, {data['minutes']:.0f} minutes"
        f"{', quick' if data['quick'] else ''}",
        f"- {machine['processor']}, {machine['cores']} cores of which {data['threads']} were used, "
        f"{' '.join(machine['instructions'])}, {machine['memory'] / 2**30:.0f} GiB; load when the run began "
        f"{machine['load']:.2f}",
        f"- {machine['system']}; Python {machine['python']}; {machine['rust']}",
        f"- {OURS} {data['crossrank']}",
        f"- Weights: {data['weights']}. int8: dynamic quantisation by ONNX Runtime, one file for all engines",
        f"- Loads: {'; '.join(sizes)}; {distinct} of the duplicates are distinct; at most {data['max_length']} tokens a pair",
    ]
    return "\n".join(lines) + "\n"


def versions(summary):
    """One line for each engine: what it ran on."""
    lines = {}
    for result in summary.results:
        if result["versions"]:
            lines[result["title"]] = ", ".join(f"{key} {value}" for key, value in result["versions"].items())
    return "".join(f"- {title}: {text}\n" for title, text in lines.items())


def failures(summary):
    return "".join(
        f"- {result['title']}, {result['precision']}: {result['failure']}\n"
        for result in summary.results if result["failure"]
    )  # fmt: skip


def report(summary, plot):
    """The whole of it; `plot` is the path of the plot as seen from the report."""
    data = summary.data
    throughputs = [load for load in loads.THROUGHPUT if load in data["loads"]]
    latencies = [load for load in loads.LATENCY if load in data["loads"]]
    results = [result for result in ordered(summary) if result["failure"] is None]
    parts = [
        "# crossrank beside its peers\n",
        "Written by `benches/peers/run`; `benches/peers/README.md` says what the engines and the loads are.\n",
        about(data),
        f"![Pairs a second on the mixed load]({plot})\n",
    ]
    if throughputs:
        parts += [
            "## Pairs a second\n",
            "The median of the rounds (smallest–largest).\n",
            throughput(summary, results, throughputs),
        ]
    parts += [
        "## Latency, memory, start, scores\n",
        "Peak memory: VmHWM of a fresh process that runs the mixed load once; mixed, first time: its rate. First score: from the start of the process, "
        "median. Max. difference: of a logit from sentence-transformers' with torch in fp32, over all loads above; ⚠ marks "
        "an engine that is further off than its precision explains.\n",
        other(summary, results, latencies),
    ]
    if throughputs:
        parts += [
            f"## How many times as fast {OURS} is\n",
            "The median of the rounds' ratios.\n",
            ratios(summary, throughputs),
        ]
    words = {True: "yes", False: "**no**", None: "–"}
    rows = [[asked, measured, words[met]] for asked, measured, met in targets(summary)]
    if rows:
        parts += ["## Targets\n", table(["<target", "<measured", "<met"], rows)]
    parts += ["## Versions\n", versions(summary)]
    if failures(summary):
        parts += ["## What did not run\n", failures(summary)]
    return "\n".join(parts)
