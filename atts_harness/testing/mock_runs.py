"""Runs on mock engines: problems by number, and a strategy whose samples have uneven lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from atts_harness.backend import Role
from atts_harness.journal.contract import Journal, MemoryJournal
from atts_harness.records import SampleId, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.control import Control
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.simulation.clock import run_simulated
from atts_harness.strategy import (
    Context,
    Group,
    Outcome,
    Problem,
    RunInfo,
    Sample,
    Strategy,
    StrategyOptions,
)
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.transcript import Message, Prompt


class MockOptions(StrategyOptions, frozen=True, kw_only=True):
    """Options of `MockTurns`."""

    turns: Annotated[int, msgspec.Meta(ge=1, description="most turns of a sample")] = 15
    draft_tokens: Annotated[int, msgspec.Meta(ge=1, description="most tokens of a draft")] = 64
    target_tokens: Annotated[int, msgspec.Meta(ge=1, description="most tokens of a takeover")] = 64
    ending: Annotated[
        float, msgspec.Meta(ge=0, le=1, description="probability that a turn is the last")
    ] = 0.2
    rate: Annotated[float, msgspec.Meta(ge=0, le=1, description="share of takeovers")] = 0.4
    share: Annotated[bool, msgspec.Meta(description="gather siblings before each decision")] = False


class MockTurns(Strategy):
    """Draft, score, sometimes a takeover, until a seeded coin ends the sample.

    The shape of ATTS without its statistics: what is drawn depends on the sample alone, so two
    schedules of the same run do the same work.
    """

    name: ClassVar[str] = "mock-turns"
    Options: ClassVar[type[StrategyOptions]] = MockOptions
    roles: ClassVar[tuple[Role, ...]] = ("draft", "target")
    scores: ClassVar[bool] = True
    options: MockOptions

    def __init__(self, options: MockOptions | None = None, run: RunInfo | None = None) -> None:
        self.options = options or MockOptions()
        self.grouped = self.options.share

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Produce one sample."""
        transcript, options = sample.transcript, self.options
        for turn in range(options.turns):
            room = ctx.room(transcript, options.draft_tokens)
            if not room:
                return ctx.finish(transcript, "budget")
            draft = await ctx.draft.generate(transcript, kind="draft", turn=turn, max_tokens=room)
            if draft.segment:
                score = await ctx.target.score(transcript, draft.segment, turn=turn)
                if options.share:
                    await ctx.gather(f"turn {turn}", score.nonconformity)
                transcript += draft.segment
                room = ctx.room(transcript, options.target_tokens)
                if room and ctx.uniform("takeover", turn) < options.rate:
                    ctx.take_over(turn, "policy")
                    written = await ctx.target.generate(
                        transcript, kind="takeover", turn=turn, max_tokens=room
                    )
                    transcript += written.segment
            if ctx.uniform("ending", turn) < options.ending:
                return ctx.finish(transcript, "eos")
        return ctx.finish(transcript, "turns")


def make_groups(
    problems: int,
    repeats: int,
    strategy: Any = None,
    *,
    task: str = "mock",
    max_tokens: int = 1 << 16,
    prompt: str = "Question {doc}: what is {doc} + {doc}?",
) -> list[Group]:
    """Numbered problems with their samples.

    Args:
        problems: number of problems.
        repeats: samples a problem.
        strategy: an instance; by default `MockTurns`.
        task: the task's name.
        max_tokens: budget a sample.
        prompt: of a problem, with `{doc}` for its number.
    """
    producer: Strategy = strategy or MockTurns()
    groups = []
    for doc in range(problems):
        problem = Problem(
            task=task,
            doc=doc,
            prompt=Prompt((Message("user", prompt.format(doc=doc)),)),
            max_tokens=max_tokens,
            prompt_hash=f"{task}-{doc}",
        )
        samples = tuple(Sample(SampleId(task, doc, repeat), problem) for repeat in range(repeats))
        groups.append(Group(problem, samples, producer))
    return groups


def sample_ids(groups: Sequence[Group]) -> list[SampleId]:
    """All samples' names, in order."""
    return [sample.id for group in groups for sample in group.samples]


def simulate(
    groups: Sequence[Group],
    draft: MockEngine,
    target: MockEngine | None = None,
    *,
    observers: Observers | None = None,
    control: Control | None = None,
    journal: Journal | None = None,
    **options: Any,
) -> tuple[list[SampleRecord], float]:
    """Run groups on mock engines in simulated time.

    Args:
        groups: problems with their samples and strategy.
        draft: its engine.
        target: its engine; by default the draft's, shared.
        observers: called with every record.
        control: how the run is watched and stopped.
        journal: by default one in memory.
        options: of the run (`RunOptions`).

    Returns:
        The records, and the makespan in simulated seconds.
    """
    of_draft = MockBackend(draft, "draft")
    of_target = of_draft if target is None else MockBackend(target, "target")
    work = run_groups(
        groups,
        {"draft": of_draft, "target": of_target},
        RunOptions(metrics_interval=0, **options),
        journal or MemoryJournal(keep=False),
        observers,
        control,
    )
    return run_simulated(work)
