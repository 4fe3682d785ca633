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
    """

    title: str
    strategy: str
    options: dict[str, Any] = field(default_factory=dict)
    rate_of: str | None = None
    against: str | None = None


REPLACE, CONTINUE = {"on_reject": "replace"}, {"on_reject": "continue"}
MAY_END = {"think_close": "keep", "on_eos": "end", "finish_on": "answer"}
BY_STEPS = {"chunk_tokens": 96}

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
)


def in_order() -> list[Row]:
    """Rows whose rate is another's come after it."""
    return sorted(ROWS, key=lambda row: row.rate_of is not None)
