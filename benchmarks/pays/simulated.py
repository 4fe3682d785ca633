"""The published pairs in simulated time: what docs/does-it-pay.md and docs/claims.md say of them.

    python -m benchmarks.pays.simulated [--trace TRACES.jsonl.gz --bank BANK.npy]

Every row runs the real scheduler and strategy on simulated engines (docs/plan.md). All that it
takes from the trace are lengths, scores and endings; the target alone is given answers of the same
length. Sixteen questions, spread evenly over how long their samples are. The rows are kept in
`simulated.json` beside this file, which the pages are made of; what is there is not made again
(`--afresh` does). About ten minutes of one core.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.settings import kind_of, parse_settings
from atts_harness.simulation.costs import CostModel
from atts_harness.simulation.deployment import Placement, roofline
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.reading import read_trace
from atts_harness.simulation.running import Simulated, simulate
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from benchmarks.pays.pairs import GPUS, PAIRS, Pair

FILE = Path(__file__).with_name("simulated.json")
QUESTIONS = 16
SAMPLES = (1, 16, 64)
OPEN = dict.fromkeys(("draft_concurrency", "score_concurrency", "takeover_concurrency"), 256)
"""No limit but the engine's own 256 sequences, for every row alike."""
PUBLISHED = {"draft_concurrency": 16, "target_concurrency": 4}
TURNS = (1, 2, 4, 8, 16)
ONE = ("h100",)
OVERHEADS = (0.5, 2.0)
SHOWN = (PAIRS[0], PAIRS[2])
"""A quick draft and one of usual size."""


@dataclass(frozen=True)
class Kind:
    """A strategy at one operating point.

    Attributes:
        title: as tables show it.
        strategy: its name.
        options: its settings.
        samples: a question, one run each.
        cached: whether scores read the prefix cache.
        gpus: on which GPU types.
    """

    title: str
    strategy: str
    options: Mapping[str, Any]
    samples: tuple[int, ...] = (16,)
    cached: bool = True
    gpus: tuple[str, ...] = GPUS

    @property
    def ranged(self) -> bool:
        """Whether it is shown over a range of the cost model's overheads."""
        return len(self.samples) == len(SAMPLES)


KINDS = (
    Kind("target-only", "target-only", OPEN, SAMPLES),
    Kind("atts .4", "atts", OPEN | {"rate": 0.4}, SAMPLES),
    Kind("atts .4, scores not cached", "atts", OPEN | {"rate": 0.4}, SAMPLES, cached=False),
    Kind("atts .2", "atts", OPEN | {"rate": 0.2}, SAMPLES),
    Kind("atts .1", "atts", OPEN | {"rate": 0.1}, gpus=ONE),
    Kind("atts .4, in its place", "atts", OPEN | {"rate": 0.4, "on_reject": "replace"}, gpus=ONE),
    Kind("random takeover .4", "random-takeover", OPEN | {"rate": 0.4}, gpus=ONE),
    Kind("synchronous .4", "synchronous", OPEN | {"rate": 0.4}, gpus=ONE),
    Kind("target-only, one at a time", "target-only", {"live_samples": 1}, gpus=ONE),
    Kind("atts .4, one at a time", "atts", {"rate": 0.4, "live_samples": 1}, gpus=ONE),
    Kind("synchronous .4, published limits", "synchronous", PUBLISHED | {"rate": 0.4}, gpus=ONE),
    Kind("atts .4, published limits", "atts", PUBLISHED | {"rate": 0.4}, gpus=ONE),
)


def recorded(bank: Path | None) -> tuple[Kind, ...]:
    """ATTS with and without drafting ahead; with the run's own bank all decide as was recorded."""
    options = OPEN | {"rate": 0.4}
    if bank is not None:
        options |= {"bank": str(bank), "coverage": "marginal", "rule": "reference"}
    return tuple(
        Kind(title, "atts", options | {"draft_ahead": ahead}, (1, 16), cached)
        for ahead in (False, True)
        for cached in (True, False)
        for title in [name_of(ahead, cached)]
    )


