"""Statistics of a task's samples: the typed contract behind `config.atts.statistics`."""

from __future__ import annotations

import msgspec

from atts_harness.records import CallTotals


class TakeoverStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How often the target took over. There are two rates, which differ when scores fail.

    Attributes:
        nominal_rate: the rate in the settings; None for a strategy without one.
        realised_rate: takeovers among judged turns, which is what takeover control promises.
        realised_interval: its 95 % interval, clustered by problem; None where fewer than two
            problems have a judged turn, and in results of earlier versions.
        realised_stderr: its clustered standard error, None likewise.
        judged_problems: problems with a judged turn; None in results of earlier versions.
        judged_turns: turns that a policy decided.
        takeovers: of these.
        counted_apart: takeovers that nobody judged, by reason. They are not in the realised rate.
    """

    nominal_rate: float | None = None
    realised_rate: float | None = None
    realised_interval: tuple[float, float] | None = None
    realised_stderr: float | None = None
    judged_problems: int | None = None
    judged_turns: int = 0
    takeovers: int = 0
    counted_apart: dict[str, int] = {}

    @property
    def decided_turns(self) -> int:
        """Turns with a decision, judged or not."""
        return self.judged_turns + sum(self.counted_apart.values())

    @property
    def taken_over_rate(self) -> float | None:
        """Takeovers of any kind among all decided turns; None without a decision."""
        if not self.decided_turns:
            return None
        return (self.takeovers + sum(self.counted_apart.values())) / self.decided_turns

    @property
    def drawn_rate(self) -> float | None:
        """The rate at which a coin takes over as many turns: empty drafts are left out.

        A coin control also gives its empty drafts to the target, before it tosses the coin. A
        takeover for a failed score happens only in a strategy with scores, so here the coin
        replaces it.
        """
        empty = self.counted_apart.get("empty-draft", 0)
        turns = self.decided_turns - empty
        if not turns:
            return None
        return (self.takeovers + sum(self.counted_apart.values()) - empty) / turns

    @property
    def unjudged_rate(self) -> float:
        """Share of decided turns that were not judged; 0 without a decision."""
        return sum(self.shares_apart.values())

    @property
    def shares_apart(self) -> dict[str, float]:
        """Share of decided turns by each reason that is counted apart."""
        return {name: n / self.decided_turns for name, n in self.counted_apart.items() if n}


class TokensPerSample(msgspec.Struct, frozen=True, kw_only=True):
    """Mean tokens a sample. None: not known.

    Attributes:
        draft_computed: tokens that the draft ran a forward pass for: uncached context, scored and
            written ones.
        draft_written: tokens that it generated, kept or not.
        target_computed: likewise of the target.
        target_written: likewise.
        kept: tokens that count against the budget.
    """

    draft_computed: float | None = None
    draft_written: float | None = None
    target_computed: float | None = None
    target_written: float | None = None
    kept: float | None = None


class VoteStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a task's votes.

    Attributes:
        drawn: samples that were begun, those that were given up included.
        stopped: of these, samples that were given up.
        not_drawn: samples that the votes had no need of.
        tokens_per_problem: mean over problems, of everything that was computed and written.
        seconds_p50: of a problem, from its first sample's admission to its last one's end; median.
        seconds_p95: likewise, 95 % (nearest rank).
    """

    drawn: int = 0
    stopped: int = 0
    not_drawn: int = 0
    tokens_per_problem: TokensPerSample = TokensPerSample()
    seconds_p50: float | None = None
    seconds_p95: float | None = None


class ExtractionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of samples whose answers a model extracted.

    Attributes:
        extracted: samples with an answer, or with the word that the text gives none.
        failed: samples for which the extraction failed.
        why: of these, by the error's type; unset where none failed.
    """

    extracted: int = 0
    failed: int = 0
    why: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class TaskStatistics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Statistics of one task's samples: `config.atts.statistics` of lm-eval's results.

    Attributes:
        problems: questions with a finished sample.
        samples: finished ones.
        failed: of these, samples that failed for good.
        truncated: samples that ended because turns, budget or context ran out.
        finish: samples by ending.
        turns_per_sample: mean.
        takeover: how often the target took over.
        llm_extraction: None where no model extracted. Its cost is in the run's ledger.
        tokens_per_sample: by who computed or wrote them.
        vote: None under a strategy that takes no votes. Means a sample are of drawn samples then.
        calls: sums by "role/kind".
        seconds: from the first sample's start to the last one's end.
    """

    samples: int
    takeover: TakeoverStatistics
    calls: dict[str, CallTotals]
    problems: int | None = None
    failed: int | None = None
    truncated: int | None = None
    finish: dict[str, int] | None = None
    turns_per_sample: float | None = None
    llm_extraction: ExtractionStatistics | None = None
    tokens_per_sample: TokensPerSample = TokensPerSample()
    seconds: float | None = None
    vote: VoteStatistics | None = None

    @property
    def answers(self) -> int:
        """The number that costs are divided by: samples, or under a vote the problems."""
        return self.samples if self.vote is None else self.problems or 1
