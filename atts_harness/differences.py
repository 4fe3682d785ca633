"""What differs between two things, in words. Runs, models, banks and rows all say it from here."""

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
    """One value in which two things differ.

    Attributes:
        name: where it stands, dotted.
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
        return said(self.name, shown(self.before), shown(self.after), form)


def unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    """The values in which two mappings differ, by name; mappings in them are gone into."""
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            for inner in unequal(old, new):
                yield Difference(f"{name}.{inner.name}", inner.before, inner.after)
        elif old != new:
            yield Difference(name, old, new)


def said(name: str, before: str, after: str, form: str = WAS_NOW) -> str:
    """A difference whose values are words already."""
    return form.format(name=name, before=before, after=after)


def shown(value: Any) -> str:
    """A value as a message has it; a long one is cut."""
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def brief(found: Sequence[str], most: int = MOST_NAMED) -> str:
    """Differences as one line; those after the first few are counted."""
    more = f", and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
