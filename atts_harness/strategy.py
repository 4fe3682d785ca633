"""The strategy contract: how samples are produced from a draft and a target.

A strategy is an async function of a sample and a `Context`. All it does to the world goes
through the context, so limits, retries, journal, ledger and replay need no code in a strategy:

    class TargetOnly(Strategy):
        name = "target-only"
        Options = StrategyOptions

        def __init__(self, options, run): ...

        async def run(self, sample, ctx):
            transcript = sample.transcript
            room = ctx.room(transcript)
            reply = await ctx.target.generate(transcript, kind="takeover", turn=0, max_tokens=room)
            return ctx.finish(transcript + reply.segment)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, Self, TypeVar

import msgspec

from atts_harness.backend import Role, Sampling
from atts_harness.records import DecisionRecord, Finish, Reason, SampleId
from atts_harness.takeover import Score, Settled, TakeoverPolicy, Verdict
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Message, Prompt, Segment, Transcript

if TYPE_CHECKING:
    from atts_harness.grading.extraction import Kind

__all__ = [
    "Context",
    "Generation",
    "Group",
    "MakeStrategy",
    "Outcome",
    "Problem",
    "RoleClient",
    "RunInfo",
    "Sample",
    "Score",
    "Settled",
    "Strategy",
    "StrategyOptions",
    "TakeoverPolicy",
    "Verdict",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One document's question.

    Attributes:
        task: task name.
        doc: document id within the task.
        prompt: chat messages, unrendered; shared by the problem's repeats.
        until: strings that end a sample once they stand in the generated text (they are cut).
        answered: tells whether generated text holds a final answer; None: never.
        max_tokens: budget of kept tokens for each sample.
        prompt_hash: digest of the messages; what makes two runs' problems the same.
        sampling: settings by role.
        kind: kind of the answer, for extraction by a model when a sample ends; None: there is none
            to extract.
    """

    task: str
    doc: int
    prompt: Prompt
    until: tuple[str, ...] = ()
    answered: Callable[[str], bool] | None = None
    max_tokens: int = 8192
    prompt_hash: str = ""
    sampling: Mapping[Role, Sampling] = field(default_factory=dict)
    kind: Kind | None = None


@dataclass(frozen=True)
class Sample:
    """One repeat of one problem."""

    id: SampleId
    problem: Problem

    @property
    def transcript(self) -> Transcript:
        """The transcript at its beginning: the prompt."""
        return Transcript(self.problem.prompt)


@dataclass(frozen=True)
class Group:
    """The samples of one problem, in order of repeats, and the strategy that produces them.

    One run may hold several instances of a strategy: tasks can set options of their own.
    """

    problem: Problem
    samples: tuple[Sample, ...]
    strategy: Strategy


@dataclass(frozen=True)
class Generation:
    """A generated segment with its ids and probabilities.

    Attributes:
        segment: possibly empty.
        logprobs: of the generated ids.
        top_logprobs: for each generated id, token text to log-probability, best first.
        ids: as generated, before anything was cut off.
        candidates: for each generated id the log-probabilities in `top_logprobs`. Several ids may
            have one text (pieces of a character), so sums over candidates are sums of these.
        confidences: of the generated ids, in thousandths of a nat; where they were asked for.
    """

    segment: Segment
    logprobs: tuple[float, ...] | None = None
    top_logprobs: Sequence[Mapping[str, float]] | None = None
    ids: tuple[int, ...] = ()
    candidates: tuple[tuple[float, ...], ...] | None = None
    confidences: tuple[int, ...] | None = None


class RoleClient(Protocol):
    """A role as a strategy sees it."""

    @property
    def role(self) -> Role:
        """The role's name."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The role's tokenizer."""
        ...

    async def generate(
        self,
        transcript: Transcript,
        *,
        kind: str,
        turn: int,
        max_tokens: int,
        stop: Sequence[str] = (),
        keep_stop: bool = True,
        attempt: int = 0,
        temperature: float | None = None,
        top_logprobs: int = 0,
        confidences: bool = False,
        tail: Sequence[Message] = (),
        prefill: str = "",
        ahead: bool = False,
    ) -> Generation:
        """Continue the transcript.

        Args:
            transcript: the text so far. Without a `tail` it is final: only more is appended, and
                observers of the sample get it.
            kind: the kind of call: `draft`, `takeover`, `probe`, `judge`, ...
            turn: the strategy's turn or step.
            max_tokens: upper bound; clamped to the context window.
            stop: strings that end the generation.
            keep_stop: whether the stop string belongs to the segment.
            attempt: tells apart calls of one kind in one turn.
            temperature: overrides the role's (a judge is greedy).
            top_logprobs: alternatives to return.
            confidences: keep each token's confidence in place of its alternatives, a number for
                some 20; where a token came without any the reply stays as it is.
            tail: a judging turn: messages put behind the running assistant turn.
            prefill: start of the assistant's answer to `tail`.
            ahead: the call is made before it is known whether the transcript is final. It is
                recorded as `ahead` and draws as the call of `kind` would; observers do not get
                the transcript.

        Raises:
            BackendError: the call failed for good, retries included.
            ContextLengthError: no room for a single token.
        """
        ...

    async def score(
        self,
        transcript: Transcript,
        segment: Segment,
        *,
        turn: int,
        attempt: int = 0,
        raw: bool = False,
    ) -> Score:
        """Score `segment` as the continuation of `transcript`, first token included.

        A score that fails for good comes back as `Score(None, failed=...)`; it is never a number.

        Args:
            transcript: the text before the segment.
            segment: not empty.
            turn: the strategy's turn.
            attempt: tells apart scores in one turn.
            raw: score behind the untemplated prompt (the published `ct0`).
        """
        ...


