"""Many comparisons at once: one procedure that gives the verdicts and the intervals.

Bonferroni's: each of m comparisons gets the level 1 - (1 - level) / m, and a verdict is whether its
interval leaves 0 out. Step-down procedures (Holm) and the max-t bootstrap decide a little more, but
their verdicts have no simple intervals, or intervals that depend on how other rows are
correlated; a table whose words and intervals cannot contradict each other is worth more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from atts_harness.analysis.statistics.differences import reachable


@dataclass(frozen=True)
class Family:
    """The comparisons of one table.

    Attributes:
        size: how many have a test, at least 1.
        level: chance, at least, that all their intervals hold at once.
    """

    size: int
    level: float = 0.95

    @property
    def each(self) -> float:
        """The level of each interval."""
        return 1 - (1 - self.level) / max(self.size, 1)

    def adjusted(self, p: float) -> float:
        """Bonferroni's p-value: at most 1 - level exactly where the interval leaves 0 out."""
        return min(1.0, p * max(self.size, 1))

    def reaches(self, problems: int) -> bool:
        """Whether so many problems can show any difference in this family."""
        return reachable(problems, self.each)

    @property
    def needed(self) -> int:
        """The fewest problems that can show a difference in this family."""
        return max(2, math.ceil(1 - math.log2(1 - self.each) - 1e-9))
