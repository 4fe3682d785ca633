"""What the page shows of one row from its run directory and sample log.

Plain data, read in one pass. A part that a row does not have is None or empty, and `lacks` has
the reason in words.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from atts_harness.analysis.audit.audit import Audit, audit
from atts_harness.analysis.audit.turns import AuditedTurn, turns_of
from atts_harness.analysis.leaderboard.rows import Row
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.statistics import clustered_mean
from atts_harness.errors import AttsError
from atts_harness.journal.reader import RecordedRun, nominal_rate, open_run
from atts_harness.lanes import LANES, Lane, lane_of
from atts_harness.records import EXTRACTOR, CountedCall, SampleFigures, SampleId, without_texts

MOST_BARS = 1500
MOMENTS = 300


class Bar(msgspec.Struct, frozen=True):
    """A call on a slot: seconds of the run's clock."""

    lane: Lane
    slot: int
    kind: str
    sent: float
    done: float
    sample: SampleId


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Use of an engine's memory against the samples that it was working on.

    Attributes:
        engine: name.
        reported: True: the engine reported its use of the KV cache, a share. False: it did not, and
            use is the number of tokens of the calls in flight, from the ledger.
        points: (samples in flight, use).
    """

    engine: str
    reported: bool
    points: tuple[tuple[int, float], ...]


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """Share of all samples that were right within so many turns, with its interval."""

    turns: int
    right: float
    low: float | None
    high: float | None
    ended: float


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of all samples: in engines, waiting for slots, waiting for siblings."""

    computing: float
    queued: float
    gathered: float


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What a row's run directory and sample log give for the page.

    Attributes:
        row: its id.
        audit: of its takeover decisions.
        within: accuracy by number of turns.
        latencies: seconds of every sample, ascending.
        waiting: None without a ledger.
        bars: the timeline; the first `MOST_BARS` calls.
        calls: in all.
        memory: by engine.
        disagree: by extractor, share of samples with another answer than the graded one.
        lacks: by missing part (`audit`, `ledger`, `grades`), the reason.
    """

    row: str
    audit: Audit | None = None
    within: tuple[Within, ...] = ()
    latencies: tuple[float, ...] = ()
    waiting: Waiting | None = None
    bars: tuple[Bar, ...] = ()
    calls: int = 0
    memory: tuple[Memory, ...] = ()
    disagree: dict[str, float] = {}
    lacks: dict[str, str] = {}


def read_row(row: Row, samples: RowSamples | None) -> View:
    """Read the run and the sample log of a row; what cannot be read is named in `lacks`.

    Args:
        row: the row.
        samples: its samples; None for a row made from others (an oracle).
    """
    if row.oracle or samples is None:
        reason = "it is put together from samples of other rows, with the gold answers in hand"
        return View(row=row.id, lacks={"grades": reason, "ledger": reason, "audit": reason})
    differ = disagreements(samples)
    lacks = {} if samples.grades else {"grades": "no sample is graded"}
    if samples.run_dir is None:
        lacks["ledger"] = (
            "it was made without a run directory of this project: there is no record of its calls, "
            "turns, scores or times"
        )
        lacks["audit"] = lacks["ledger"]
        return View(row=row.id, disagree=differ, lacks=lacks)
    try:
        with open_run(samples.run_dir) as run:
            return _view(row, samples, run, lacks)
    except AttsError as error:
        lacks["ledger"] = lacks["audit"] = str(error)
        return View(row=row.id, disagree=differ, lacks=lacks)


def _view(row: Row, samples: RowSamples, run: RecordedRun, lacks: dict[str, str]) -> View:
    right = {id_: grade.right for id_, grade in samples.grades.items()}
    turns: list[AuditedTurn] = []
    figures: list[SampleFigures] = []
    for record in samples.records():  # one at a time: their texts are most of a run
        turns += turns_of([record])
        figures.append(without_texts(record))
    audited = None
    if any(turn.p_value is not None for turn in turns):
        nominal = nominal_rate(run.record, row.task)
        audited = audit(turns, task=row.task, nominal=nominal, right=right)
    else:
        lacks["audit"] = "its decisions have no p-values" if turns else "it decides no takeovers"
    # An extractor's calls come after a sample and take no slot of draft or target.
    ids = samples.ids
    calls = [
        call
        for call in run.call_figures(task=row.task)
        if call.key.role != EXTRACTOR and call.reply and call.key.sample in ids
    ]
    if not calls:
        lacks["ledger"] = "the run directory has no record of calls"
    return View(
        row=row.id,
        audit=audited,
        within=accuracy_within(figures, right),
        latencies=tuple(sorted(s.ended - s.started for s in figures)),
        waiting=_waiting(figures) if calls else None,
        bars=tuple(timeline(calls)),
        calls=len(calls),
        memory=_reported(run, calls) or _counted(calls),
        disagree=disagreements(samples),
        lacks=lacks,
    )


def accuracy_within(
    samples: Sequence[SampleFigures], right: Mapping[SampleId, bool]
) -> tuple[Within, ...]:
    """Share of all samples that ended within T turns with a right answer, for each T.

    A sample that needed more turns counts as wrong at T: where the curve is flat, more turns no
    longer pay. Samples without a grade are left out.
    """
    graded = [s for s in samples if s.id in right]
    points = []
    for most in sorted({max(1, s.turns) for s in graded}):
        hits = [float(right[s.id] and s.turns <= most) for s in graded]
        share = clustered_mean(hits, [s.id.doc for s in graded], bounds=(0, 1))
        ended = sum(s.turns <= most for s in graded) / len(graded)
        points.append(
            Within(turns=most, right=share.value, low=share.low, high=share.high, ended=ended)
        )
    return tuple(points)


def _waiting(samples: Sequence[SampleFigures]) -> Waiting:
    totals = [totals for sample in samples for totals in sample.calls.values()]
    return Waiting(
        computing=sum(t.engine_seconds for t in totals),
        queued=sum(t.queued_seconds for t in totals),
        gathered=sum(s.waited_seconds for s in samples),
    )


def timeline(calls: Iterable[CountedCall], most: int = MOST_BARS) -> list[Bar]:
    """Calls on slots, by when they were sent: each takes the lowest slot of its lane that is free.

    Which slot a call had is not recorded and makes no difference; how many were busy does.
    """
    ordered = sorted(calls, key=lambda call: (call.sent, call.key))[:most]
    free: dict[Lane, list[int]] = {lane: [] for lane in LANES}
    busy: dict[Lane, list[tuple[float, int]]] = {lane: [] for lane in LANES}
    bars = []
    for call in ordered:
        lane = lane_of(call.key.role, call.key.kind)
        while busy[lane] and busy[lane][0][0] <= call.sent:
            heapq.heappush(free[lane], heapq.heappop(busy[lane])[1])
        slot = heapq.heappop(free[lane]) if free[lane] else len(busy[lane])
        heapq.heappush(busy[lane], (call.done, slot))
        bars.append(Bar(lane, slot, call.key.kind, call.sent, call.done, call.key.sample))
    return bars


def _reported(run: RecordedRun, calls: Sequence[CountedCall]) -> tuple[Memory, ...]:
    """The use of the KV cache that engines reported, if they did."""
    points: dict[str, list[tuple[int, float]]] = {}
    flights = {role: _in_flight(calls, role) for role in {call.key.role for call in calls}}
    for at, engine, figures in run.metrics():
        if "kv_usage" in figures:
            # An engine that serves both roles has a name that is not a role.
            serving = [flights[engine]] if engine in flights else list(flights.values())
            flying = sum(counts[bisect_right(times, at)] for times, counts in serving)
            points.setdefault(engine, []).append((flying, figures["kv_usage"]))
    return tuple(
        Memory(engine=engine, reported=True, points=tuple(measured))
        for engine, measured in sorted(points.items())
    )


def _in_flight(calls: Sequence[CountedCall], role: str) -> tuple[list[float], list[int]]:
    """Times at which the number of calls in flight changes; and that number between them."""
    events = _flights(calls, role)
    counts = itertools.accumulate((change for _, change, _ in events), initial=0)
    return [when for when, _, _ in events], list(counts)


def _counted(calls: Sequence[CountedCall]) -> tuple[Memory, ...]:
    """Tokens of the calls in flight, at evenly spaced moments, by role."""
    memories = []
    for role in sorted({call.key.role for call in calls}):
        events = _flights(calls, role)
        first, last = events[0][0], events[-1][0]
        step = (last - first) / MOMENTS
        points, flying, tokens, moment = [], 0, 0, 1
        for at, change, call_tokens in events:
            while step > 0 and first + moment * step <= at:
                if flying:
                    points.append((flying, float(tokens)))
                moment += 1
            flying += change
            tokens += change * call_tokens
        if points:
            memories.append(Memory(engine=role, reported=False, points=tuple(points)))
    return tuple(memories)


def _flights(calls: Sequence[CountedCall], role: str) -> list[tuple[float, int, int]]:
    """(when, +1 or -1, tokens in the cache) of each call of a role, by time; ends first."""
    events = []
    for call in calls:
        if call.key.role == role and call.usage is not None:
            tokens = call.usage.prompt_tokens + call.usage.completion_tokens
            events += [(call.sent, 1, tokens), (call.done, -1, tokens)]
    return sorted(events)


def disagreements(samples: RowSamples) -> dict[str, float]:
    """By extractor, the share of samples for which its answer differs from the graded one.

    Other spellings of an equal answer do not count, if lm-eval's results are there. Of a bare
    run directory only spellings can be compared. Samples without one of the two answers are
    left out.
    """
    if samples.disagree:
        return dict(samples.disagree)
    differ: dict[str, list[bool]] = {}
    for grade in samples.grades.values():
        for name, answer in grade.answers.items():
            if answer is not None and grade.answer is not None:
                differ.setdefault(name, []).append(answer != grade.answer)
    shares = {name: sum(differs) / len(differs) for name, differs in differ.items()}
    return shares if any(shares.values()) else {}