def name_of(ahead: bool, cached: bool) -> str:
    """Title of a row of `recorded`."""
    return f"as recorded{', draft ahead' * ahead}{'' if cached else ', scores not cached'}"


class Row(msgspec.Struct, frozen=True):
    """One run.

    Attributes:
        pair: title of the pair.
        gpu: its GPUs.
        kind: title of the strategy's row.
        samples: a question.
        gpus: how many it holds.
        makespan: seconds.
        low, high: its range with half and with twice the overheads.
        rate: samples a second.
        p50: seconds of a sample.
        gpu_seconds: GPUs times makespan, a sample.
        takeover: realised rate.
        kv: most KV cache of the target in use at a time, in tokens.
        intensity: the paper's r.
        discarded: drafts ahead that were thrown away or cancelled, by all drafts.
        mean: seconds of a sample.
    """

    pair: str
    gpu: str
    kind: str
    samples: int
    gpus: int
    makespan: float
    low: float
    high: float
    rate: float
    p50: float
    gpu_seconds: float
    takeover: float | None
    kv: int
    intensity: float
    discarded: float | None = None
    mean: float = 0.0


class Waiting(msgspec.Struct, frozen=True):
    """What barriers cost at a number of turns, seconds a sample."""

    turns: int
    waited: float
    synchronous: float
    asynchronous: float


class Found(msgspec.Struct, frozen=True):
    """Everything that was simulated."""

    trace: str
    rows: list[Row]
    waiting: list[Waiting]

    def row(self, pair: str, gpu: str, kind: str, samples: int = 16) -> Row:
        """One of them."""
        return next(one for one in self.of(pair, gpu, samples) if one.kind == kind)

    def of(self, pair: str, gpu: str, samples: int = 16) -> list[Row]:
        """Those of a pair on its GPUs, with so many samples a question."""
        asked = (pair, gpu, samples)
        return [one for one in self.rows if (one.pair, one.gpu, one.samples) == asked]


def load() -> Found:
    """What was simulated last."""
    return msgspec.json.decode(FILE.read_bytes(), type=Found)


def some(trace: RunTrace, questions: int) -> RunTrace:
    """Questions spread evenly over the mean length of their samples."""
    order = sorted(
        trace.samples, key=lambda doc: statistics.fmean(s.tokens for s in trace.samples[doc])
    )
    chosen = sorted(order[int((n + 0.5) * len(order) / questions)] for n in range(questions))
    return replace(trace, samples={doc: trace.samples[doc] for doc in chosen})


def run(
    pair: Pair, gpu: str, kind: Kind, samples: int, trace: RunTrace, overheads: float = 1.0
) -> Simulated:
    """One simulated run."""
    roles = kind_of(kind.strategy, dict(kind.options)).roles
    models = {role: name for role, name in pair.models.items() if role in roles}
    common = {"backend": "simulated", "metrics_interval": 0, "max_gen_toks": 32000}
    settings = parse_settings({"strategy": kind.strategy, **common, **models, **kind.options})

    def pricing(one: Placement) -> CostModel:
        usual = roofline(one)
        return replace(
            usual,
            layer_seconds=usual.layer_seconds * overheads,
            step_seconds=usual.step_seconds * overheads,
            sequence_seconds=usual.sequence_seconds * overheads,
            hop_seconds=usual.hop_seconds * overheads,
        )

    limits = EngineLimits(kv_tokens=0, scores_read_cache=kind.cached)
    return simulate(
        settings, trace, pair.placed(gpu), repeats=samples, limits=limits, pricing=pricing
    )


def rows(trace: RunTrace, known: Sequence[Row], kinds: Sequence[Kind]) -> Iterator[Row]:
    """Every pair, GPU type, strategy and number of samples; those that are known as they are."""
    there = {(one.pair, one.gpu, one.kind, one.samples): one for one in known}
    for pair, gpu, kind in itertools.product(SHOWN, GPUS, kinds):
        for samples in kind.samples if gpu in kind.gpus else ():
            row = there.get((pair.title, gpu, kind.title, samples))
            if row is None:
                made = run(pair, gpu, kind, samples, trace)
                factors = OVERHEADS if kind.ranged and samples == 16 else ()
                ends = [run(pair, gpu, kind, samples, trace, f).makespan for f in factors]
                row = _row(pair, gpu, kind, samples, made, [made.makespan, *ends])
            yield row