class Context(Protocol):
    """What a strategy may do, for one sample."""

    sample: Sample

    @property
    def draft(self) -> RoleClient:
        """The draft."""
        ...

    @property
    def target(self) -> RoleClient:
        """The target."""
        ...

    def room(self, transcript: Transcript, want: int | None = None) -> int:
        """Tokens left in the budget, at most `want`; 0 when it is spent."""
        ...

    def seed(self, purpose: str, turn: int, attempt: int = 0) -> int:
        """A seed for this sample; it does not depend on the strategy's name."""
        ...

    def uniform(self, purpose: str, turn: int, attempt: int = 0) -> float:
        """A seeded draw in [0, 1) for this sample."""
        ...

    def decide(self, policy: TakeoverPolicy, score: Score | None, turn: int) -> DecisionRecord:
        """Ask the policy and record the decision; on replay the recorded one comes back.

        A failed score is a takeover that is counted apart (`reason="score-failed"`) and never
        reaches the policy. `score` is None for a policy that needs none.
        """
        ...

    def take_over(self, turn: int, reason: Reason) -> DecisionRecord:
        """Record a takeover that no policy was asked about (an empty draft)."""
        ...

    async def gather(self, key: str, value: T) -> Mapping[int, T]:
        """Wait for the problem's live samples and share values, by repeat.

        Only for strategies with `grouped = True`; a sample that has ended no longer counts.
        """
        ...

    def discard(self, segment: Segment) -> None:
        """Record text that was generated and is not kept."""
        ...

    def note(self, name: str, value: Any) -> None:
        """Add a fact to the sample's record."""
        ...

    def vote(self, weight: float) -> None:
        """Set the weight of the sample's answer in its problem's vote; the last call counts."""
        ...

    def ended(self, transcript: Transcript) -> Finish | None:
        """Why the sample is over: an answer, an `until` string, a closed turn or the budget."""
        ...

    def finish(self, transcript: Transcript, reason: Finish | None = None) -> Outcome:
        """The sample's outcome; `reason` defaults to that of `ended`."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a sample ended."""

    transcript: Transcript
    finish: Finish


class StrategyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a strategy's options. Fields are `Annotated` with bounds and a description.

    Class attributes:
        alternatives: groups of options of which at most one may be given.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = ()

    stop_at_answer: Annotated[
        bool, msgspec.Meta(description="end a sample once its text holds a boxed answer")
    ] = True

    def provenance(self) -> dict[str, Any]:
        """The options that scores depend on, by their names in a bank's provenance."""
        return {}

    def checked(self) -> Self:
        """These options, checked; called for a plan, and when a strategy is made for a task.

        Raises:
            SettingError: some exclude each other; names the remedy.
        """
        return self


@dataclass(frozen=True)
class RunInfo:
    """Facts about a run, for a strategy when it is made.

    Attributes:
        seed: the run's.
        provenance: what a bank must agree with: models, template, sampling, limits.
        tokenizers: by role.
        extractor: its answers are graded.
        one_at_a_time: whether all roles share one engine that takes one call at a time.
    """

    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    tokenizers: Mapping[str, Tokenizer] = field(default_factory=dict)
    extractor: str = "boxed"
    one_at_a_time: bool = False


class Strategy(Protocol):
    """A way to produce samples; derive from it.

    One instance is made for each set of options; its `run` is called once for each sample.

    Class attributes:
        name: its lm-eval model name.
        Options: its options.
        roles: the roles that it uses.
        scores: whether the target must be able to score.
        votes: whether a problem's samples vote for one answer, which is then what is graded.
        top_logprobs: alternatives to each generated token that it needs from every role.

    Attributes:
        options: as used, which the run's record holds.
        grouped: whether it gathers siblings; its groups are then admitted whole.
        policy: decides takeovers; on resume it gets the recorded ones. None if there is none.
    """

    name: ClassVar[str]
    Options: ClassVar[type[StrategyOptions]]
    roles: ClassVar[tuple[Role, ...]] = ("draft", "target")
    scores: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    top_logprobs: ClassVar[int] = 0
    options: StrategyOptions = StrategyOptions()
    grouped: bool = False
    policy: TakeoverPolicy | None = None

    def __init__(self, options: Any, run: RunInfo) -> None: ...

    @classmethod
    def made_for(cls, settings: Mapping[str, Any]) -> type[Strategy]:
        """The class for flat settings; a strategy around another one makes one for that one.

        Raises:
            SettingError: there is none.
        """
        return cls

    def check(self, problem: Problem, samples: int) -> None:
        """Refuse a problem, or so few samples, before anything is generated (SettingError)."""
        return None

    @property
    def nominal_rate(self) -> float | None:
        """The takeover rate that it aims at, in [0, 1]; None if it aims at none."""
        return None

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        ...


MakeStrategy = Callable[[Mapping[str, Any], Mapping[str, Any]], Strategy]
"""From generation settings and provenance (what a bank must agree with) to a strategy."""
