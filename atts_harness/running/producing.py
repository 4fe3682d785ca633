"""One sample from its beginning to its record: the strategy's coroutine, its end, its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from atts_harness.errors import BackendError, ContextLengthError, SampleFailedError
from atts_harness.grading.extraction import LLM
from atts_harness.records import ABSENT, SampleRecord
from atts_harness.running.context import RunState, SampleContext
from atts_harness.running.extraction import Extraction
from atts_harness.running.gate import Gate
from atts_harness.strategy import Group, Outcome, Problem, Sample


@dataclass(frozen=True)
class Producer:
    """Produces samples from beginning to end.

    Attributes:
        state: shared by all contexts.
        sample_timeout: seconds a sample may take from its first call; 0: no limit.
        extraction: the model that extracts answers; None: none does.
        release: called when a sample gives its place back.
        finished: called with every finished sample, and whether it is new in this session.
    """

    state: RunState
    sample_timeout: float
    extraction: Extraction | None
    release: Callable[[], None]
    finished: Callable[[SampleRecord, bool], None]

    async def produce(
        self, sample: Sample, group: Group, gate: Gate | None, recorded: SampleRecord | None
    ) -> None:
        """Produce a sample that has its place.

        Args:
            sample: the sample.
            group: the sample's group.
            gate: where it shares values with its siblings; None: it does not.
            recorded: its record, if it is replayed for its siblings' sake.
        """
        try:
            record = await self._outcome(sample, group, gate)
            if recorded is None and not self.owes(record, group.problem):
                # Awaited before its place is given back: too many failures then stop the run
                # before another sample begins.
                await self.state.calls.journal.record_sample(record)
        finally:
            self.release()
            if gate is not None:
                gate.leave(sample.id.repeat)
        await self.finish(recorded or record, group.problem, fresh=recorded is None)

    def owes(self, record: SampleRecord, problem: Problem) -> bool:
        """Whether a model is still to extract the sample's answer."""
        requested = self.extraction is not None and problem.kind is not None
        ended = record.failed is None and record.finish not in ABSENT
        return requested and ended and LLM not in record.answers

    async def finish(self, record: SampleRecord, problem: Problem, *, fresh: bool) -> None:
        """Have the answer extracted; the sample's place and its siblings do not wait for that."""
        if self.extraction and problem.kind and self.owes(record, problem):
            await self.extraction.extract(record, problem.kind)
            await self.state.calls.journal.record_sample(record)
        self.finished(record, fresh)

    async def _outcome(self, sample: Sample, group: Group, gate: Gate | None) -> SampleRecord:
        loop = asyncio.get_running_loop()
        limit = asyncio.timeout(None)
        seconds = self.sample_timeout

        def begun() -> None:
            if seconds and limit.when() is None:
                limit.reschedule(loop.time() + seconds)

        ctx = SampleContext(sample, self.state, group.strategy.name, gate, begun)
        try:
            async with limit:
                return ctx.close(await group.strategy.run(sample, ctx))
        except ContextLengthError:
            return ctx.close(Outcome(ctx.latest, "context"))
        except TimeoutError:
            if not limit.expired():
                raise
            return ctx.fail(SampleFailedError(f"sample_timeout: not finished in {seconds:g} s"))
        except (BackendError, SampleFailedError) as error:
            return ctx.fail(error)
