"""Did takeover control hold? Realised against nominal rates, uniformity, dependence, effect.

The realised rate is the share of turns with a p-value that were taken over. Failed scores and
empty drafts are takeovers too, but no p-value decided them: they are counted apart. Every interval
is over questions, for repeats and turns of one question share its difficulty.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import msgspec
import numpy as np
from scipy import stats

from atts_harness.analysis.audit.signal import Auc, signal_quality
from atts_harness.analysis.audit.turns import NEW_ANSWER, AuditedTurn
from atts_harness.analysis.statistics import (
    Estimate,
    cluster_bootstrap,
    clustered_mean,
    clustered_ratio,
)
from atts_harness.records import SampleId

GROUPS = ((0, 0), (1, 1), (2, 4), (5, 9), (10, None))
"""Ranges of turns that are pooled, for single late turns have too few scores."""
BINS = 10
DRAWS = 400


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A figure and its question-clustered 95 % interval; None where none can be drawn."""

    value: float
    low: float | None
    high: float | None


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Takeovers among scored turns.

    Attributes:
        name: which turns (`turn 3`, `thinking`, ...).
        scored: turns with a p-value.
        takeovers: of these.
        questions: from which they come.
        rate: takeovers / scored: every turn counts the same.
        by_question: mean of the questions' rates: every question counts the same. This is the rate
            that the hierarchical bound (`pvalue=hierarchical`) is about.
    """

    name: str
    scored: int
    takeovers: int
    questions: int
    rate: Band
    by_question: Band


class Uniformity(msgspec.Struct, frozen=True, kw_only=True):
    """Whether p-values are uniform, as exchangeable scores would have them.

    Attributes:
        name: which turns.
        count: p-values.
        ks: Kolmogorov-Smirnov distance to the uniform distribution, with its interval from drawing
            questions again. Drawing can only increase the distance: read the low end.
        independent: distance that 5 % of samples of as many independent uniform p-values exceed.
            Repeats are not independent, so this is a yardstick, not a test.
        bins: share of p-values in each tenth of [0, 1]; 0.1 each if uniform.
    """

    name: str
    count: int
    ks: Band
    independent: float
    bins: tuple[float, ...]


class Dependence(msgspec.Struct, frozen=True, kw_only=True):
    """Whether decisions depend on the one before them in the same sample.

    Attributes:
        pairs: consecutive scored turns.
        after_takeover: P(takeover | the turn before was taken over).
        after_none: P(takeover | the turn before was not).
    """

    pairs: int
    after_takeover: Rate | None
    after_none: Rate | None


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What takeovers did to the answer. Counts, over all takeovers of scored turns.

    Attributes:
        takeovers: with text; those of records without text are left out.
        empty: the target wrote nothing.
        empty_after_answer: of these, after a draft that holds an answer.
        supplied: there was no answer before, now there is.
        changed: another answer than the draft's.
        kept: the draft's answer stands.
        open: no answer yet on either side.
        new_answer: supplied and changed, as a share of all.
        answering: takeovers of drafts that hold an answer.
        answering_without_effect: of these, the share after which the draft's answer stands.
    """

    takeovers: int
    empty: int
    empty_after_answer: int
    supplied: int
    changed: int
    kept: int
    open: int
    new_answer: Rate | None
    answering: int
    answering_without_effect: Rate | None


