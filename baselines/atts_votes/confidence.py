"""Confidence of a trace, from the candidates of its tokens (DeepConf, arXiv 2508.15260).

A token's confidence is minus the mean log-probability of the candidates that came with it, and a
group's is the mean over a window of tokens. As published, both are rounded to thousandths; here
they are integers that count thousandths, so that a sum over any window is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

from atts_harness.errors import SampleFailedError
from atts_harness.signals import confidences_of
from atts_harness.strategy import Context, Generation, RoleClient
from atts_harness.transcript import Segment, Transcript

CANDIDATES = 20
"""Number of likeliest candidates from which a token's confidence is computed."""
BOTTOM = 0.1
"""Share of the groups, lowest first, whose mean is the score `bottom`."""


def token_confidences(reply: Generation) -> list[int]:
    """The confidence of each generated token, in thousandths of a nat.

    Raises:
        SampleFailedError: a token came without candidates.
    """
    if reply.confidences is not None:
        return list(reply.confidences)
    if reply.candidates is None:
        raise SampleFailedError("the server sent no candidates of the tokens that it generated")
    computed = confidences_of(reply.candidates)
    if computed is None:
        raise SampleFailedError("the server sent no candidate for a token that it generated")
    return list(computed)


def groups(confidences: Sequence[int], size: int) -> list[int]:
    """Means of all windows of `size` tokens; of a shorter trace its mean, or 0 if it is empty."""
    if len(confidences) < size:
        return [round(sum(confidences) / len(confidences))] if confidences else [0]
    sums = [0, *accumulate(confidences)]
    return [round((end - start) / size) for start, end in zip(sums, sums[size:], strict=False)]


def score(confidences: Sequence[int], size: int, by: str = "lowest") -> float:
    """The confidence of a trace, in nats.

    Args:
        confidences: of its tokens, in thousandths.
        size: tokens of a group.
        by: `lowest` group, mean of the `bottom` tenth of the groups, mean of the last `size` tokens
            (`tail`), or `mean` over all tokens.
    """
    if by in ("lowest", "bottom"):
        ordered = sorted(groups(confidences, size))
        count = 1 if by == "lowest" else max(1, int(len(ordered) * BOTTOM))
        return sum(ordered[:count]) / count / 1000
    window = confidences[-size:] if by == "tail" else confidences
    return sum(window) / len(window) / 1000 if window else 0.0


class Stopped(Exception):
    """A full group of the trace fell below the bar.

    Attributes:
        transcript: the trace up to there.
    """

    def __init__(self, transcript: Transcript) -> None:
        super().__init__("below the bar")
        self.transcript = transcript


class ConfidenceWatch:
    """Sees the candidates of every token that an inner strategy has generated.

    Only kept tokens count: segments of the transcript, by either role, without judging turns.

    Args:
        ctx: the sample's context.
        size: tokens of a group.
        bar: a full group below it ends the trace at the next call; None: nothing does.
    """

    def __init__(self, ctx: Context, size: int, bar: float | None = None) -> None:
        self._ctx = ctx
        self._size = size
        self._bar = bar
        self._known: dict[int, tuple[Segment, list[int]]] = {}
        self._latest: dict[tuple[str, str, int], list[int]] = {}
        self.draft = cast(RoleClient, _Watched(ctx.draft, self))
        self.target = cast(RoleClient, _Watched(ctx.target, self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def of(self, transcript: Transcript) -> list[int]:
        """Confidences of the tokens that are kept."""
        confidences: list[int] = []
        for segment in transcript.segments:
            _, of_segment = self._known.get(id(segment), (segment, None))
            if of_segment is None:  # one that the strategy cut is known by author, kind and turn
                of_segment = self._latest.get((segment.author, segment.kind, segment.turn), [])
            confidences += of_segment
        return confidences

    def check(self, transcript: Transcript) -> None:
        """Stop the trace if a full group is below the bar.

        Raises:
            Stopped: there is one.
        """
        if self._bar is None:
            return
        confidences = self.of(transcript)
        if len(confidences) >= self._size and score(confidences, self._size) < self._bar:
            raise Stopped(transcript)

    def saw(self, reply: Generation) -> None:
        """Remember what a call generated."""
        segment, confidences = reply.segment, token_confidences(reply)
        self._known[id(segment)] = (segment, confidences)
        self._latest[segment.author, segment.kind, segment.turn] = confidences


class _Watched:
    """A role that asks for the candidates of every token."""

    def __init__(self, role: RoleClient, watch: ConfidenceWatch) -> None:
        self._role = role
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._role, name)

    async def generate(self, transcript: Transcript, **options: Any) -> Generation:
        if options.get("tail"):
            return await self._role.generate(transcript, **options)
        self._watch.check(transcript)
        # A strategy that looks at the candidates itself needs all of them.
        requested = options.pop("top_logprobs", 0)
        reply = await self._role.generate(
            transcript,
            top_logprobs=max(CANDIDATES, requested),
            confidences=not requested,
            **options,
        )
        self._watch.saw(reply)
        return reply
