"""In which order cells run: pair by pair, strategies shuffled, what is needed first."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from atts_harness.comparing.cells import Cell


def in_order(cells: Sequence[Cell], seed: int, *, shuffle: bool = True) -> list[Cell]:
    """The cells in the order in which they are to run.

    The cells of a pair stay together, for they share its servers, and so do those of a task, for
    their prompts warm the same caches. Within these the strategies are shuffled, so that whatever
    drifts (a warming machine, a filling disk) does not always meet the same one. A cell that needs
    another one comes after it.

    Args:
        cells: in the order of the plan.
        seed: of the shuffling; the same seed and plan give the same order.
        shuffle: False keeps the plan's order, but for what is needed.
    """
    found: list[Cell] = []
    blocks: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        blocks.setdefault((cell.pair, cell.task_name), []).append(cell)
    for pair in _names(cell.pair for cell in cells):
        for task in _names(cell.task_name for cell in cells):
            block = blocks.get((pair, task), [])
            if shuffle:
                random.Random(f"{seed}/{pair}/{task}").shuffle(block)
            found += _needed_first(block)
    return found


def _needed_first(block: Sequence[Cell]) -> Iterator[Cell]:
    """Each cell right after the one it needs, where that comes later."""
    by_name = {cell.name: cell for cell in block}
    given: set[str] = set()
    for cell in block:
        for wanted in (by_name.get(cell.needs or ""), cell):
            if wanted is not None and wanted.name not in given:
                given.add(wanted.name)
                yield wanted


def _names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
