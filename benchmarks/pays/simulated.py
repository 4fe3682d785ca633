"""The published pairs in simulated time: what docs/does-it-pay.md and docs/claims.md say of them.

    python -m benchmarks.pays.simulated [--trace TRACES.jsonl.gz --bank BANK.npy]

Every row runs the real scheduler and strategy on simulated engines (docs/plan.md). All that it
takes from the trace are lengths, scores and endings; the target alone is given answers of the same
length. Sixteen questions, spread evenly over how long their samples are. Rows with several numbers
of samples are also run with at most so many in progress (`live_samples`), and the best limit of
each counts. The rows are kept in `simulated.json` beside this file, which the pages are made of;
what is there is not made again (`--afresh` does). docs/does-it-pay.md says how long all take.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from benchmarks.pays.kinds import KINDS, OPEN, Kind, recorded
from benchmarks.pays.pairs import GPUS, PAIRS, Pair

FILE = Path(__file__).with_name("simulated.json")
QUESTIONS = 16
TURNS = (1, 2, 4, 8, 16)
OVERHEADS = (0.5, 2.0)
DEARER = 1.1
"""Times the GPU seconds of the best limit, at which larger limits are not tried any more."""
RECORDED = PAIRS[2]
"""The pair whose run was recorded."""


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
        live: most samples in progress; 0: no limit.
        cpu: processor seconds that it took to simulate, its range included; 0: not timed or shared.
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
    live: int = 0
    cpu: float = 0.0


class Waiting(msgspec.Struct, frozen=True):
    """What barriers cost at a number of turns, seconds a sample."""

    turns: int
    waited: float
    synchronous: float
    asynchronous: float


class SimulatedRows(msgspec.Struct, frozen=True):
    """Everything that was simulated."""

    trace: str
    rows: list[Row]
    waiting: list[Waiting]

    def row(self, pair: str, gpu: str, kind: str, samples: int = 16) -> Row:
        """One of them, without a limit."""
        return next(one for one in self.of(pair, gpu, samples) if one.kind == kind)

    def of(self, pair: str, gpu: str, samples: int = 16) -> list[Row]:
        """Those of a pair on its GPUs, with so many samples a question and without a limit."""
        asked = (pair, gpu, samples, 0)
        return [one for one in self.rows if (one.pair, one.gpu, one.samples, one.live) == asked]

    def best(self, pair: str, gpu: str, kind: str, samples: int) -> Row:
        """The limit with the fewest GPU seconds, or none."""
        asked = (pair, gpu, kind, samples)
        own = [one for one in self.rows if (one.pair, one.gpu, one.kind, one.samples) == asked]
        return min(own, key=lambda one: one.gpu_seconds)


def load() -> SimulatedRows:
    """What was simulated last."""
    return msgspec.json.decode(FILE.read_bytes(), type=SimulatedRows)


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


class Rows:
    """Makes rows, unless they are there.

    Args:
        trace: what the models write.
        there: rows that were made before.
    """

    def __init__(self, trace: RunTrace, there: Sequence[Row]) -> None:
        self._trace = trace
        self._there = {_name(row): row for row in there}
        self._same: dict[tuple[object, ...], list[Row]] = {}

    def made(self, kinds: Sequence[Kind]) -> Iterator[list[Row]]:
        """Every pair, GPU type, strategy and number of samples; each with all its limits.

        Pairs that share a target on as many GPUs share the rows of the target alone.
        """
        for pair, gpu, kind in itertools.product(PAIRS, GPUS, kinds):
            roles = kind_of(kind.strategy, dict(kind.options)).roles
            engines = tuple((pair.models[role], pair.devices[role]) for role in roles)
            for samples in kind.samples if gpu in kind.gpus else ():
                key = (engines, gpu, kind.title, samples)
                if key in self._same:
                    structs = msgspec.structs
                    yield [structs.replace(r, pair=pair.title, cpu=0.0) for r in self._same[key]]
                    continue
                self._same[key] = self._limited(pair, gpu, kind, samples)
                yield self._same[key]

    def _limited(self, pair: Pair, gpu: str, kind: Kind, samples: int) -> list[Row]:
        """Without a limit and with each; the best of them, and at 16 samples no limit, ranged."""
        own = [self._one(pair, gpu, kind, samples, 0)]
        if not kind.limits:
            return own
        tried: list[Row] = []
        for live in kind.limits:
            if live >= len(self._trace.samples) * samples:
                break
            tried.append(self._one(pair, gpu, kind, samples, live))
            if tried[-1].gpu_seconds > DEARER * min(one.gpu_seconds for one in tried):
                break
        own += tried
        best = min(own, key=lambda one: one.gpu_seconds)
        ranged = {best.live, 0} if samples == 16 else {best.live}
        return [self._ranged(pair, kind, one) if one.live in ranged else one for one in own]

    def _one(self, pair: Pair, gpu: str, kind: Kind, samples: int, live: int) -> Row:
        row = self._there.get((pair.title, gpu, kind.title, samples, live))
        if row is not None:
            return row
        began = time.process_time()
        made = run(pair, gpu, kind.limited(live), samples, self._trace)
        row = _row(pair, gpu, kind, samples, made)
        return msgspec.structs.replace(row, live=live, cpu=time.process_time() - began)

    def _ranged(self, pair: Pair, kind: Kind, row: Row) -> Row:
        """Its makespan with half and with twice the overheads as well."""
        if row.low < row.high:
            return row
        began, limited = time.process_time(), kind.limited(row.live)
        ends = [run(pair, row.gpu, limited, row.samples, self._trace, f) for f in OVERHEADS]
        times = [row.makespan, *(end.makespan for end in ends)]
        cpu = row.cpu + time.process_time() - began
        return msgspec.structs.replace(row, low=min(times), high=max(times), cpu=cpu)


def _row(pair: Pair, gpu: str, kind: Kind, samples: int, made: Simulated) -> Row:
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
        low=made.makespan,
        high=made.makespan,
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
    pair = RECORDED
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
    there = load() if FILE.exists() and not args.afresh else SimulatedRows(words, [], [])
    if there.trace != words:
        there = SimulatedRows(words, [], [])
    found = SimulatedRows(words, [], there.waiting)
    for made in Rows(trace, there.rows).made((*KINDS, *recorded(args.bank))):
        found.rows.extend(made)
        for row in made if any(one not in there.rows for one in made) else ():
            print(
                f"{row.pair}, {row.gpu}, {row.kind} x {row.samples}, limit {row.live}: "
                f"{row.makespan:.0f} s, {row.gpu_seconds:.2f} GPU s a sample, "
                f"{row.cpu:.1f} s to simulate",
                flush=True,
            )
        keep(found, there.rows)
    if not found.waiting:
        found.waiting.extend(waiting(trace))
    keep(found)
    print(f"{FILE.name}: {len(found.rows)} rows")


def keep(found: SimulatedRows, there: Sequence[Row] = ()) -> None:
    """Write what there is, with the rows from before whose turn has not come."""
    names = {_name(row) for row in found.rows}
    rest = [row for row in there if _name(row) not in names]
    whole = _rounded(msgspec.to_builtins(found) | {"rows": msgspec.to_builtins(found.rows + rest)})
    lines = {
        name: ",\n".join(json.dumps(one) for one in whole[name]) for name in ("rows", "waiting")
    }
    FILE.write_text(
        f'{{"trace": {json.dumps(found.trace)},\n'
        f'"rows": [\n{lines["rows"]}\n],\n"waiting": [\n{lines["waiting"]}\n]}}\n'
    )


def _name(row: Row) -> tuple[str, str, str, int, int]:
    return row.pair, row.gpu, row.kind, row.samples, row.live


def _rounded(value: Any) -> Any:
    """Five digits: what a page shows, and the file stays small."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
