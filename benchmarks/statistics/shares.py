r"""Coverage and width of the intervals of takeover rates and AUC.

    nice -n 10 python -m benchmarks.statistics.shares [--cases N]

Problems' rates are drawn from a latent normal score of which 20, 45 or 70 % of the variance lies
between problems (59-76 % in the published runs), with turns that are as many for all problems or
more for hard ones. Fails if an interval of a rate covers less than .93 with eight problems or more
(.90 with six), or, where five problems or more are expected to hold takeovers, covers more than
.985 or is wider than 1.3 times an oracle's with 30 or more; if one of an AUC covers less than .92
(600 cases: a Monte-Carlo error of .009).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import stats

from atts_harness.analysis.statistics import clustered_auc, share_interval
from benchmarks.statistics.grid import Floats

CASES = 4000
PROBLEMS = (6, 8, 12, 15, 30, 100, 500)
REPEATS = (1, 4, 16)
RATES = (0.05, 0.1, 0.3)
BETWEEN = (0.2, 0.45, 0.7)
SIZE = 20_000
ENOUGH = 5.0


@dataclass(frozen=True)
class Cell:
    """One kind of problems at one size; `before` is Student's t on the linearised ratio."""

    rate: float
    between: float
    longer: bool
    problems: int
    repeats: int
    holding: float
    covered: float
    before: float
    width: float
    before_width: float


def draw(
    rng: np.random.Generator, chance: Floats, longer: bool, repeats: int
) -> tuple[Floats, Floats]:
    """Takeovers and judged turns of problems with these chances."""
    mean = 2.5 + 5 * chance if longer else np.full_like(chance, 4.0)
    turns = repeats + rng.poisson(mean * repeats)
    return rng.binomial(turns, chance).astype(float), turns.astype(float)


def cells(cases: int = CASES, seed: int = 2203) -> list[Cell]:
    """Every cell."""
    grid = []
    middle = (np.arange(SIZE) + 0.5) / SIZE
    for rate in RATES:
        for between in BETWEEN:
            latent = np.sqrt(between) * stats.norm.ppf(middle) - stats.norm.isf(rate)
            chances = stats.norm.cdf(latent / np.sqrt(1 - between))
            for longer in (False, True):
                for problems in PROBLEMS:
                    for repeats in REPEATS:
                        grid.append(
                            _cell(chances, rate, between, longer, problems, repeats, cases, seed)
                        )
    return grid


def _cell(
    chances: Floats,
    rate: float,
    between: float,
    longer: bool,
    problems: int,
    repeats: int,
    cases: int,
    seed: int,
) -> Cell:
    rng = np.random.default_rng([seed, problems, repeats, round(100 * rate), round(100 * between)])
    mean = 2.5 + 5 * chances if longer else np.full_like(chances, 4.0)
    weight = repeats * (1 + mean)
    truth = float((weight * chances).sum() / weight.sum())
    hits, turns = draw(rng, np.tile(chances, 10), longer, repeats)
    deviation = float(((hits - truth * turns) / turns.mean()).std())
    holding = problems * float((hits > 0).mean())
    hits, turns = draw(rng, chances[rng.integers(0, SIZE, (cases, problems))], longer, repeats)
    low, high = share_interval(hits, turns)
    share = hits.sum(1) / turns.sum(1)
    residuals = hits - share[:, None] * turns
    error = np.sqrt((residuals**2).sum(1) * problems / (problems - 1)) / turns.sum(1)
    half = stats.t.ppf(0.975, problems - 1) * error
    oracle = 2 * stats.norm.ppf(0.975) * deviation / np.sqrt(problems)
    return Cell(
        rate=rate,
        between=between,
        longer=longer,
        problems=problems,
        repeats=repeats,
        holding=holding,
        covered=float(((low <= truth) & (truth <= high)).mean()),
        before=float((np.abs(share - truth) <= half).mean()),
        width=float((high - low).mean() / oracle),
        before_width=float(2 * half.mean() / oracle),
    )


