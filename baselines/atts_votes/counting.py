"""Votes for answers: equivalent answers are one candidate, by the grader's own rules.

While samples are drawn, only what is decided in bounded time counts (`grading.equivalence.fast`):
answers that computer algebra alone could bring together are two candidates here. The figure `vote`
of the row is counted when all is graded, by everything the grader has.
"""

from __future__ import annotations

from collections.abc import Sequence

from atts_harness.grading.equivalence import Gold, fast
from atts_harness.grading.extraction import Kind


def counted(answers: Sequence[str | None], kind: Kind | None) -> list[int]:
    """Votes of each candidate, most first. A sample without an answer does not vote."""
    leaders: list[str] = []
    votes: list[int] = []
    for answer in answers:
        if answer is None:
            continue
        for number, leader in enumerate(leaders):
            if same(answer, leader, kind):
                votes[number] += 1
                break
        else:
            leaders.append(answer)
            votes.append(1)
    return sorted(votes, reverse=True)


def same(answer: str, other: str, kind: Kind | None) -> bool:
    """Whether two answers are equal as far as bounded time can tell."""
    if answer == other:
        return True
    verdict = fast(answer, Gold(other, kind=kind or "maths"))
    return verdict is not None and verdict.right
