"""docs/break-even.md: its tables, its figure and the page to try it on.

    python -m benchmarks.pays.breakeven [--check]

Everything follows from the cost models of `atts plan` and from the means of the published run's
summary. `--check` holds the closed form against the simulator, a minute or two of one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from atts_harness.analysis.html.style import DARK, LIGHT, css_variables
from atts_harness.settings import parse_settings
from atts_harness.simulation.breakeven import Course, Prices, break_even_rate, prices, relative_cost
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.running import simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from benchmarks.conformal.figure import BLUE, GREEN, RED, figure
from benchmarks.pays.marked import DOCS, put, table
from benchmarks.pays.pairs import GPUS, PAIRS, Pair

RATE = 0.4
BATCHES = (1, 16, 64)
TEMPLATE = Path(__file__).with_name("breakeven.html")
PAGE = DOCS / "break-even.md"
INTERACTIVE = DOCS / "figures" / "break-even.html"


def published_course() -> Course:
    """The mean turns of the published run's summary."""
    trace = published_trace(100)
    turns = list(trace.turns())
    numbers = [len(sample.turns) for own in trace.samples.values() for sample in own]
    return Course(
        turns=statistics.fmean(numbers),
        deviation=statistics.pstdev(numbers),
        rate=RATE,
        draft=statistics.fmean(turn.draft for turn in turns),
        takeover=statistics.fmean(t.takeover for t in turns if t.takeover is not None),
    )


COURSES = {"published": published_course(), "long": Course(turns=15, rate=RATE)}
WORDS = {
    "published": "like those of the published run",
    "long": "15 turns of 500 + 500 tokens",
}


@dataclass(frozen=True)
class Entry:
    """What one pair costs on one GPU type, in one currency.

    Attributes:
        pair: which.
        gpu: which.
        course: `published` or `long`.
        batch: sequences in each step of a full engine; None: seconds of one sample alone.
        speed: rho.
        cached: sigma with scores that read the prefix cache.
        uncached: sigma with scores that do not.
        takeover: w.
    """

    pair: Pair
    gpu: str
    course: str
    batch: int | None
    speed: float
    cached: float
    uncached: float
    takeover: float

    def cost(self, rate: float, replaces: bool, cached: bool) -> float:
        """By the target alone."""
        return relative_cost(
            *(self.speed, self.cached if cached else self.uncached, rate),
            takeover=self.takeover,
            acceptance=1 - rate if replaces else 1.0,
        )

    def largest(self, cached: bool) -> float:
        """The largest rate that pays where takeovers replace drafts."""
        return break_even_rate(
            *(self.speed, self.cached if cached else self.uncached),
            takeover=self.takeover,
            replaces=True,
        )


def priced(pair: Pair, gpu: str, course: Course, batch: int | None) -> Prices:
    """In seconds of one sample, or in GPU seconds of full engines."""
    costs = pair.costs(gpu)
    if batch is None:
        return prices(course, costs)
    return prices(course, costs, batch=batch, devices=pair.devices)


def entries() -> Iterator[Entry]:
    """Every pair, GPU type, course and currency."""
    for pair, gpu, name, batch in itertools.product(PAIRS, GPUS, COURSES, (None, *BATCHES)):
        course = COURSES[name]
        cached, not_ = (priced(pair, gpu, replace(course, cached=c), batch) for c in (True, False))
        yield Entry(
            *(pair, gpu, name, batch, cached.speed, cached.sigma, not_.sigma),
            takeover=course.takeover / course.draft,
        )