def aucs(cases: int = 600, seed: int = 2204) -> list[tuple[str, int, float, float, float, float]]:
    """Kind, problems, coverage, mean width with four repeats; both of the bootstrap used before."""
    rows = []
    for kind, (slope, shared, own) in {
        "tells hard problems": (2.0, 1.0, 0.0),
        "tells samples": (0.7, 0.0, 0.8),
        "tells nearly all": (2.5, 1.5, 1.5),
    }.items():
        rng = np.random.default_rng(seed)
        scores, wrong = _samples(rng, 60_000, slope, shared, own)
        names = np.repeat(np.arange(60_000), 4).tolist()
        truth = clustered_auc(scores.ravel(), wrong.ravel().tolist(), names).value
        for problems in (8, 15, 30, 100):
            names, covered, widths = np.repeat(np.arange(problems), 4).tolist(), [], []
            old: list[tuple[float, float]] = []
            for _ in range(cases):
                scores, wrong = _samples(rng, problems, slope, shared, own)
                if wrong.all() or not wrong.any():
                    continue
                one = clustered_auc(scores.ravel(), wrong.ravel().tolist(), names)
                assert one.low is not None
                assert one.high is not None
                covered.append(one.low <= truth <= one.high)
                widths.append(one.high - one.low)
                old.append(percentiles(scores, wrong, rng))
            before = float(np.mean([low <= truth <= high for low, high in old]))
            width = float(np.mean([high - low for low, high in old]))
            rows.append(
                (kind, problems, float(np.mean(covered)), float(np.mean(widths)), before, width)
            )
    return rows


def percentiles(
    scores: Floats, wrong: Floats, rng: np.random.Generator, draws: int = 200
) -> tuple[float, float]:
    """The percentile bootstrap over problems of an AUC, as it was used before."""
    count, each = scores.shape
    above = (scores.reshape(-1, 1) > scores.reshape(1, -1)) * 1.0
    above *= wrong.reshape(-1, 1) * (1 - wrong.reshape(1, -1))
    won = above.reshape(count, each, count, each).sum(axis=(1, 3))
    ones, others = wrong.sum(1), (1 - wrong).sum(1)
    times = rng.multinomial(count, np.full(count, 1 / count), draws).astype(float)
    pairs = (times @ ones) * (times @ others)
    values = ((times @ won) * times).sum(1)[pairs > 0] / pairs[pairs > 0]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def _samples(
    rng: np.random.Generator, count: int, slope: float, shared: float, own: float
) -> tuple[Floats, Floats]:
    hard = rng.standard_normal((count, 1))
    wrong = rng.random((count, 4)) < 1 / (1 + np.exp(0.8 - slope * hard))
    return shared * hard + own * wrong + rng.standard_normal((count, 4)), wrong


def faults(grid: list[Cell]) -> list[str]:
    """What does not hold, in words."""
    wrong = []
    for c in grid:
        label = (
            f"rate {c.rate}, {c.between:.0%} between, {'longer' if c.longer else 'alike'}, "
            f"{c.problems} x {c.repeats}"
        )
        if c.covered < (0.93 if c.problems >= 8 else 0.90):
            wrong.append(f"{label}: covers {c.covered:.3f}")
        if c.problems >= 30 and c.holding >= ENOUGH:
            if c.covered > 0.985:
                wrong.append(f"{label}: covers {c.covered:.3f}")
            if c.width > 1.3:
                wrong.append(f"{label}: {c.width:.2f} times as wide as the oracle")
    return wrong


def main() -> None:
    """Simulate, print, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    grid = cells(args.cases)
    for c in grid:
        print(
            f"rate {c.rate:.2f} between {c.between:.2f} {'longer' if c.longer else 'alike ':6} "
            f"{c.problems:3} x {c.repeats:2}: covers {c.covered:.3f} (was {c.before:.3f}), "
            f"width / oracle {c.width:.2f} (was {c.before_width:.2f})"
        )
    for kind, problems, covered, width, *_ in aucs():
        print(f"AUC, {kind}, {problems} x 4: covers {covered:.3f}, width {width:.3f}")
        assert covered >= 0.92, "an AUC's interval covers too little"
    wrong = faults(grid)
    assert not wrong, "\n".join(wrong)


if __name__ == "__main__":
    main()
