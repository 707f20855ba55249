"""What follows from the times: rates, latencies, ratios between engines, the project's targets."""

import math
import statistics

from engines import BF16, FP32, INT8, OURS
from loads import MIXED, QUERY_10, THROUGHPUT


class Summary:
    """The results of a run (run's results.json) with questions asked of them."""

    def __init__(self, data):
        self.data = data
        self.results = data["results"]

    def documents(self, load):
        """Documents that a round of this load scores."""
        return sum(count for _, count in self.data["loads"][load])

    def measured(self, load, precision=None):
        """The engines that have times for this load."""
        return [
            result for result in self.results
            if result["failure"] is None and result["seconds"].get(load) and precision in (None, result["precision"])
        ]  # fmt: skip

    def rates(self, result, load):
        """Pairs a second, one figure for each round."""
        return [self.documents(load) / sum(seconds) for seconds in result["seconds"][load]]

    def rate(self, result, load):
        return statistics.median(self.rates(result, load))

    def latencies(self, result, load):
        """Seconds of single queries, all rounds, sorted."""
        return sorted(second for seconds in result["seconds"][load] for second in seconds)

    def latency(self, result, load, share):
        """The smallest time that at least this share of the queries did not exceed."""
        values = self.latencies(result, load)
        return values[math.ceil(share * len(values)) - 1]

    def ours(self, precision):
        return self.find(OURS, precision)

    def find(self, title, precision):
        return next((r for r in self.results if r["title"] == title and r["precision"] == precision), None)

    def peers(self, load, precision):
        return [result for result in self.measured(load, precision) if not result["title"].startswith(OURS)]

    def ratio(self, ours, peer, load):
        """How many times as fast as the peer: the median of the rounds, each compared within itself."""
        return statistics.median(a / b for a, b in zip(self.rates(ours, load), self.rates(peer, load)))


def targets(summary):
    """(what is asked for, what was measured, whether that is enough or None) for each of the project's targets."""
    return [row for rows in (
        speed_targets(summary), openvino_targets(summary), every_load(summary), latency(summary), memory(summary)
    ) for row in rows]  # fmt: skip


def at_least(summary, ours, peer, limit):
    """One target that compares two engines on the mixed load."""
    asked = f"{ours['title']} {ours['precision']} ≥ {limit} × {peer['title']} {peer['precision']}, mixed"
    value = summary.ratio(ours, peer, MIXED)
    return asked, f"{value:.2f} ×", value >= limit


def known(summary, result):
    return result is not None and result in summary.measured(MIXED)


def speed_targets(summary):
    limits = [
        ("fastembed-rs, defaults", 5.5), ("fastembed-rs, best batch", 2.7), ("sentence-transformers, ONNX", 1.45),
    ]  # fmt: skip
    for title, limit in limits:
        for precision in (FP32, INT8):
            ours, peer = summary.ours(precision), summary.find(title, precision)
            if known(summary, ours) and known(summary, peer):
                yield at_least(summary, ours, peer, limit)
            else:
                yield f"{OURS} {precision} ≥ {limit} × {title} {precision}, mixed", "not measured", None


def openvino_targets(summary):
    """OpenVINO's fastest in fp32 against our fp32, its fastest in bf16 against our int8."""
    for precision, our_precision in ((FP32, FP32), (BF16, INT8)):
        ours = summary.ours(our_precision)
        peers = [peer for peer in summary.peers(MIXED, precision) if "OpenVINO" in peer["title"]]
        if known(summary, ours) and peers:
            yield at_least(summary, ours, max(peers, key=lambda peer: summary.rate(peer, MIXED)), 1.0)


def opponents(summary, load, precision):
    """Who is compared with us: peers of the same precision, and those in bf16 with our int8."""
    return summary.peers(load, precision) + (summary.peers(load, BF16) if precision == INT8 else [])


def every_load(summary):
    for load in THROUGHPUT:
        for precision in (FP32, INT8):
            ours = summary.ours(precision)
            peers = opponents(summary, load, precision)
            if ours in summary.measured(load) and peers:
                value, peer = nearest(summary, ours, peers, load)
                yield (
                    f"{OURS} {precision} behind no peer, {load}",
                    f"{value:.2f} × {peer['title']} {peer['precision']}{' ⚠' if peer['off'] else ''}",
                    value >= 1.0,
                )


def nearest(summary, ours, peers, load):
    return min(((summary.ratio(ours, peer, load), peer) for peer in peers), key=lambda pair: pair[0])


def latency(summary):
    for precision in (FP32, INT8):
        ours = summary.ours(precision)
        peers = opponents(summary, QUERY_10, precision)
        if ours in summary.measured(QUERY_10) and peers:
            best = min(peers, key=lambda peer: summary.latency(peer, QUERY_10, 0.5))
            mine, theirs = (1000 * summary.latency(result, QUERY_10, 0.5) for result in (ours, best))
            yield (
                f"{OURS} {precision} takes fewer ms than any peer at p50, query of 10",
                f"{mine:.1f} ms; {best['title']} {best['precision']} {theirs:.1f} ms",
                mine < theirs,
            )


def memory(summary):
    for precision in (FP32, INT8):
        ours = summary.ours(precision)
        peers = [
            result for result in summary.results
            if result["peak"] and not result["title"].startswith(OURS)
            and result["precision"] in ((FP32,) if precision == FP32 else (INT8, BF16))
        ]  # fmt: skip
        if ours and ours["peak"] and peers:
            best = min(peers, key=lambda peer: peer["peak"])
            yield (
                f"{OURS} {precision} has less peak memory than any peer",
                f"{ours['peak'] / 1e6:.0f} MB; {best['title']} {best['precision']} {best['peak'] / 1e6:.0f} MB",
                ours["peak"] < best["peak"],
            )
