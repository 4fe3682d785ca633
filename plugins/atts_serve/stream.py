"""An answer as it is written: server-sent events, a turn at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from atts_harness import neutral
from atts_harness.errors import AttsError
from atts_harness.records import SampleId, SampleRecord
from atts_harness.transcript import Transcript
from atts_serve.events import event_fields
from atts_serve.refusal import Refusal, failed, internal, refusal_of
from atts_serve.reply import FINISH, Heading, RecordReader, encode, facts
from atts_serve.rooms import Event
from atts_serve.thinking import settled
from atts_serve.works import SampleWork

logger = neutral.logger("atts_serve")

KEEP_ALIVE_SECONDS = 15.0
KIND = "chat.completion.chunk"


@dataclass
class StreamedChoice:
    """The part of one sample that has been sent already."""

    index: int
    thoughts: str = ""
    answer: str = ""

    def delta(self, reader: RecordReader, text: str) -> dict[str, str]:
        """The text that a longer beginning of the answer adds.

        Raises:
            Refusal: it does not begin with the text sent before: the strategy took back a turn.
        """
        parts = reader.parts(text)
        thoughts = parts.thoughts or ""
        if not (thoughts.startswith(self.thoughts) and parts.answer.startswith(self.answer)):
            logger.error("a strategy changed text that it had already continued")
            raise internal()
        changes = {
            "reasoning_content": thoughts[len(self.thoughts) :],
            "content": parts.answer[len(self.answer) :],
        }
        self.thoughts, self.answer = thoughts, parts.answer
        return {name: words for name, words in changes.items() if words}


@dataclass
class Stream:
    """The events of one request's samples.

    Attributes:
        heading: fields of every part.
        reader: reads the records of the samples.
        include_usage: whether the token counts come last.
        events: whether calls and decisions are sent, too.
        records: records of the finished samples.
    """

    heading: Heading
    reader: RecordReader
    include_usage: bool
    events: bool
    records: list[SampleRecord] = field(default_factory=list)
    _queue: asyncio.Queue[tuple[int, Any]] = field(default_factory=asyncio.Queue)

    def listener(self, index: int) -> Any:
        """A function that gets the events of the sample of a choice."""

        def listen(sample: SampleId, event: Event) -> None:
            self._queue.put_nowait((index, event))

        return listen

    async def parts(self, works: Sequence[SampleWork]) -> AsyncIterator[bytes]:
        """Every event, as it is sent; an error ends it, as OpenAI's do.

        Args:
            works: the samples, already begun.
        """
        choices = [StreamedChoice(index) for index in range(sum(len(work.ids) for work in works))]
        waiting = [
            asyncio.create_task(self._wait(work, first))
            for first, work in zip(_firsts(works), works, strict=True)
        ]
        try:
            begun = {"role": "assistant", "content": ""}
            yield b"".join(self._part(choice, begun) for choice in choices)
            while True:
                try:
                    async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                        come = [await self._queue.get()]
                except TimeoutError:
                    yield b": still at it\n\n"
                    continue
                while not self._queue.empty():  # a write costs more than what is written
                    come.append(self._queue.get_nowait())
                parts = [part for index, event in come for part in self._of(choices[index], event)]
                if len(self.records) == len(choices):
                    break
                if parts:
                    yield b"".join(parts)
            if self.include_usage:
                usage = self.reader.usage(self.records)
                parts.append(_event(self.heading.object(KIND, [], usage=usage)))
            yield b"".join([*parts, b"data: [DONE]\n\n"])
        except Refusal as refusal:
            yield _event(refusal.body())
        except AttsError as error:
            logger.error("a stream failed: %s", error)
            yield _event(refusal_of(error).body())
        except Exception:
            logger.exception("a stream failed")
            yield _event(internal().body())
        finally:
            for task in waiting:
                task.cancel()

    async def _wait(self, work: SampleWork, first: int) -> None:
        """Queue the records of a work after the events of its samples."""
        try:
            for at, record in enumerate(await asyncio.shield(work.task)):
                self._queue.put_nowait((first + at, record))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._queue.put_nowait((first, error))

    def _of(self, choice: StreamedChoice, event: Any) -> list[bytes]:
        """The parts that an event makes; an error is raised."""
        if isinstance(event, BaseException):
            raise event
        if isinstance(event, Transcript):
            problem = self.reader.problem
            text = settled(event.text, problem.until, opened=self.reader.thinks)
            delta = choice.delta(self.reader, text)
            return [self._part(choice, delta)] if delta else []
        if isinstance(event, SampleRecord):
            self.records.append(event)
            return self._ended(choice, event)
        if self.events:
            return [self._part(choice, {}, atts={"event": event_fields(event, self.reader.models)})]
        return []

    def _ended(self, choice: StreamedChoice, record: SampleRecord) -> list[bytes]:
        if record.failed is not None:
            raise failed()
        delta = choice.delta(self.reader, record.text)
        parts = [self._part(choice, delta)] if delta else []
        reason = FINISH.get(record.finish, "stop")
        thinks = self.reader.parts(record.text).thoughts is not None
        last = self._part(choice, {}, reason, atts=facts(record, whole=thinks))
        return [*parts, last]

    def _part(
        self,
        choice: StreamedChoice,
        delta: dict[str, Any],
        reason: str | None = None,
        **fields: Any,
    ) -> bytes:
        head = {"index": choice.index, "delta": delta, "finish_reason": reason, "logprobs": None}
        usage = {"usage": None} if self.include_usage else {}
        return _event(self.heading.object(KIND, [{**head, **fields}], **usage))


def _firsts(works: Sequence[SampleWork]) -> list[int]:
    """For each work the index of its first choice."""
    firsts, at = [], 0
    for work in works:
        firsts.append(at)
        at += len(work.ids)
    return firsts


def _event(body: Any) -> bytes:
    return b"data: " + encode(body) + b"\n\n"
