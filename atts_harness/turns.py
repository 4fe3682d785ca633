"""Options of strategies that work in turns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from atts_harness.strategy import StrategyOptions


class TurnLimits(StrategyOptions, frozen=True, kw_only=True):
    """Options of how turns are cut, for every strategy that works in turns.

    Tasks set them, so that all strategies cut their turns alike: the embedded ones make a turn
    of each step (`turn_stop`).
    """

    turns: Annotated[int, msgspec.Meta(ge=1, description="most turns of a sample")] = 15
    draft_tokens: Annotated[int, msgspec.Meta(ge=1, description="most tokens of a draft")] = 500
    target_tokens: Annotated[int, msgspec.Meta(ge=1, description="most tokens of a takeover")] = 500
    turn_stop: Annotated[
        str, msgspec.Meta(description="text that ends a turn (kept); empty: none, as published")
    ] = ""

    @property
    def stops(self) -> tuple[str, ...]:
        """Stop strings of a turn."""
        return (self.turn_stop,) if self.turn_stop else ()


class TurnOptions(TurnLimits, frozen=True, kw_only=True):
    """Options of ATTS's turn loop (`atts.take_turns`): its turns and what a takeover does."""

    on_reject: Annotated[
        Literal["continue", "replace"],
        msgspec.Meta(description="the target writes behind the rejected draft, or in its place"),
    ] = "continue"
    on_empty: Annotated[
        Literal["takeover", "end"],
        msgspec.Meta(description="a draft that closes its turn at once: ask the target, or end"),
    ] = "takeover"
    score_template: Annotated[
        Literal["chat", "raw"],
        msgspec.Meta(description="score behind the chat prompt, or the raw text (published ct0)"),
    ] = "chat"
    paper_join: Annotated[
        bool, msgspec.Meta(description="put a blank line between chunks, as published")
    ] = False

    def provenance(self) -> dict[str, Any]:
        """The options that shape a draft, and the text that a takeover leaves for later turns."""
        return {
            "draft_tokens": self.draft_tokens,
            "target_tokens": self.target_tokens,
            "on_reject": self.on_reject,
            "score_template": self.score_template,
            "stop": self.stops,
        }
