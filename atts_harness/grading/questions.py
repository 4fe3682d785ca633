"""What a question says about the form of its answer."""

from __future__ import annotations

import re

PERCENT = "%"

_ASKS = re.compile(
    r"\b(?:what|which|how\s+many|what's|find|determine|calculate|compute|state)\s+"
    r"(?:(?:is|are|was|were)\s+)?(?:the\s+)?(?:[a-z]+\s+)?percent(?:age)?\b"
    r"|\bas\s+an?\s+percent(?:age)?\b",
    re.I,
)


def unit_asked(question: str, gold: str) -> str | None:
    """The unit that a question asks for where its gold has none: per cent, or None.

    Args:
        question: its text; the last sentences ask.
        gold: its right answer; one that is a percentage itself needs no unit.
    """
    if "%" in gold or not re.fullmatch(r"[\s$]*-?[\d.,/\\{}a-z]+[\s$]*", gold):
        return None
    return PERCENT if _ASKS.search(question[-600:]) else None
