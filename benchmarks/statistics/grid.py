"""Problems to simulate: how hard they are, and where the second method gains.

This is the grid of the proof. Methods and constants were chosen on others, with other seeds:
`choice.py` has those of the gate and of takeover rates. Seeds are changed after every change of a
method; what was seen of an earlier run is said on the page.

A population is 20,000 equally likely problems, so its true difference and variance are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

Floats = NDArray[np.float64]

SIZE = 20_000
PROBLEMS = (6, 8, 12, 15, 30, 100, 500)
REPEATS = (1, 4, 16)
DIFFICULTIES = ("easy", "hard", "bimodal", "all right")
GAINS = ("none", "small", "easy only", "hard only")


@dataclass(frozen=True)
class Population:
    """Chances of being right, by problem.

    Attributes:
        name: difficulty and gain.
        method: chance of the method, shape (SIZE,).
        reference: chance of the reference.
        worked_out: probabilities of differences by repeats, as they are asked for.
    """

    name: tuple[str, str]
    method: Floats
    reference: Floats
    worked_out: dict[int, Floats] = field(default_factory=dict, compare=False, repr=False)

    @property
    def difference(self) -> float:
        """The truth: mean over problems of method minus reference."""
        return float((self.method - self.reference).mean())

    def deviation(self, repeats: int) -> float:
        """Standard deviation of one problem's observed difference."""
        m, r = self.method, self.reference
        noise = (m * (1 - m) + r * (1 - r)).mean() / repeats
        return float(np.sqrt((m - r).var() + noise))

    def chances(self, repeats: int) -> Floats:
        """Probabilities of a problem's observed difference -1, ..., 1 in steps of 1 / repeats."""
        if repeats not in self.worked_out:
            counts = np.arange(repeats + 1)
            ones = stats.binom.pmf(counts[:, None], repeats, self.method)
            others = stats.binom.pmf(counts[:, None], repeats, self.reference)
            joint = ones @ others.T / SIZE
            shares = np.array([np.trace(joint, -gap) for gap in range(-repeats, repeats + 1)])
            self.worked_out[repeats] = shares / shares.sum()
        return self.worked_out[repeats]

    def differing(self, repeats: int) -> float:
        """Chance that a problem shows a difference at all."""
        return float(1 - self.chances(repeats)[repeats])

    def draw(self, rng: np.random.Generator, cases: int, problems: int, repeats: int) -> Floats:
        """Observed differences, shape (cases, problems): problems at random, repeats of each."""
        steps = np.cumsum(self.chances(repeats))[:-1]
        return np.searchsorted(steps, rng.random((cases, problems)), "right") / repeats - 1


def chances(difficulty: str) -> Floats:
    """Chances of being right, in order of problems."""
    quantiles = (np.arange(SIZE) + 0.5) / SIZE
    if difficulty == "all right":
        return np.ones(SIZE)
    if difficulty == "bimodal":
        parts = ((0.35, -2.0, 0.7), (0.65, 2.2, 1.0))
    else:
        parts = ((1.0, 1.7 if difficulty == "easy" else -1.5, 1.4),)
    logits = []
    for share, mean, spread in parts:
        size = round(share * SIZE)
        inner = (np.arange(size) + 0.5) / size
        logits.append(mean + spread * stats.norm.ppf(inner))
    assert sum(map(len, logits)) == quantiles.size
    return np.asarray(special.expit(np.concatenate(logits)))


def population(difficulty: str, gain: str) -> Population:
    """A method that gains over a reference of this difficulty.

    Where all are right nothing can be gained: there it is the reference that falls short, by three
    samples in a hundred (small), or by a fifth on one problem in eight (hard only).
    """
    base = chances(difficulty)
    if difficulty == "all right":
        fallen = base.copy()
        if gain == "small":
            fallen -= 0.03
        elif gain == "hard only":
            fallen[: SIZE // 8] -= 0.2
        return Population((difficulty, gain), base, fallen)
    if gain == "none":
        better = base
    elif gain == "small":
        better = special.expit(special.logit(base) + 0.35)
    elif gain == "easy only":
        better = np.where(base >= 0.5, base + 0.7 * (1 - base), base)
    else:
        better = np.where(base < 0.4, base + 0.5 * (1 - base), base)
    return Population((difficulty, gain), np.asarray(better), base)


def populations() -> list[Population]:
    """All that differ from each other."""
    return [
        population(difficulty, gain)
        for difficulty in DIFFICULTIES
        for gain in GAINS
        if (difficulty, gain) != ("all right", "easy only")
    ]