def pairs_table(found: list[Entry], course: str) -> str:
    """Seconds of one sample, and GPU seconds of full engines."""
    heads = (
        *("pair, GPUs", "in", "ρ", "σ cached", "σ not cached"),
        *(
            "behind, cached",
            "behind, not cached",
            "in its place, cached",
            "in its place, not cached",
            "pays up to, cached",
            "pays up to, not cached",
        ),
    )
    rows = []
    for one in found:
        if one.course != course or one.batch not in (None, 64):
            continue
        cells = [
            f"{cost:.2f}" if cost < 1 else f"**{cost:.2f}**"
            for replaces in (False, True)
            for cached in (True, False)
            for cost in [one.cost(RATE, replaces, cached)]
        ]
        gpus = " + ".join(str(n) for n in one.pair.devices.values())
        rows.append(
            [
                f"{one.pair.title}, {gpus} {one.gpu}",
                "seconds" if one.batch is None else f"GPU s, batch {one.batch}",
                f"{one.speed:.1f}",
                f"{one.cached:.3f}",
                f"{one.uncached:.3f}",
                *cells,
                *(f"{one.largest(cached):.2f}" for cached in (True, False)),
            ]
        )
    return table(heads, rows, left=2)


def even_trace(draft: int, takeover: int, turns: int, samples: int) -> RunTrace:
    """Turns of one length; scores at random."""
    rng = random.Random(1)
    return RunTrace(
        "even",
        {
            doc: (
                SampleTrace(
                    doc, 0, tuple(TurnTrace(draft, rng.random(), takeover) for _ in range(turns))
                ),
            )
            for doc in range(samples)
        },
        {},
        chunk=max(draft, takeover),
    )


@dataclass(frozen=True)
class Check:
    """A run in simulated time, and what the closed form says of it."""

    what: str
    simulated: float
    said: float

    @property
    def error(self) -> float:
        """Relative."""
        return self.said / self.simulated - 1


def check(
    pair: Pair, gpu: str, trace: RunTrace, *, live: int = 1, cached: bool = True, **options: object
) -> Check:
    """One run: a sample at a time, or `live` of them on engines that then share their steps."""
    models = pair.models
    settings = parse_settings(
        {
            "strategy": "atts",
            "backend": "simulated",
            "live_samples": live,
            "metrics_interval": 0,
            "max_gen_toks": 30000,
            "control": "fixed",
            **dict.fromkeys(
                ("draft_concurrency", "score_concurrency", "takeover_concurrency"), 256
            ),
            **models,
            **options,
        }
    )
    placed = pair.placed(gpu)
    limits = EngineLimits(kv_tokens=0, scores_read_cache=cached)
    made = simulate(settings, trace, placed, repeats=1, limits=limits)
    decisions = [decision for record in made.records for decision in record.decisions]
    segments = [segment for record in made.records for segment in record.segments]
    takeovers = sum(one.takeover for one in decisions)
    # A takeover that the target ends at once has no segment, and its length 0 counts as well.
    lengths = {
        kind: sum(s.tokens for s in segments if s.kind == kind) / max(1, calls)
        for kind, calls in (("draft", len(decisions)), ("takeover", takeovers))
    }
    replaces = options.get("on_reject") == "replace"
    numbers = [len(record.decisions) for record in made.records]
    course = Course(
        turns=statistics.fmean(numbers),
        deviation=statistics.pstdev(numbers),
        rate=takeovers / len(decisions),
        draft=lengths["draft"],
        takeover=lengths["takeover"],
        replaces=replaces,
        cached=cached,
        ahead=bool(options.get("draft_ahead")),
    )
    words = [pair.title, gpu, f"rate {course.rate:.2f}", "in its place" if replaces else "behind"]
    words += ["scores cached" if cached else "not cached"]
    words += ["draft ahead"] * course.ahead
    what = f"{trace.task}: {', '.join(words)}"
    if live == 1:
        alone = prices(course, pair.costs(gpu)).sample
        return Check(what, made.makespan / len(made.records), alone)
    batch = {role: one.sequence_seconds / one.busy for role, one in made.figures.items()}
    spent = sum(pair.devices[role] * one.busy for role, one in made.figures.items())
    full = prices(course, pair.costs(gpu), batch=batch, devices=pair.devices).sample
    mean = ", ".join(f"{batch[role]:.0f}" for role in ("draft", "target"))
    return Check(f"{what}; batches of {mean}", spent / len(made.records), full)


