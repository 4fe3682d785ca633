"""The order of cells: pair by pair, strategies shuffled, a needed cell before its user."""

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
        shuffle: False keeps the plan's order, except that needed cells come first.
    """
    ordered: list[Cell] = []
    blocks: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        blocks.setdefault((cell.pair, cell.task_name), []).append(cell)
    for pair in _names(cell.pair for cell in cells):
        for task in _names(cell.task_name for cell in cells):
            block = blocks.get((pair, task), [])
            if shuffle:
                random.Random(f"{seed}/{pair}/{task}").shuffle(block)
            ordered += _needed_first(block)
    return ordered


def _needed_first(block: Sequence[Cell]) -> Iterator[Cell]:
    """The cells, with each needed cell moved to right before the first that needs it."""
    by_name = {cell.name: cell for cell in block}
    yielded: set[str] = set()
    for cell in block:
        for candidate in (by_name.get(cell.needs or ""), cell):
            if candidate is not None and candidate.name not in yielded:
                yielded.add(candidate.name)
                yield candidate


def _names(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
