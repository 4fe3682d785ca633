"""Differences in words: the one wording for runs, models, banks and rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST = 80
MOST_NAMED = 5

WAS_NOW = "{name} was {before}, now {after}"
BANK_RUN = "{name} is {before} in the bank, {after} in the run"
HERE_THERE = "{name} {before}, there {after}"


@dataclass(frozen=True)
class Difference:
    """One field in which two things differ.

    Attributes:
        name: its dotted place.
        before: the value in the first.
        after: the value in the second.
    """

    name: str
    before: Any
    after: Any

    def words(self, form: str = WAS_NOW) -> str:
        """The difference as a sentence.

        Args:
            form: one of this module's, or another text with `name`, `before` and `after`.
        """
        return words_of_difference(
            self.name, value_in_words(self.before), value_in_words(self.after), form
        )


def unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The values in which two mappings differ, by name; nested mappings are compared by key."""
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for inner in unequal(old, new):
                yield Difference(f"{name}.{inner.name}", inner.before, inner.after)
        elif old != new:
            yield Difference(name, old, new)


def words_of_difference(name: str, before: str, after: str, form: str = WAS_NOW) -> str:
    """A difference as a sentence, from values that are text already."""
    return form.format(name=name, before=before, after=after)


def value_in_words(value: Any) -> str:
    """A value as text for a message; a long one is cut."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def brief(differences: Sequence[str], most: int = MOST_NAMED) -> str:
    """Differences as one line: the first few, and the number of the others."""
    others = f", and {len(differences) - most} more" if len(differences) > most else ""
    return "; ".join(differences[:most]) + others
