"""Sampling until known: after a cell has ended, how many repeats it still needs, if any."""

from __future__ import annotations

from pathlib import Path

from atts_harness.analysis.statistics.sequential import Known, known, next_repeats
from atts_harness.comparing.plan import Until
from atts_harness.errors import SettingError
from atts_harness.results.find import saved_tasks


def known_of(log: Path, until: Until) -> Known:
    """How well the accuracy of a cell is known, over exactly its problems.

    Args:
        log: its newest sample log.
        until: what is asked for.

    Raises:
        SettingError: the log has no grades of this project, so nobody can tell.
    """
    right: list[int] = []
    repeats: list[int] = []
    for saved in saved_tasks(log):
        for one in saved:
            if not one.grades:
                raise SettingError(
                    f"{log}: `until` needs grades, and only tasks of this project record them"
                )
            if any(grade.weight is not None for grade in one.grades.values()):
                raise SettingError(
                    f"{log}: `until` adds samples until pass@1 is known, and a vote decides itself "
                    "how many it draws; leave `until` out, and give more questions"
                )
            right.append(sum(grade.right for grade in one.grades.values()))
            repeats.append(len(one.grades))
    return known(right, repeats, until.half_width, level=until.level)


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
    """Repeats of the next round, None where enough is known or the cap is reached; and in words.

    Raises:
        SettingError: as `known_of`.
    """
    now = known_of(newest_log(folder), until)
    after = next_repeats(now, until.half_width, until.cap)
    words = f"{now.value:.3f} +- {now.here:.3f} over these problems after {now.repeats} repeats"
    if now.floor > until.half_width:
        words += f"; over problems drawn like these not below +- {now.floor:.3f}, whatever repeats"
    if after is None and now.here > until.half_width:
        words += f"; the cap of {until.cap} repeats is reached"
    return after, words
