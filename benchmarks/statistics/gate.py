r"""No worse by more than a margin: false GOs at exactly minus the margin, power at zero.

    nice -n 10 python -m benchmarks.statistics.gate [--cases N]

Fails if false GOs are above .05 by more than three Monte-Carlo errors anywhere, or if the power at
zero is below .9 of the clustered z-test's where that test keeps its own level (within .06 over all
losses of the cell) and has a power of at least .2 with 30 problems or more.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from scipy import stats

from atts_harness.analysis.statistics import difference_bounds
from benchmarks.statistics.grid import SIZE, Floats, Population, chances

CASES = 4000
MARGINS = (0.02, 0.05, 0.1)
SIZES = tuple((n, k) for n in (12, 30, 100, 500) for k in (1, 4, 16))
LOSSES = ("everywhere", "easy only", "hard only", "few")


@dataclass(frozen=True)
class Cell:
    """One difficulty, margin and size.

    Attributes:
        difficulty: of the reference.
        margin: what may be lost.
        problems: a case.
        repeats: a problem.
        false_go: by kind of loss, at a true difference of exactly -margin.
        false_go_z: likewise of the clustered z-test.
        power: chance of GO where nothing is lost.
        power_z: of the clustered z-test.
    """

    difficulty: str
    margin: float
    problems: int
    repeats: int
    false_go: dict[str, float]
    false_go_z: dict[str, float]
    power: float
    power_z: float


def losing(base: Floats, loss: str, margin: float) -> Floats | None:
    """Chances of a method that loses exactly the margin; None if there is less to lose."""
    order = np.argsort(base)
    may = np.zeros(SIZE, dtype=bool)
    half = SIZE // 2
    chosen = {
        "everywhere": order,
        "easy only": order[half:],
        "hard only": order[:half],
        "few": order[-max(SIZE // 12, round(1.2 * margin * SIZE)) :],
    }[loss]
    may[chosen] = True
    lost = np.where(may, margin * SIZE / may.sum(), 0.0)
    for _ in range(100):
        lost = np.minimum(lost, base)
        if lost.mean() < 1e-9:
            return None
        lost = lost * (margin / lost.mean())
    return base - lost if (lost <= base + 1e-9).all() else None


def z_bound(d: Floats, confidence: float = 0.95) -> Floats:
    """Lower bound of the clustered z-test."""
    n = d.shape[-1]
    error = d.std(axis=-1, ddof=1) / np.sqrt(n)
    return np.asarray(d.mean(axis=-1) - stats.norm.ppf(confidence) * error)


def cells(cases: int = CASES, seed: int = 77) -> list[Cell]:
    """Every cell."""
    found = []
    for difficulty in ("easy", "hard", "bimodal", "all right"):
        base = chances(difficulty)
        for margin in MARGINS:
            methods = {loss: losing(base, loss, margin) for loss in LOSSES}
            for n, k in SIZES:
                rng = np.random.default_rng([seed, n, k, round(margin * 100)])
                go, go_z = {}, {}
                for loss, chance in methods.items():
                    if chance is None:
                        continue
                    pair = Population((difficulty, loss), np.clip(chance, 0, 1), base)
                    d = pair.draw(rng, cases, n, k)
                    go[loss] = float((difference_bounds(d, 1 / k)[0] > -margin).mean())
                    go_z[loss] = float((z_bound(d) > -margin).mean())
                d = Population((difficulty, "none"), base, base).draw(rng, cases, n, k)
                found.append(
                    Cell(
                        difficulty=difficulty,
                        margin=margin,
                        problems=n,
                        repeats=k,
                        false_go=go,
                        false_go_z=go_z,
                        power=float((difference_bounds(d, 1 / k)[0] > -margin).mean()),
                        power_z=float((z_bound(d) > -margin).mean()),
                    )
                )
    return found


def comparable(cell: Cell) -> bool:
    """Whether the z-test's power is one: it keeps its level, and there is power to lose."""
    return cell.problems >= 30 and cell.power_z >= 0.2 and max(cell.false_go_z.values()) <= 0.06


def faults(found: list[Cell], cases: int) -> list[str]:
    """What does not hold, in words."""
    error = (0.05 * 0.95 / cases) ** 0.5
    wrong = []
    for c in found:
        where = f"{c.difficulty}, margin {c.margin}, {c.problems} x {c.repeats}"
        wrong += [
            f"{where}: false GO {share:.4f} ({loss})"
            for loss, share in c.false_go.items()
            if share > 0.05 + 3 * error
        ]
        if comparable(c) and c.power < 0.9 * c.power_z:
            wrong.append(f"{where}: power {c.power:.3f}, of the z-test {c.power_z:.3f}")
    return wrong


def main() -> None:
    """Simulate, print, check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES)
    args = parser.parse_args()
    found = cells(args.cases)
    for c in found:
        worst, worst_z = max(c.false_go.values()), max(c.false_go_z.values())
        print(
            f"{c.difficulty:9} margin {c.margin:.2f} {c.problems:3} x {c.repeats:2}: false GO "
            f"{worst:.3f} (z {worst_z:.3f}), power {c.power:.3f} (z {c.power_z:.3f})"
            f"{' *' if comparable(c) else ''}"
        )
    shares = [share for c in found for share in c.false_go.values()]
    print(
        f"{len(shares)} cells of {args.cases} cases: false GO at most {max(shares):.4f}, "
        f"Monte-Carlo error {(0.05 * 0.95 / args.cases) ** 0.5:.4f}, "
        f"{np.mean(np.array(shares) > 0.05):.2f} of "
        "the cells above .05"
    )
    wrong = faults(found, args.cases)
    assert not wrong, "\n".join(wrong)


if __name__ == "__main__":
    main()
