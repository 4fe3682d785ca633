"""What the modules of a comparison use of `comparison.AnswerComparison`."""

from __future__ import annotations

from typing import Protocol

from atts_harness.grading.equality.matching import Truth
from atts_harness.grading.tree import Expression, Node, Region


class Compares(Protocol):
    """A comparison of one answer with one gold, such as `comparison.AnswerComparison`."""

    def same(self, answer: Node, gold: Node) -> Truth:
        """Whether two nodes are equal."""

    def formulas(self, a: Expression, b: Expression) -> Truth:
        """Whether two formulas are exactly equal."""

    def region(self, answer: Node, gold: Region) -> Truth:
        """Whether a node is the same set of real numbers."""

    def doubt(self, reason: str) -> Truth:
        """Note why something is undecided; returns None, the undecided truth."""
