"""The leaderboard as data: the published, versioned schema of `leaderboard.json`.

Tables, Markdown, CSV and the page are made from it; `outputs.json_file` reads and writes it. What
is not known is None, never 0. Seconds are of the run's clock; tokens are the engines' own counts;
shares lie in [0, 1]. `VERSION` grows when a field changes its meaning or is removed.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from atts_harness.analysis.leaderboard.spent import CalibrationCost, CallSums, Flops, Speed
from atts_harness.results.statistics import TokensPerSample
from atts_harness.results.values import Conditions

FORMAT: Literal["atts-leaderboard"] = "atts-leaderboard"
VERSION = 1

Reference = Literal["target-only", "random-takeover", "atts", "named"]
"""What every strategy is compared with, sample by sample; `named` with `--reference`."""

INDISTINCT = "not distinguishable at this n"


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A figure over questions, with its question-clustered interval.

    Attributes:
        value: the point estimate.
        stderr: clustered standard error; None with one question.
        low: lower end; None with one question, for there is no interval then.
        high: upper end, likewise.
        level: nominal coverage of [low, high].
        items: values that went in; `clusters`: questions they are of.
    """

    value: float
    stderr: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    items: int = 0
    clusters: int = 0

    def leaves_out(self, value: float) -> bool:
        """Whether there is an interval and a value lies outside of it."""
        return self.low is not None and self.high is not None and not self.low <= value <= self.high


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The models of a row. A strategy without a draft or a target has None there.

    Attributes:
        name: both in one line.
        draft: name of the draft model.
        target: name of the target model; of a row made without a draft, its model.
        draft_engine: engine and version that served it; `target_engine` likewise.
    """

    name: str
    draft: str | None = None
    target: str | None = None
    draft_engine: str | None = None
    target_engine: str | None = None


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """How often the target took over.

    Attributes:
        nominal: the rate in the settings; None for a strategy without a rate.
        realised: share of judged turns that were taken over, with its interval. Results of an
            earlier version have no interval.
        judged: number of turns with a judgement, such as a p-value.
        takeovers: number of judged turns that were taken over.
        apart: number of takeovers without a judgement, by reason; not in the realised rate.
        taken_over: takeovers, judged or not, as a share of all turns with a decision.
        unjudged: turns without a judgement, as a share of all turns with a decision.
        shares: the same by reason; it always has `score-failed` and `empty-draft`.
    """

    nominal: float | None = None
    realised: Interval | None = None
    judged: int = 0
    takeovers: int = 0
    apart: dict[str, int] = {}
    taken_over: float | None = None
    unjudged: float | None = None
    shares: dict[str, float] = {}

    @property
    def decided(self) -> int:
        """Turns with a decision, judged or not."""
        return self.judged + sum(self.apart.values())


class RowSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row comes from; paths as they were given, or found below."""

    kind: Literal["run", "results", "oracle"]
    run_dir: str | None = None
    results: str | None = None
    samples: str | None = None
    started_at: str | None = None
    harness: str | None = None
    seed: int | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy at one operating point, on one task, with one pair.

    Attributes:
        id: unique in the leaderboard, the same for the same input.
        label: what tables show: the strategy, and the options in which rows of it differ.
        strategy: its name; of a row made without this project lm-eval's name of the model.
        oracle: made from other rows with the gold answers in hand. No strategy can do it.
        pair: the models.
        task: the task.
        conditions: what has to agree before rows may be compared.
        options: the strategy's options as used on this task.
        point: the options in which the rows of this strategy differ.
        metric: the task's own metric that pass@1 is of, as "metric,filter"; None where this
            project's grader counts.
        problems: questions.
        repeats: samples a question; the smallest number if they differ.
        samples: in all, missing ones included.
        vote: accuracy of the vote, where the samples of a question vote; tokens, calls and seconds
            of the row are then a problem's and not a sample's.
        drawn: samples that the vote drew, a question.
        not_drawn: samples that the vote did not need; `stopped`: that it gave up. Neither has a
            grade.
        pass_at: by k ("1", "16"): pass@k. "1" is there unless nothing was graded.
        maj_at: by k: maj@k.
        invalid: samples that ended and gave no answer.
        truncated: samples that ended because turns, budget or context ran out.
        failed: samples that failed for good; wrong.
        undecided: answers that no rule of the grader covers; wrong.
        missing: samples that were asked for and are not there (only with `--force`); wrong.
        turns: mean turns or steps a sample.
        takeover: None for a row without takeover decisions.
        tokens: a sample.
        calls: by "role/kind".
        speed: seconds.
        calibration: None for a strategy without.
        flops: an estimate; None where nothing is known.
        accepted: by role, the share of the tokens proposed by the engine's own speculative decoding
            that became part of a text: of the row's calls where the engine says it of each, else of
            the engine while the run went on. Empty without such decoding.
        peak_kv: by engine, the largest share of its KV cache in use that was seen.
        dollars: by role, all samples; empty without prices.
        source: files that it was made from.
        notes: notes on this row for its reader.
    """

    id: str
    label: str
    strategy: str
    oracle: bool = False
    pair: Pair
    task: str
    conditions: Conditions = Conditions()
    options: dict[str, Any] = {}
    point: dict[str, Any] = {}
    metric: str | None = None
    problems: int
    repeats: int
    samples: int
    vote: Interval | None = None
    drawn: float | None = None
    not_drawn: int | None = None
    stopped: int | None = None
    pass_at: dict[str, Interval] = {}
    maj_at: dict[str, Interval] = {}
    invalid: int | None = None
    truncated: int | None = None
    failed: int | None = None
    undecided: int | None = None
    missing: int = 0
    turns: float | None = None
    takeover: Takeover | None = None
    tokens: TokensPerSample = TokensPerSample()
    calls: dict[str, CallSums] = {}
    speed: Speed = Speed()
    calibration: CalibrationCost | None = None
    flops: Flops | None = None
    accepted: dict[str, float] = {}
    peak_kv: dict[str, float] = {}
    dollars: dict[str, float] = {}
    source: RowSource
    notes: tuple[str, ...] = ()

    @property
    def pass_1(self) -> Interval | None:
        """pass@1, None if nothing was graded."""
        return self.pass_at.get("1")

    @property
    def accuracy(self) -> Interval | None:
        """What the row is ranked and compared by: its vote, else pass@1."""
        return self.vote or self.pass_1


class McNemar(msgspec.Struct, frozen=True, kw_only=True):
    """McNemar's exact test on samples paired by question and repeat.

    It takes samples as independent, which repeats of one question are not. It is given because
    others report it, and decides nothing.

    Attributes:
        first: right in the row only.
        second: right in the reference only.
        p: exact, two-sided.
    """

    first: int
    second: int
    p: float


class NoWorse(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a row is no worse than its reference by more than a margin.

    Attributes:
        outcome: `no worse`, `worse` (by more than the margin) or `inconclusive`.
        margin: what may be lost.
        low: lower bound of the difference, at `confidence`; `no worse` is low > -margin.
        high: upper bound, at `confidence` on its own; `worse` is high < -margin.
        confidence: of each bound; counts the comparisons of the table.
        power: chance of `no worse` on so many problems if the two are equally good.
        more: problems that would have to be added until a chance of .8; 0 unless inconclusive.
        words: the outcome, for people.
    """

    outcome: Literal["no worse", "worse", "inconclusive"]
    margin: float
    low: float
    high: float
    confidence: float
    power: float
    more: int
    words: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A row against a reference row, on the questions and repeats that both have.

    Attributes:
        row: id.
        reference: id.
        kind: what the reference is.
        problems: questions that both have.
        samples: (question, repeat) that both have.
        difference: pass@1 of the row minus that of the reference, paired by question.
        simultaneous: the same with the interval that holds for all comparisons of the table at
            once (Bonferroni).
        p: two-sided, the level at which the interval would just leave 0 out; None with one
            question.
        p_adjusted: times the comparisons of the table (Bonferroni); None with one question.
        family: how many comparisons that are.
        needed: the fewest problems that could show a difference among so many comparisons.
        mcnemar: over samples; None where no repeat is shared.
        distinguishable: whether `simultaneous` leaves 0 out; None with one question.
        no_worse: against a margin; None with one question.
        words: the verdict, for people.
    """

    row: str
    reference: str
    kind: Reference
    problems: int
    samples: int
    difference: Interval
    simultaneous: Interval
    p: float | None = None
    p_adjusted: float | None = None
    family: int = 1
    needed: int | None = None
    mcnemar: McNemar | None = None
    distinguishable: bool | None = None
    no_worse: NoWorse | None = None
    words: str = INDISTINCT


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that may stand side by side.

    Attributes:
        id: unique in the leaderboard.
        task: of all its rows.
        title: for people.
        differs: differences from the first table of its task, in words; empty for the first.
        rows: ids, best first, oracles last.
        marks: by row id its differences from the others; only with `--force`.
        comparisons: paired.
    """

    id: str
    task: str
    title: str
    differs: tuple[str, ...] = ()
    rows: tuple[str, ...]
    marks: dict[str, tuple[str, ...]] = {}
    comparisons: tuple[Comparison, ...] = ()


class RefusedSource(msgspec.Struct, frozen=True, kw_only=True):
    """An input that is not in the leaderboard, and the reason."""

    path: str
    reason: str


class Leaderboard(msgspec.Struct, frozen=True, kw_only=True):
    """All of a report.

    Attributes:
        format: `atts-leaderboard`.
        version: `VERSION` of the writer.
        harness: version of this project.
        created: wall-clock time, ISO 8601, UTC.
        level: nominal coverage of the intervals.
        forced: whether rows that differ were put together.
        tables: in the order in which they are shown.
        rows: of all tables.
        refused: inputs that are not in it.
        warnings: about the whole.
    """

    format: Literal["atts-leaderboard"] = FORMAT
    version: int = VERSION
    harness: str
    created: str
    level: float = 0.95
    forced: bool = False
    tables: tuple[Table, ...] = ()
    rows: tuple[Row, ...] = ()
    refused: tuple[RefusedSource, ...] = ()
    warnings: tuple[str, ...] = ()

    def row(self, id_: str) -> Row:
        """The row with an id; KeyError if there is none."""
        return {row.id: row for row in self.rows}[id_]
