"""The simulated tables and verdicts of docs/does-it-pay.md: in which region does ATTS cost less?"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.pays.frontier import TARGET
from benchmarks.pays.kinds import SAMPLES, name_of
from benchmarks.pays.marked import table
from benchmarks.pays.pairs import GPUS, PAIRS
from benchmarks.pays.simulated import Row, SimulatedRows

PRICES = {"h100": 2.5, "a100": 1.5}
"""Dollars a GPU and hour that are assumed."""
SWEPT = ("atts .2", "atts .4", "atts .4, scores not cached")
"""Rows with every number of samples."""
SHOWN_KINDS = (
    *("target-only", "atts .1", "atts .2", "atts .4"),
    *("atts .4, scores not cached", "atts .4, in its place", "random takeover .4"),
    "synchronous .4",
)


def simulated_parts(found: SimulatedRows) -> dict[str, str]:
    """Parts of the page by name."""
    timed = [row.cpu for row in found.rows if row.cpu]
    return {
        "trace": f"From {found.trace}. {len(found.rows)} rows; the {len(timed)} that were timed "
        f"took {sum(timed) / 60:.0f} minutes of one core to simulate.",
        "regions": region_table(found),
        "limits": limit_table(found),
        "published": published_table(found),
        "ahead": ahead_table(found),
    }


def settings(
    found: SimulatedRows, needed: Sequence[str] = (TARGET, *SWEPT)
) -> list[tuple[str, str]]:
    """Pairs and GPU types of which all rows that are needed were simulated."""
    numbers = SAMPLES if needed[0] == TARGET else (1, 16)
    return [
        (pair.title, gpu)
        for pair in PAIRS
        for gpu in GPUS
        if all(set(needed) <= {r.kind for r in found.of(pair.title, gpu, n)} for n in numbers)
    ]


def relative(
    found: SimulatedRows, pair: str, gpu: str, kind: str, samples: int
) -> tuple[float, ...]:
    """GPU seconds by the target's, each with its best limit: the figure, and its range.

    The range is over half and twice the overheads, of both alike; without one it is the figure.
    """
    one, base = (found.best(pair, gpu, k, samples) for k in (kind, TARGET))
    ranged = all(row.low < row.high for row in (one, base))
    times = [_times(row) if ranged else (row.makespan,) for row in (one, base)]
    values = [one.gpus / base.gpus * a / b for a, b in zip(*times, strict=True)]
    return one.gpu_seconds / base.gpu_seconds, min(values), max(values)


def _times(row: Row) -> tuple[float, ...]:
    return row.low, row.makespan, row.high


def region(ranges: Sequence[tuple[float, ...]]) -> str:
    """At which numbers of samples it is cheaper, in words.

    Args:
        ranges: by `SAMPLES`, figure, low and high of the cost by the target's.
    """
    cheap = [high < 1 for _, _, high in ranges]
    open_ = [n for n, (_, low, high) in zip(SAMPLES, ranges, strict=True) if low <= 1 <= high]
    there = [n for n, one in zip(SAMPLES, cheap, strict=True) if one]
    if not there:
        words = "never, here" if not open_ else "nowhere for certain"
    elif cheap == sorted(cheap):
        words = f"cheaper from {there[0]} sample{'s' * (there[0] > 1)} on"
    elif cheap == sorted(cheap, reverse=True):
        words = f"cheaper up to {there[-1]} sample{'s' * (there[-1] > 1)}"
    else:
        words = f"cheaper at {', '.join(map(str, there))} samples"
    close = f"; too close at {' and '.join(map(str, open_))}" if open_ else ""
    return f"**{words}**{close}"


def region_table(found: SimulatedRows) -> str:
    """A verdict a row: where it is cheaper than the target alone, with ranges."""
    rows = []
    for pair, gpu in settings(found):
        for kind in SWEPT:
            ranges = [relative(found, pair, gpu, kind, n) for n in SAMPLES]
            cells = [
                f"{value:.2f} [{low:.2f}, {high:.2f}]" if low < high else f"{value:.2f}"
                for value, low, high in ranges
            ]
            rows.append([f"{pair}, {gpu}", kind, region(ranges), *cells])
    heads = ("pair, GPUs", "row", "than the target alone", *map(str, SAMPLES))
    return table(heads, rows, left=3)


def limit_table(found: SimulatedRows) -> str:
    """What limits change: GPU seconds without them, the best ones, and latency with them."""
    numbers = SAMPLES[2:]
    heads = ["pair, GPUs", "row"]
    heads += [f"GPU s without limits, {n}" for n in numbers]
    heads += [f"best limits, {n}" for n in numbers]
    heads += [f"p50 with them, {n}" for n in SAMPLES]
    rows = []
    for pair, gpu in settings(found):
        for kind in SWEPT:
            plain, limits, waits = [], [], []
            for n in SAMPLES:
                one, base = (found.best(pair, gpu, k, n) for k in (kind, TARGET))
                waits.append(_bold(one.p50 / base.p50))
                if n in numbers:
                    free, target = (found.row(pair, gpu, k, n) for k in (kind, TARGET))
                    plain.append(_bold(free.gpu_seconds / target.gpu_seconds))
                    limits.append(" / ".join(str(x.live or "none") for x in (one, base)))
            rows.append([f"{pair}, {gpu}", kind, *plain, *limits, *waits])
    return table(heads, rows, left=2)


def _bold(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 1 else f"**{ratio:.2f}**"


def published_table(found: SimulatedRows) -> str:
    """16 samples a question on every pair and GPU type."""
    heads = (
        *("pair, GPUs", "row", "GPUs", "makespan, s", "range", "p50, s", "GPU s a sample"),
        *("by the target's", "$ a 1,000"),
    )
    rows = []
    for pair, gpu in settings(found):
        base = found.row(pair, gpu, TARGET)
        for one in found.of(pair, gpu):
            if one.kind not in SHOWN_KINDS:
                continue
            rows.append(
                [
                    f"{pair}, {gpu}",
                    one.kind,
                    str(one.gpus),
                    f"{one.makespan:.0f}",
                    f"{one.low:.0f} to {one.high:.0f}" if one.low < one.high else "",
                    f"{one.p50:.0f}",
                    f"{one.gpu_seconds:.2f}",
                    f"{one.gpu_seconds / base.gpu_seconds:.2f}",
                    f"{one.gpu_seconds / 3.6 * PRICES[gpu]:.2f}",
                ]
            )
    return table(heads, rows, left=2)


def ahead_table(found: SimulatedRows) -> str:
    """What drafting ahead gains in simulated time, at the very same decisions."""
    heads = (
        *("pair, GPUs", "scores", "seconds of a sample, 1 a question", "16 a question"),
        *("makespan, 16 a question", "drafts thrown away"),
    )
    rows = []
    both = [name_of(ahead, cached) for ahead in (False, True) for cached in (False, True)]
    for pair, gpu in settings(found, both):
        for cached in (True, False):
            plain, ahead = name_of(False, cached), name_of(True, cached)
            one, base = (found.row(pair, gpu, k, 1) for k in (ahead, plain))
            many, rest = (found.row(pair, gpu, k) for k in (ahead, plain))
            rows.append(
                [
                    f"{pair}, {gpu}",
                    "cached" if cached else "not cached",
                    f"{one.mean / base.mean - 1:+.1%}",
                    f"{many.mean / rest.mean - 1:+.1%}",
                    f"{many.makespan / rest.makespan - 1:+.1%}",
                    "" if many.discarded is None else f"{many.discarded:.0%}",
                ]
            )
    return table(heads, rows, left=2)