class Problems(msgspec.Struct, frozen=True, kw_only=True):
    """How takeovers spread over problems, by the realised rate of each on its first turns.

    Attributes:
        rates: by document id, ascending: (document, scored turns, rate), all turns.
        first_turn_quantiles: of the problems' rates on turn 0: 10, 50 and 90 %.
        never: share of problems never taken over on turn 0.
        always: share taken over on turn 0 nine times in ten, or more.
    """

    rates: tuple[tuple[int, int, float], ...]
    first_turn_quantiles: tuple[float, float, float] | None
    never: float | None
    always: float | None


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The audit of one task of a run: plain data for a terminal, JSON and the report.

    Attributes:
        task: its name.
        nominal: the rate in the settings; None if the run has none.
        samples: with at least one decision.
        questions: of these.
        overall: all scored turns.
        turns: by turn.
        groups: by group of turns.
        phases: before and after the end of thinking.
        answering: drafts with and without an answer.
        uniformity: all turns, then by group.
        dependence: on the decision before.
        effects: of takeovers on the answer.
        problems: spread over problems.
        thresholds: smallest, mean and largest threshold used.
        apart: takeovers that no p-value decided, by reason.
        signal: AUC of the score for wrong answers; empty without grades.
        unfinished: which part of the run is missing, in words; "" for a finished run.
        caveats: notes on the run that a reader of its rates needs.
    """

    task: str
    nominal: float | None
    samples: int
    questions: int
    overall: Rate | None
    turns: tuple[Rate, ...]
    groups: tuple[Rate, ...]
    phases: tuple[Rate, ...]
    answering: tuple[Rate, ...]
    uniformity: tuple[Uniformity, ...]
    dependence: Dependence
    effects: Effects
    problems: Problems
    thresholds: tuple[float, float, float] | None
    apart: dict[str, int]
    signal: tuple[Auc, ...] = ()
    unfinished: str = ""
    caveats: tuple[str, ...] = ()


def audit(
    turns: Iterable[AuditedTurn],
    *,
    task: str,
    nominal: float | None = None,
    right: Mapping[SampleId, bool] | None = None,
    unfinished: str = "",
    caveats: Sequence[str] = (),
    seed: int = 0,
) -> Audit:
    """Audit the decided turns of one task.

    Args:
        turns: from `turns_of`; those of other tasks are left out.
        task: which task.
        nominal: the rate in the settings.
        right: whether a sample's answer is right; samples without a grade are left out of the
            signal's quality.
        unfinished: which part of the run is missing, in words.
        caveats: from `caveats_of`.
        seed: of the bootstrap.

    Returns:
        The audit; parts for which there is nothing to count are empty or None.
    """
    mine = [turn for turn in turns if turn.sample.task == task]
    scored = [turn for turn in mine if turn.p_value is not None]
    thresholds = [turn.threshold for turn in scored if turn.threshold is not None]
    apart = Counter(turn.reason for turn in mine if turn.p_value is None and turn.takeover)
    return Audit(
        task=task,
        nominal=nominal,
        samples=len({turn.sample for turn in mine}),
        questions=len({turn.question for turn in mine}),
        overall=rate_of("all turns", scored),
        turns=_by_turn(scored),
        groups=tuple(r for name, part in _grouped(scored) if (r := rate_of(name, part))),
        phases=_halves(
            scored, lambda turn: turn.thinking, "before the end of thinking", "after it"
        ),
        answering=_halves(
            scored, lambda turn: turn.answering, "draft holds an answer", "draft without one"
        ),
        uniformity=tuple(
            uniformity(name, part, seed)
            for name, part in [("all turns", scored), *_grouped(scored)]
            if part
        ),
        dependence=dependence(scored),
        effects=effects(scored),
        problems=problems(scored),
        thresholds=(
            (min(thresholds), float(np.mean(thresholds)), max(thresholds)) if thresholds else None
        ),
        apart=dict(sorted(apart.items())),
        signal=signal_quality(scored, right) if right else (),
        unfinished=unfinished,
        caveats=tuple(caveats),
    )


def band_of(estimate: Estimate) -> Band:
    """The value and interval of a share, limited to [0, 1]."""
    low = None if estimate.low is None else max(0.0, estimate.low)
    high = None if estimate.high is None else min(1.0, estimate.high)
    return Band(value=estimate.value, low=low, high=high)


def rate_of(
    name: str,
    turns: Sequence[AuditedTurn],
    hit: Callable[[AuditedTurn], bool] = lambda turn: turn.takeover,
) -> Rate | None:
    """The share of turns that are hits (takeovers), or None for no turns."""
    if not turns:
        return None
    hits = [float(hit(turn)) for turn in turns]
    questions = [turn.question for turn in turns]
    return Rate(
        name=name,
        scored=len(turns),
        takeovers=int(sum(hits)),
        questions=len(set(questions)),
        rate=band_of(clustered_ratio(hits, [1.0] * len(hits), questions)),
        by_question=band_of(clustered_mean(hits, questions, bounds=(0.0, 1.0))),
    )


def uniformity(name: str, turns: Sequence[AuditedTurn], seed: int = 0) -> Uniformity:
    """Distance of the p-values of scored turns from uniform."""
    values = np.array([turn.p_value for turn in turns], dtype=np.float64)
    questions: list[Hashable] = [turn.question for turn in turns]
    ks = cluster_bootstrap(
        lambda picked: ks_distance(values[picked]), questions, draws=DRAWS, seed=seed
    )
    counts, _ = np.histogram(values, BINS, (0.0, 1.0))
    return Uniformity(
        name=name,
        count=len(turns),
        ks=band_of(ks),
        independent=1.358 / math.sqrt(len(turns)),
        bins=tuple(float(share) for share in counts / len(turns)),
    )


def ks_distance(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Largest gap between the empirical distribution of values and the uniform one on [0, 1]."""
    return float(stats.kstest(values, "uniform", method="asymp").statistic)


