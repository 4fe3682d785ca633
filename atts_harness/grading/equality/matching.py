"""Members of two answers paired: in order, or in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

MOST_UNORDERED = 40
"""Members that are matched in any order; longer lists (no gold is) must keep the order."""

Item = TypeVar("Item")
Truth = bool | None
Same = Callable[[Item, Item], Truth]


def all_of(truths: Iterable[Truth]) -> Truth:
    """Whether all hold; None if that is undecided."""
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown |= truth is None
    return None if unknown else True


def in_order(answers: Sequence[Item], golds: Sequence[Item], same: Same[Item]) -> Truth:
    """Whether members are equal one by one; None if that is undecided."""
    if len(answers) != len(golds):
        return False
    return all_of(same(a, b) for a, b in zip(answers, golds, strict=True))


def in_any_order(
    answers: Sequence[Item], golds: Sequence[Item], same: Same[Item], *, as_set: bool
) -> Truth:
    """Whether members are equal in some order.

    Args:
        answers: members of the answer.
        golds: members of the gold.
        same: compares two members.
        as_set: a member may be written twice.

    Returns:
        None if undecided pairs could complete a matching.
    """
    if len(answers) > MOST_UNORDERED or len(golds) > MOST_UNORDERED:
        return in_order(answers, golds, same)
    if len(answers) != len(golds) and not as_set:
        return False
    truths: dict[tuple[int, int], Truth] = {}

    def edge(i: int, j: int, hopeful: bool) -> bool:
        if (i, j) not in truths:
            truths[i, j] = same(answers[i], golds[j])
        truth = truths[i, j]
        return hopeful if truth is None else truth

    def matched(hopeful: bool) -> bool:
        if as_set:
            covered = all(
                any(edge(i, j, hopeful) for i in range(len(answers))) for j in _places(golds)
            )
            return covered and all(
                any(edge(i, j, hopeful) for j in _places(golds)) for i in _places(answers)
            )
        partner: dict[int, int] = {}

        def place(i: int, tried: set[int]) -> bool:
            for j in range(len(golds)):
                if j not in tried and edge(i, j, hopeful):
                    tried.add(j)
                    if j not in partner or place(partner[j], tried):
                        partner[j] = i
                        return True
            return False

        return all(place(i, set()) for i in range(len(answers)))

    if matched(hopeful=False):
        return True
    return None if matched(hopeful=True) else False


def _places(items: Sequence[Item]) -> range:
    return range(len(items))
