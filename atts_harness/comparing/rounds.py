"""Sampling until a precision is reached: how many more repeats a cell needs after a round."""

from __future__ import annotations

from pathlib import Path

from atts_harness.analysis.statistics.sequential import (
    Precision,
    next_repeats,
    precision_of,
    widest_floor,
)
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Until
from atts_harness.errors import SettingError
from atts_harness.results.find import saved_tasks

ACCURACIES = (0.9, 0.5)
"""Accuracies for which the floor is given before anything has run: a high one and the worst."""


def first_repeats(cell: Cell) -> int:
    """Repeats of the first round: those of the plan, and two at least.

    One repeat cannot show how much repeats vary.
    """
    return max(2, cell.task.repeats or 2)


def promise(until: Until, problems: int, repeats: int) -> str:
    """The precision that rounds can reach with so many problems, in words, before they run.

    Args:
        until: what is asked for.
        problems: of a cell.
        repeats: of its first round.
    """
    low, high = (widest_floor(problems, a, level=until.level) for a in ACCURACIES)
    words = (
        f"from {repeats} repeats to at most {max(until.cap, repeats)}, until the accuracy over "
        f"these {problems} problems is known to +- {until.half_width:g}"
    )
    if high <= until.half_width:
        return words
    return words + (
        f"; over problems drawn like these, more repeats cannot bring it below "
        f"+- {min(high, 1.0):.3f} if half of the problems are always right and half never, or "
        f"+- {min(low, 1.0):.3f} if nine in ten are always right"
    )


def precision_in(log: Path, until: Until) -> Precision:
    """How precise the accuracy of a cell is, over exactly its problems.

    Args:
        log: its newest sample log.
        until: what is asked for.

    Raises:
        SettingError: the log has no grades of this project, so its precision is not known.
    """
    right: list[int] = []
    repeats: list[int] = []
    for saved in saved_tasks(log):
        for question in saved:
            if not question.grades:
                raise SettingError(
                    f"{log}: `until` needs grades, and only tasks of this project record them"
                )
            if any(grade.weight is not None for grade in question.grades.values()):
                raise SettingError(
                    f"{log}: `until` adds samples until pass@1 is known, and a vote itself decides "
                    "how many it draws; leave `until` out, and give more questions"
                )
            right.append(sum(grade.right for grade in question.grades.values()))
            repeats.append(len(question.grades))
    return precision_of(right, repeats, until.half_width, level=until.level)


def newest_log(folder: Path) -> Path:
    """The sample log that a cell wrote last.

    Raises:
        SettingError: there is none.
    """
    logs = sorted(folder.glob("samples_*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    if not logs:
        raise SettingError(f"{folder}: `until` found no sample log")
    return logs[-1]


def next_round(folder: Path, until: Until) -> tuple[int | None, str]:
    """Repeats of the next round, None if precise enough or at the cap; and the state in words.

    Raises:
        SettingError: as `precision_in`.
    """
    now = precision_in(newest_log(folder), until)
    after = next_repeats(now, until.half_width, until.cap)
    words = f"{now.value:.3f} +- {now.here:.3f} over these problems after {now.repeats} repeats"
    if now.floor > until.half_width:
        words += (
            f"; over problems drawn like these, no number of repeats gives less than "
            f"+- {now.floor:.3f}"
        )
    if after is None and now.here > until.half_width:
        words += f"; the cap of {until.cap} repeats is reached"
    return after, words
