"""Finding stop strings in generated ids without decoding everything at every token."""

from __future__ import annotations

from collections.abc import Sequence

from atts_harness.tokenizer import REPLACEMENT, Tokenizer


class StopFinder:
    """Tells when generated ids first contain a stop string.

    A token can complete a stop string only if its text holds the string's last character, or is
    a part of a character. Only then the last tokens are decoded.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    def find(self, ids: Sequence[int], stops: Sequence[str]) -> str | None:
        """The stop string that the last of `ids` completed: the earliest in the text, or None."""
        last = ids[-1]
        text = self._texts.get(last)
        if text is None:
            text = self._texts[last] = self._tokenizer.decode([last])
        if not any(stop[-1] in text for stop in stops) and REPLACEMENT not in text:
            return None
        # A character has at most four tokens; what ended before the window was found before.
        window = 4 * max(map(len, stops)) + 8
        tail = self._tokenizer.decode(ids[-window:])
        hits = [(tail.find(stop), -len(stop), stop) for stop in stops if stop in tail]
        return min(hits)[2] if hits else None
