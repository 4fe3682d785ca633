"""Lists the runs below a folder: what each is, how far it has come and its headline figure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atts_harness import plugins
from atts_harness.errors import AttsError, RunDirError
from atts_harness.journal.reader import RecordedRun, open_run
from atts_harness.journal.schema import JOURNAL
from atts_harness.results.find import without_path

State = Literal["finished", "interrupted", "failed", "not ended", "imported", "unreadable"]


@dataclass(frozen=True)
class ListedRun:
    """A run directory in a line.

    Attributes:
        path: the directory.
        state: of its last session. `not ended`: it runs now, or was killed.
        strategy: its name; "" where the run cannot be read.
        tasks: their names.
        done: samples with a result.
        samples: those that are asked for.
        failed: samples that failed for good.
        began: when its first session began, ISO 8601, UTC.
        metric: name of the task's headline figure; None where no results file has one.
        value: the figure.
        fault: why it cannot be read.
    """

    path: Path
    state: State
    strategy: str = ""
    tasks: tuple[str, ...] = ()
    done: int = 0
    samples: int = 0
    failed: int = 0
    began: str = ""
    metric: str | None = None
    value: float | None = None
    fault: str = ""


def runs_below(folder: Path) -> list[ListedRun]:
    """Every run directory at or below a folder, by path.

    Raises:
        RunDirError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise RunDirError(f"{folder}: there is no such folder; give the one that holds your runs")
    folders = sorted(file.parent for file in folder.rglob(JOURNAL))
    if not folders:
        raise RunDirError(
            f"{folder}: holds no run directory ({JOURNAL}); runs with run_dir=DIR leave one"
        )
    return [_listed(path) for path in folders]


def _listed(path: Path) -> ListedRun:
    try:
        with open_run(path) as run:
            return _of(run, path)
    except AttsError as error:
        return ListedRun(path, "unreadable", fault=without_path(error, path))


def _of(run: RecordedRun, path: Path) -> ListedRun:
    planned, sessions = run.planned(), run.sessions()
    missing = len(run.missing())
    metric, value = _headline(path)
    return ListedRun(
        path=path,
        state=_state(run, missing),
        strategy=run.record.strategy,
        tasks=tuple(dict.fromkeys(sample.task for sample in planned)),
        done=len(planned) - missing - len(run.dropped()),
        samples=len(planned) - len(run.dropped()),
        failed=len(run.failed()),
        began=sessions[0].began if sessions else "",
        metric=metric,
        value=value,
    )


def _state(run: RecordedRun, missing: int) -> State:
    if run.record.imported:
        return "imported"
    sessions = run.sessions()
    last = sessions[-1].state if sessions else "running"
    if last == "running":
        return "not ended"
    if last == "interrupted" or (last == "finished" and missing):
        return "interrupted"
    return "finished" if last == "finished" else "failed"


def _headline(path: Path) -> tuple[str | None, float | None]:
    """The figure in the evaluation framework's own results file."""
    for entry in plugins.frameworks().values():
        try:
            outcome = entry.value.outcome(path)
        except AttsError:
            continue  # a results file that cannot be read has no headline
        if outcome is not None and outcome.value is not None:
            return outcome.metric, outcome.value
    return None, None
