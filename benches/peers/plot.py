"""Draws pairs a second on the mixed load as horizontal bars: one SVG, readable on light and on dark pages."""

from html import escape

import loads
from engines import OURS, PRECISIONS

ROW, GAP, LABEL, BAR, WIDTH, TOP = 16, 10, 250, 400, 740, 62

STYLE = """
.page { fill: #ffffff; }
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.ours { font-weight: 700; }
.fp32 { fill: #4c78a8; }
.int16 { fill: #59a14f; }
.bf16 { fill: #9c755f; }
.int8 { fill: #e8833a; }
.spread { stroke: #1f2328; stroke-width: 1.2; opacity: .65; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; }
  text { fill: #e6edf3; }
  .fp32 { fill: #5f8fc0; }
  .int16 { fill: #6fb866; }
  .bf16 { fill: #b08a74; }
  .int8 { fill: #e08a45; }
  .spread { stroke: #e6edf3; }
}
"""


def groups(summary):
    """Engines with their precisions, the fastest engine first."""
    by_title = {}
    for result in summary.measured(loads.MIXED):
        by_title.setdefault(result["title"], []).append(result)
    for results in by_title.values():
        results.sort(key=lambda result: PRECISIONS.index(result["precision"]))
    best = {title: max(summary.rate(r, loads.MIXED) for r in results) for title, results in by_title.items()}
    return sorted(by_title.items(), key=lambda item: -best[item[0]])


def legend(precisions):
    x, parts = LABEL, []
    for precision in precisions:
        parts.append(f'<rect x="{x}" y="38" width="11" height="11" class="{precision}"/>')
        parts.append(f'<text x="{x + 16}" y="48">{precision}</text>')
        x += 70
    return parts


def bar(summary, result, y, scale):
    """A bar as long as the median, a line from the slowest to the fastest round, the figure."""
    rates = summary.rates(result, loads.MIXED)
    rate, middle = summary.rate(result, loads.MIXED), y + (ROW - 3) / 2
    low, high = LABEL + min(rates) * scale, LABEL + max(rates) * scale
    mark = " ⚠" if result["off"] else ""
    return [
        f'<rect x="{LABEL}" y="{y}" width="{rate * scale:.1f}" height="{ROW - 3}" class="{result["precision"]}"/>',
        f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
        f'<text x="{max(high, LABEL + rate * scale) + 6:.1f}" y="{y + ROW - 5}">{rate:.0f}{mark}</text>',
    ]


def plot(summary):
    bars = groups(summary)
    largest = max((max(summary.rates(r, loads.MIXED)) for _, results in bars for r in results), default=1)
    scale = BAR / largest
    used = {result["precision"] for _, results in bars for result in results}
    y, parts = TOP, legend([precision for precision in PRECISIONS if precision in used])
    for title, results in bars:
        middle = y + len(results) * ROW / 2 + 3
        style = ' class="ours"' if title == OURS else ""
        parts.append(f'<text{style} x="{LABEL - 10}" y="{middle}" text-anchor="end">{escape(title)}</text>')
        for result in results:
            parts += bar(summary, result, y, scale)
            y += ROW
        y += GAP
    threads = summary.data["threads"]
    title = f"Pairs a second, documents of 9–350 words, {threads} thread{'s' if threads > 1 else ''}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 4}" width="{WIDTH}" height="{y + 4}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{y + 4}"/>',
        f'<text class="title" x="12" y="24">{escape(title)}</text>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