def _row(pair: Pair, gpu: str, kind: Kind, samples: int, made: Simulated, ends: list[float]) -> Row:
    gpus = sum(pair.devices[role] for role in made.figures)
    decisions = [d for record in made.records for d in record.decisions]
    ahead = [record.notes["ahead"] for record in made.records if "ahead" in record.notes]
    gone = sum(one["thrown away"] + one["cancelled"] for one in ahead)
    target = made.figures.get("target")
    return Row(
        pair=pair.title,
        gpu=gpu,
        kind=kind.title,
        samples=samples,
        gpus=gpus,
        makespan=made.makespan,
        low=min(ends),
        high=max(ends),
        rate=made.samples_a_second,
        p50=made.latency(0.5),
        gpu_seconds=gpus * made.makespan / len(made.records),
        takeover=sum(d.takeover for d in decisions) / len(decisions) if decisions else None,
        kv=0 if target is None else target.kv_peak,
        intensity=made.intensity,
        discarded=gone / (gone + len(decisions)) if ahead else None,
        mean=statistics.fmean(r.ended - r.started for r in made.records),
    )


def endless(trace: RunTrace, turns: int) -> RunTrace:
    """Samples that end at no answer: recorded turns one after the other, `turns` of them."""
    found = {}
    for doc, own in trace.samples.items():
        pool = [turn for sample in own for turn in sample.turns]
        found[doc] = tuple(
            SampleTrace(
                doc,
                n,
                tuple(_open(pool[(7 * n + 3 * k) % len(pool)]) for k in range(turns)),
            )
            for n in range(len(own))
        )
    return replace(trace, samples=found)


def _open(turn: TurnTrace) -> TurnTrace:
    return replace(turn, draft=max(1, turn.draft), draft_ends=False, takeover_ends=False)


def waiting(trace: RunTrace) -> Iterator[Waiting]:
    """What samples wait for each other at barriers, by number of turns."""
    pair = SHOWN[1]
    for turns in TURNS:
        lasting = endless(trace, turns)
        options = OPEN | {"rate": 0.4, "turns": turns}
        made = {
            name: run(pair, "h100", Kind(name, name, options), 16, lasting)
            for name in ("synchronous", "atts")
        }
        yield Waiting(
            turns,
            statistics.fmean(r.waited_seconds for r in made["synchronous"].records),
            made["synchronous"].makespan,
            made["atts"].makespan,
        )


def main() -> None:
    """Simulate, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trace", type=Path, help="published traces; default: their summary")
    parser.add_argument("--bank", type=Path, help="the published run's bank")
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--afresh", action="store_true", help="make every row again")
    args = parser.parse_args()
    whole = published_trace(30) if args.trace is None else read_trace(args.trace)
    trace = some(whole, args.questions)
    words = "the summary of the published run" if args.trace is None else args.trace.name
    words = f"{len(trace.samples)} questions of {words}"
    known = load() if FILE.exists() and not args.afresh else Found(words, [], [])
    found = Found(words, [], known.waiting if known.trace == words else [])
    kinds = (*KINDS, *recorded(args.bank))
    for row in rows(trace, known.rows if known.trace == words else [], kinds):
        found.rows.append(row)
        keep(found)
        print(
            f"{row.pair}, {row.gpu}, {row.kind} x {row.samples}: {row.makespan:.0f} s, "
            f"{row.gpu_seconds:.1f} GPU s a sample",
            flush=True,
        )
    if not found.waiting:
        found.waiting.extend(waiting(trace))
        keep(found)
    print(f"{FILE.name}: {len(found.rows)} rows")


def keep(found: Found) -> None:
    """Write what there is."""
    FILE.write_text(json.dumps(_rounded(msgspec.to_builtins(found)), indent=0) + "\n")


def _rounded(value: Any) -> Any:
    """Five digits: what a page shows, and the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
