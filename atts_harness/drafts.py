"""Drafts of a sample. On request the next draft is written before the last one is judged.

While the target scores a turn, the draft is idle. So it can write the next turn ahead, after
the text as it will be if the turn is kept. If it is kept, this is the next draft: it was drawn
with the same seed and after the same context as otherwise, so texts and decisions are those
without writing ahead. If the target takes over, the call is cancelled and its text thrown away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from atts_harness.strategy import Context, Generation
from atts_harness.tokenizer import LONGEST_TAIL
from atts_harness.transcript import Transcript, inserted
from atts_harness.turns import TurnOptions

KIND = "ahead"
"""Name, in a sample's record, of the counts of drafts ahead: kept, thrown away, cancelled."""


@dataclass
class Drafts:
    """Writes the drafts of one sample. Use as an async context manager: none is left running.

    Args:
        ctx: the sample's.
        options: how turns are cut.
        ahead: whether to write ahead at all.
        top_logprobs: how many alternatives to each token to ask for.
    """

    ctx: Context
    options: TurnOptions
    ahead: bool = False
    top_logprobs: int = 0
    _next: asyncio.Task[Generation] | None = None

    def __post_init__(self) -> None:
        """Nothing is written yet."""
        self._counts = {"kept": 0, "thrown away": 0, "cancelled": 0}
        if self.ahead:
            self.ctx.note(KIND, self._counts)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.throw_away()

    async def write(self, transcript: Transcript, turn: int, extra: int = 0) -> Generation:
        """The draft's chunk of a turn, possibly empty; it may have been written ahead.

        Args:
            transcript: the text that it continues.
            turn: its number.
            extra: tokens that it may take beyond `draft_tokens`.
        """
        if self._next is None:
            return await self._draft(transcript, turn, extra=extra)
        reply = await self._next
        self._next = None
        self._counts["kept"] += 1
        return reply

    def begin_next(self, transcript: Transcript, turn: int) -> None:
        """Begin the draft of the next turn, for the case that this turn is kept.

        Args:
            transcript: with the draft that is not decided on yet.
            turn: the next one.
        """
        if not self.ahead or turn >= self.options.turns or self.ctx.ended(transcript):
            return
        if self.options.paper_join:
            transcript += inserted("\n\n", turn=turn)
        if self.ctx.room(transcript):
            self._next = asyncio.create_task(self._draft(transcript, turn, ahead=True))

    async def throw_away(self) -> None:
        """Drop the draft that was begun ahead; one that is still being written is cancelled."""
        task, self._next = self._next, None
        if task is None:
            return
        self._counts["thrown away" if task.done() else "cancelled"] += 1
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whatever it came to, its turn was taken over

    async def _draft(
        self, transcript: Transcript, turn: int, *, ahead: bool = False, extra: int = 0
    ) -> Generation:
        return await write_draft(
            *(transcript, self.ctx, self.options, turn),
            ahead=ahead,
            extra=extra,
            top_logprobs=self.top_logprobs,
        )


def further_tokens(options: TurnOptions, tokens_before: int, transcript: Transcript) -> int:
    """How many tokens beyond its limits the next turn may take, so that a character fits.

    A character of several tokens is held back until it is whole. Where a turn may take fewer
    tokens than that, it would be held back for ever.

    Args:
        options: how turns are cut.
        tokens_before: tokens of the transcript before the last turn.
        transcript: after it.
    """
    least = min(options.draft_tokens, options.target_tokens)
    return LONGEST_TAIL if transcript.tokens == tokens_before and least <= LONGEST_TAIL else 0


async def write_draft(
    transcript: Transcript,
    ctx: Context,
    options: TurnOptions,
    turn: int,
    *,
    ahead: bool = False,
    extra: int = 0,
    top_logprobs: int = 0,
) -> Generation:
    """The draft's chunk of a turn; possibly empty."""
    return await ctx.draft.generate(
        transcript,
        kind="draft",
        turn=turn,
        max_tokens=ctx.room(transcript, options.draft_tokens + extra),
        stop=options.stops,
        top_logprobs=top_logprobs,
        ahead=ahead,
    )
