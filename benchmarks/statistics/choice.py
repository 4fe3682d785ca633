r"""The grids that the constants of bounds and of takeover rates were chosen on, not the proof's.

    nice -n 10 python -m benchmarks.statistics.choice [--cases N]

Other difficulties (beta distributions, and references that are always or nearly always right),
other losses (proportional to what there is to lose, or of one problem in 7 or 15), other margins,
sizes, repeats, rates, turns and seeds. Prints, for a choice of constants, the largest false GO and
the least power over the z-test's, raw and at its real level; for rates the least coverage and the
largest width.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy import stats

from atts_harness.analysis.statistics import bounds, difference_bounds, share_interval, shares
from benchmarks.statistics.gate import z_values
from benchmarks.statistics.grid import SIZE, Floats, Population

CASES = 2000
MARGINS = (0.025, 0.06, 0.08)
SIZES = tuple((n, k) for n in (25, 40, 80, 250) for k in (1, 3, 12))
BOUNDS = (  # KIND, ALWAYS, AT_FIRST, FADES
    (1 / 12, 1.2, 4.0, 4.0),
    (1 / 12, 1.0, 4.0, 4.0),
    (1 / 12, 1.5, 4.0, 4.0),
    (1 / 12, 1.2, 0.0, 4.0),
    (1 / 15, 1.2, 4.0, 4.0),
    (1 / 20, 1.2, 4.0, 4.0),
)
PRIORS = (1.5, 2.0, 2.5, 3.0)
MIDDLE = (np.arange(SIZE) + 0.5) / SIZE


def references() -> dict[str, Floats]:
    """Chances of being right, by difficulty."""
    return {
        "easy": stats.beta.ppf(MIDDLE, 3, 0.9),
        "hard": stats.beta.ppf(MIDDLE, 0.9, 3),
        "bimodal": stats.beta.ppf(MIDDLE, 0.35, 0.25),
        "always right": np.ones(SIZE),
        "nearly always right": np.where(MIDDLE < 0.06, 0.6, 0.995),
    }


def losing(base: Floats, margin: float) -> Iterator[Floats]:
    """Chances of methods that lose exactly a margin: of their share, or of a few problems."""
    third = SIZE // 3
    order = np.argsort(base, kind="stable")
    lump = round(1.15 * margin * SIZE)
    for places, alike in (
        (order, False),
        (order[-third:], False),
        (order[:third], False),
        (order[-max(SIZE // 7, lump) :], True),
        (order[-max(SIZE // 15, lump) :], True),
    ):
        lost = np.zeros(SIZE)
        lost[places] = 1.0 if alike else base[places]
        for _ in range(200):
            lost = np.minimum(lost * (margin / max(lost.mean(), 1e-12)), base)
        if abs(lost.mean() - margin) < 1e-9:
            yield base - lost


def of_bounds(cases: int, seed: int = 11) -> None:
    """False GOs and power of each choice."""
    worst = dict.fromkeys(BOUNDS, 0.0)
    over = dict.fromkeys(BOUNDS, 0)
    raw: dict[tuple[float, ...], list[float]] = {choice: [] for choice in BOUNDS}
    adjusted: dict[tuple[float, ...], list[float]] = {choice: [] for choice in BOUNDS}
    usual, error = float(stats.norm.ppf(0.95)), (0.05 * 0.95 / cases) ** 0.5
    for difficulty, base in references().items():
        for margin in MARGINS:
            lost = [Population((difficulty, ""), one, base) for one in losing(base, margin)]
            none = Population((difficulty, ""), base, base)
            for n, k in SIZES:
                rng = np.random.default_rng([seed, n, k, round(1000 * margin)])
                drawn = [pair.draw(rng, cases, n, k) for pair in (none, *lost)]
                zero, *values = (z_values(d, margin) for d in drawn)
                cut = max(usual, *(np.quantile(z, 0.95, method="higher") for z in values))
                power_z, power_a = float((zero > usual).mean()), float((zero > cut).mean())
                level_z = max(float((z > usual).mean()) for z in values)
                for choice in BOUNDS:
                    bounds.KIND, bounds.ALWAYS, bounds.AT_FIRST, bounds.FADES = choice
                    bounds._unseen.cache_clear()
                    go = [float((difference_bounds(d, 1 / k)[0] > -margin).mean()) for d in drawn]
                    worst[choice] = max(worst[choice], *go[1:])
                    over[choice] += sum(share > 0.05 + 2 * error for share in go[1:])
                    if level_z <= 0.06 and power_z >= 0.15:
                        raw[choice].append(go[0] / power_z)
                    if power_a >= 0.15:
                        adjusted[choice].append(go[0] / power_a)
    for choice in BOUNDS:
        least = min(raw[choice], default=np.nan)
        print(
            f"kind 1/{1 / choice[0]:.0f}, {choice[1]} + {choice[2]} pseudo-problems: false GO at "
            f"most {worst[choice]:.3f}, {over[choice]} cells above .05 by two errors; power over "
            f"the z-test's where it keeps .06: least {least:.2f}; over the adjusted one's: mean "
            f"{np.mean(adjusted[choice]):.2f}"
        )


def of_rates(cases: int, seed: int = 9) -> None:
    """Coverage and width of each prior."""
    for n in (20, 35, 60):
        covered: dict[float, list[float]] = {prior: [] for prior in PRIORS}
        width: dict[float, list[float]] = {prior: [] for prior in PRIORS}
        for rate in (0.04, 0.08, 0.2):
            for between in (0.15, 0.3, 0.6, 0.75):
                latent = np.sqrt(between) * stats.norm.ppf(MIDDLE) - stats.norm.isf(rate)
                chance = stats.norm.cdf(latent / np.sqrt(1 - between))
                for mean in (np.full(SIZE, 3.0), 1.5 + 7 * chance):
                    truth = float(((1 + mean) * chance).sum() / (1 + mean).sum())
                    for k in (1, 3, 10):
                        rng = np.random.default_rng([seed, n, k, round(100 * rate)])
                        which = rng.integers(0, SIZE, (cases, n))
                        turns = k + rng.poisson(mean[which] * k)
                        hits = rng.binomial(turns, chance[which])
                        residual = (hits - truth * turns) / turns.mean()
                        oracle = 3.92 * residual.std() / np.sqrt(n)
                        holding = float((hits > 0).mean()) * n
                        for prior in PRIORS:
                            shares.PRIOR = prior
                            low, high = share_interval(hits, turns)
                            covers = (low <= truth) & (truth <= high)
                            covered[prior].append(float(covers.mean()))
                            if holding >= 5:
                                width[prior].append(float((high - low).mean() / oracle))
        for prior in PRIORS:
            print(
                f"{n} problems, prior {prior}: coverage at least {min(covered[prior]):.3f}, "
                f"{np.mean(np.array(covered[prior]) < 0.93):.0%} of the cells below .93; width at "
                f"most {max(width[prior]):.2f}"
            )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    of_rates(args.cases)
    of_bounds(args.cases)


if __name__ == "__main__":
    main()