def checks() -> tuple[list[Check], list[Check]]:
    """Of one sample at a time, and of full engines."""
    small, _, middle, largest = PAIRS
    even, short = even_trace(500, 500, 10, 6), even_trace(200, 400, 10, 6)
    published = published_trace(60, 1)
    alone = [
        check(small, "h100", even, rate=0.4),
        check(small, "a100", short, rate=0.7, on_reject="replace"),
        check(middle, "h100", even, rate=0.2, on_reject="replace"),
        check(middle, "h100", even, rate=0.4, cached=False),
        check(middle, "a100", even, rate=0.4, cached=False, draft_ahead=True),
        check(middle, "a100", short, rate=0.4, draft_ahead=True),
        check(largest, "h100", even, rate=0.4, on_reject="replace", cached=False),
        check(largest, "a100", short, rate=0.1),
        check(small, "h100", published, rate=0.4),
        check(middle, "a100", published, rate=0.4, cached=False),
    ]
    many = even_trace(500, 500, 10, 64)
    full = [
        check(middle, "h100", many, rate=0.4, live=32),
        check(middle, "h100", many, rate=0.4, live=32, cached=False),
        check(small, "a100", many, rate=0.4, live=32),
    ]
    return alone, full


def check_table(found: list[Check], unit: str) -> str:
    """The closed form beside the simulator."""
    heads = ("turns, pair, GPU", f"simulated, {unit}", "closed form", "error")
    return table(
        heads,
        ([c.what, f"{c.simulated:.2f}", f"{c.said:.2f}", f"{c.error:+.1%}"] for c in found),
    )


def draw(found: list[Entry]) -> None:
    """Cost by rate, as seconds of one sample and as GPU seconds of full engines."""
    rates = [n / 100 for n in range(101)]
    with figure("break-even", columns=2, height=3.2) as axes:
        for axis, batch, title in (
            (axes[0], None, "seconds, one sample alone"),
            (axes[1], 64, "GPU seconds, 64 sequences a step"),
        ):
            one = next(
                e
                for e in found
                if (e.pair.preset, e.gpu, e.course, e.batch)
                == ("r1-llama-8b-qwq-32b", "h100", "published", batch)
            )
            for replaces, colour, where in (
                (False, BLUE, "behind the draft"),
                (True, RED, "in its place"),
            ):
                for cached, style in ((True, "-"), (False, "--")):
                    said = f"{where}, scores {'cached' if cached else 'not cached'}"
                    costs = [one.cost(rate, replaces, cached) for rate in rates]
                    axis.plot(rates, costs, style, color=colour, label=said)
            axis.axhline(1, color=GREEN, linewidth=1)
            axis.annotate("the target alone", (0.02, 0.98), color=GREEN, va="top")
            axis.set(title=title, xlabel="takeover rate", ylim=(0, 2), xlim=(0, 1))
        axes[0].set_ylabel("cost by the target alone")
        axes[0].legend(fontsize=7, loc="upper left", bbox_to_anchor=(0, 0.98))


def interactive(found: list[Entry]) -> str:
    """The page to try it on: one file, no request to anywhere."""
    data = [
        {
            "pair": one.pair.title,
            "gpu": one.gpu,
            "course": WORDS[one.course],
            "batch": one.batch or 0,
            "rho": round(one.speed, 4),
            "cached": round(one.cached, 5),
            "uncached": round(one.uncached, 5),
            "w": round(one.takeover, 4),
        }
        for one in found
    ]
    colours = f":root{{{css_variables(LIGHT)}}}"
    colours += f"@media (prefers-color-scheme:dark){{:root{{{css_variables(DARK)}}}}}"
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.replace("/*COLOURS*/", colours).replace("/*DATA*/[]", json.dumps(data))


def main() -> None:
    """Write the page's parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="against the simulator as well")
    args = parser.parse_args()
    found = list(entries())
    parts = {course: pairs_table(found, course) for course in COURSES}
    if args.check:
        alone, full = checks()
        parts["check alone"] = check_table(alone, "seconds a sample")
        parts["check full"] = check_table(full, "GPU seconds a sample")
    put(PAGE, parts)
    draw(found)
    INTERACTIVE.write_text(interactive(found), encoding="utf-8")
    print(f"wrote figures/{INTERACTIVE.name}")


if __name__ == "__main__":
    main()
