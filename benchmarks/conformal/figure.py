"""Figures of docs/guarantees.md: small SVG, the same bytes from the same numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).parents[2] / "docs" / "figures"
BLUE, RED, GREEN, GREY = "#1f6fb2", "#c8452e", "#2f8f5b", "#777777"


def arguments(about: str | None, **defaults: int) -> argparse.Namespace:
    """What every script here takes: its sizes, and whether to draw."""
    parser = argparse.ArgumentParser(description=about)
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", action="store_true", help="write the figure into docs/figures")
    return parser.parse_args()


@contextmanager
def figure(name: str, columns: int = 1, height: float = 2.8) -> Iterator[Any]:
    """Axes to draw on, side by side; written as docs/figures/NAME.svg at the end."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "lines.linewidth": 1.4,
    }
    from matplotlib import pyplot

    width = 6.4 if columns == 1 else 8.2
    drawing, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained")
    yield axes
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.svg"
    drawing.savefig(path, metadata={"Date": None, "Creator": None})
    # matplotlib ends lines with blanks, which reviewers' tools strip.
    lines = (line.rstrip() for line in path.read_text().splitlines())
    path.write_text("\n".join(lines) + "\n")
    print(f"wrote {path.relative_to(FIGURES.parents[1])}")