def dependence(turns: Sequence[AuditedTurn]) -> Dependence:
    """How decisions depend on the one before them in the same sample."""
    ordered = sorted(turns, key=lambda turn: (turn.sample, turn.turn))
    after: dict[bool, list[AuditedTurn]] = {True: [], False: []}
    for before, turn in itertools.pairwise(ordered):
        if before.sample == turn.sample:
            after[before.takeover].append(turn)
    return Dependence(
        pairs=len(after[True]) + len(after[False]),
        after_takeover=rate_of("after a takeover", after[True]),
        after_none=rate_of("after none", after[False]),
    )


def effects(turns: Sequence[AuditedTurn]) -> Effects:
    """What takeovers did to the answer."""
    takeovers = [turn for turn in turns if turn.effect is not None]
    counts = Counter(turn.effect for turn in takeovers)
    answering = [turn for turn in takeovers if turn.answering]
    return Effects(
        takeovers=len(takeovers),
        empty=counts["empty"],
        empty_after_answer=sum(turn.effect == "empty" for turn in answering),
        supplied=counts["supplied"],
        changed=counts["changed"],
        kept=counts["kept"],
        open=counts["open"],
        new_answer=rate_of("new answer", takeovers, lambda turn: turn.effect in NEW_ANSWER),
        answering=len(answering),
        answering_without_effect=rate_of(
            "answer stands", answering, lambda turn: turn.effect in ("empty", "kept")
        ),
    )


def problems(turns: Sequence[AuditedTurn]) -> Problems:
    """How takeovers spread over problems."""
    scored, takeovers = Counter[int](), Counter[int]()
    first: dict[int, list[bool]] = {}
    for turn in turns:
        scored[turn.sample.doc] += 1
        takeovers[turn.sample.doc] += turn.takeover
        if turn.turn == 0:
            first.setdefault(turn.sample.doc, []).append(turn.takeover)
    rates = tuple((doc, scored[doc], takeovers[doc] / scored[doc]) for doc in sorted(scored))
    if not first:
        return Problems(rates=rates, first_turn_quantiles=None, never=None, always=None)
    shares = np.array([np.mean(decisions) for decisions in first.values()])
    low, middle, high = (float(q) for q in np.quantile(shares, (0.1, 0.5, 0.9)))
    return Problems(
        rates=rates,
        first_turn_quantiles=(low, middle, high),
        never=float(np.mean(shares == 0)),
        always=float(np.mean(shares >= 0.9)),
    )


def _by_turn(turns: Sequence[AuditedTurn]) -> tuple[Rate, ...]:
    parts: dict[int, list[AuditedTurn]] = {}
    for turn in turns:
        parts.setdefault(turn.turn, []).append(turn)
    return tuple(r for turn in sorted(parts) if (r := rate_of(f"turn {turn}", parts[turn])))


def _halves(
    turns: Sequence[AuditedTurn], flag: Callable[[AuditedTurn], bool | None], yes: str, no: str
) -> tuple[Rate, ...]:
    """Turns with a flag and without it; turns without text have no flag and are left out."""
    parts = (
        (yes, [t for t in turns if flag(t) is True]),
        (no, [t for t in turns if flag(t) is False]),
    )
    return tuple(r for name, part in parts if (r := rate_of(name, part)))


def _grouped(turns: Sequence[AuditedTurn]) -> list[tuple[str, list[AuditedTurn]]]:
    parts = []
    for first, last in GROUPS:
        within = [t for t in turns if first <= t.turn and (last is None or t.turn <= last)]
        name = f"turn {first}" if first == last else f"turns {first}–{last}"
        name = f"turns {first}+" if last is None else name
        parts.append((name, within))
    return parts
