"""Prices of tokens."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from atts_harness.errors import SettingError
from atts_harness.records import CallRole, CallTotals
from atts_harness.settings import RunOptions

MILLION = 1e6
NUMBER = re.compile(r"[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", re.ASCII)


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens: read, read from the prefix cache, written."""

    read: float
    cached: float
    written: float

    def of(self, totals: CallTotals) -> float:
        """Dollars for some calls. Failed replies count as 0, because their tokens are not known."""
        fresh = totals.prompt_tokens - totals.cached_tokens
        dollars = (
            fresh * self.read
            + totals.cached_tokens * self.cached
            + totals.completion_tokens * self.written
        )
        return dollars / MILLION


def parse_price(name: str, text: str) -> Price:
    """A price from IN/OUT or IN/CACHED/OUT.

    Raises:
        SettingError: it has neither form.
    """
    numbers = text.split("/")
    parts = [float(part) for part in numbers if NUMBER.fullmatch(part)]
    if len(parts) != len(numbers) or len(parts) not in (2, 3) or not all(map(math.isfinite, parts)):
        raise SettingError(
            f"{name}: expected dollars per million tokens as IN/OUT or IN/CACHED/OUT, such as "
            f"0.1/0.4 (got {text!r})"
        )
    return Price(parts[0], parts[1] if len(parts) == 3 else parts[0], parts[-1])


def prices_of(options: RunOptions) -> dict[CallRole, Price]:
    """The prices that were given, by role.

    Raises:
        SettingError: one is malformed.
    """
    texts: dict[CallRole, str | None] = {
        "draft": options.draft_price,
        "target": options.target_price,
        "extractor": options.extractor_price,
    }
    return {role: parse_price(f"{role}_price", text) for role, text in texts.items() if text}
