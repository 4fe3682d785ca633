"""What is compared: strategies at one operating point each, all with the same budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RATE = 0.2


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: as the table shows it.
        strategy: its name.
        options: beside the task's.
        rate_of: title of another row. This row's coin takes over as often as that row's target
            really did, failed scores included.
        against: title of the row that the accuracy is compared with, sample by sample.
        repeats: samples a problem; None: as many as asked for.
        voted_by: title of the row that votes over the same inner strategy by self-consistency: this
            row is held against it at the same tokens.
    """

    title: str
    strategy: str
    options: dict[str, Any] = field(default_factory=dict)
    rate_of: str | None = None
    against: str | None = None
    repeats: int | None = None
    voted_by: str | None = None


REPLACE, CONTINUE = {"on_reject": "replace"}, {"on_reject": "continue"}
MAY_END = {"think_close": "keep", "on_eos": "end", "finish_on": "answer"}
BY_STEPS = {"chunk_tokens": 96}
MOST = 8
"""Samples of a problem that a vote may draw."""
TARGET_VOTES = "self-consistency, target only"
COIN_VOTES = "random takeover"
ONLINE = {"warmup": 4, "group_tokens": 16}
OFFLINE = {"mode": "offline", "group_tokens": 16}
LIVE = 8 * MOST
"""Samples of votes in progress at a time: of eight problems, and few enough for the cache."""


def votes(
    name: str,
    inner: str,
    options: dict[str, Any],
    *,
    chunks: dict[str, Any] | None = None,
    rate_of: str | None = None,
    against: str | None = None,
) -> tuple[Row, ...]:
    """Every vote over one inner strategy.

    Args:
        name: what titles say of the inner strategy.
        inner: it.
        options: its own.
        chunks: more of them, under a vote that looks at a sample between its calls.
        rate_of: by what name the same votes take over as often as these coins shall.
        against: by what name the same votes stand over what these are compared with.
    """
    kinds: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("self-consistency", "self-consistency", {}),
        ("adaptive-consistency", "adaptive-consistency", {}),
        ("ESC, windows of 4", "esc", {"window": 4}),
        ("DeepConf online, keep 90", "deepconf", ONLINE | (chunks or {})),
        ("DeepConf offline, keep 50", "deepconf", OFFLINE | {"keep": 50}),
    )
    return tuple(
        Row(
            f"{title}, {name}",
            strategy,
            {"inner": inner, "live_samples": LIVE, **options, **further},
            rate_of=rate_of and f"{title}, {rate_of}",
            against=against and f"{title}, {against}",
            repeats=MOST,
            voted_by=f"self-consistency, {name}",
        )
        for title, strategy, further in kinds
    )


ROWS = (
    Row("draft only", "draft-only"),
    Row("target only, one call", "target-only"),
    Row("target only, by steps", "target-only", BY_STEPS),
    Row("random takeover, replace", "random-takeover", REPLACE, rate_of="ATTS, replace"),
    Row("ATTS, replace", "atts", {"rate": RATE} | REPLACE, against="random takeover, replace"),
    Row("random takeover, continue", "random-takeover", CONTINUE, rate_of="ATTS, continue"),
    Row("ATTS, continue", "atts", {"rate": RATE} | CONTINUE, against="random takeover, continue"),
    Row(
        "synchronous, replace",
        "synchronous",
        {"rate": RATE} | REPLACE,
        against="random takeover, replace",
    ),
    Row("always takeover, replace", "always-takeover", REPLACE),
    Row("self, continue", "self", {"rate": RATE} | CONTINUE),
    Row("SpecReason, greedy, 7", "specreason", {"threshold": 7}),
    Row("SpecReason, average, 7", "specreason", {"threshold": 7, "judging": "average"}),
    Row("SpecReason, greedy, 7, thinking may end", "specreason", {"threshold": 7} | MAY_END),
    Row("speculative thinking", "speculative-thinking"),
    Row("speculative thinking, not_reasoning", "speculative-thinking", {"not_reasoning": True}),
    # The published beginning of 100 tokens and patience of 15 negations outlast this pair's texts.
    Row(
        "speculative thinking, begun, early recapitulation",
        "speculative-thinking",
        {"begin": True, "begin_token_num": 16, "recap_after_negative_num": 1},
    ),
    Row("GlimpRouter, .9", "glimprouter", against="random takeover as GlimpRouter, .9"),
    Row(
        "random takeover as GlimpRouter, .9",
        "random-takeover",
        REPLACE,
        rate_of="GlimpRouter, .9",
    ),
    Row(
        "GlimpRouter, .3",
        "glimprouter",
        {"threshold": 0.3},
        against="random takeover as GlimpRouter, .3",
    ),
    Row(
        "random takeover as GlimpRouter, .3",
        "random-takeover",
        REPLACE,
        rate_of="GlimpRouter, .3",
    ),
    *votes("target only", "target-only", {}, chunks={"chunk_tokens": 32}),
    *votes("draft only", "draft-only", {}),
    *votes("ATTS, replace", "atts", {"rate": RATE} | REPLACE, against=COIN_VOTES),
    *votes(COIN_VOTES, "random-takeover", REPLACE, rate_of="ATTS, replace"),
)


BESIDE = (
    "draft only",
    "target only, one call",
    "ATTS, replace",
    "random takeover, replace",
)
"""What the rivals of 2026 are shown with on their page."""


def is_rival(row: Row) -> bool:
    """Whether a row is one of 2026: a vote, GlimpRouter, or a coin that is held against it."""
    return "GlimpRouter" in f"{row.title} {row.rate_of or ''}" or row.repeats is not None


def on_page(row: Row, rivals: bool) -> bool:
    """Whether a row stands on the page of the rivals, or on that of all others."""
    return is_rival(row) == rivals or (rivals and row.title in BESIDE)


def in_order() -> list[Row]:
    """Rows whose rate is another's come right after it."""
    return [
        one
        for row in ROWS
        if row.rate_of is None
        for one in (row, *(other for other in ROWS if other.rate_of == row.title))
    ]
