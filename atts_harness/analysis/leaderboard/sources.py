"""The sources of rows: a task of a run, of results, or of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.journal.reader import RecordedRun
from atts_harness.ledger.prices import Price
from atts_harness.records import RunRecord
from atts_harness.results.find import RunSource
from atts_harness.results.golds import Documents
from atts_harness.results.values import Results, TaskResults


@dataclass(frozen=True)
class Options:
    """The options of a report.

    Attributes:
        level: nominal coverage of intervals.
        force: put rows together that differ, and read runs that are not finished; both marked.
        prices: by role; by default those recorded in the run.
        parameters: by role, in place of those counted in weight files.
        documents: a task's documents, for run directories without sample logs.
        margin: what a row may lose against its reference and count as no worse.
        reference: id, label or strategy of the row that all others are compared with.
    """

    level: float = 0.95
    force: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    documents: Documents | None = None
    margin: float = 0.02
    reference: str | None = None


@dataclass
class TaskSource:
    """One task of one run: everything that its row is made from.

    Attributes:
        path: what to call it.
        task: which task.
        run: its run directory, opened.
        results: the results that the row is of.
        notes: notes for the reader; grows.
        forced: reasons for which its row is shown only with `--force`; grows.
    """

    path: Path
    task: str
    run: RecordedRun | None
    results: Results | None
    notes: list[str] = field(default_factory=list)
    forced: list[str] = field(default_factory=list)

    @property
    def record(self) -> RunRecord | None:
        """What was run, by the directory where there is one; None for another model."""
        if self.run is not None:
            return self.run.record
        return None if self.results is None else self.results.run

    @property
    def task_results(self) -> TaskResults | None:
        """What the results say of the task."""
        return None if self.results is None else self.results.tasks.get(self.task)


def sources_of(item: RunSource, run: RecordedRun | None) -> Iterator[TaskSource]:
    """The tasks of an input, each with the results that its row is made from.

    Raises:
        SettingError: the run has no samples.
    """
    names = [task for results in item.results for task in results.tasks]
    if run is not None:
        planned = [sample.task for sample in run.planned()]
        if not planned:
            raise SettingError(f"{item.path}: the run has no samples")
        # `TASK#1` has further questions of TASK's documents; lm-eval's results are under TASK.
        names += [task for task in planned if task.partition("#")[0] not in names]
    for task in dict.fromkeys(names):
        having = [results for results in item.results if task in results.tasks]
        if not having:
            yield TaskSource(item.path, task, run, None)
        for newest, notes in _chosen(having, task, item.run_dir is not None):
            yield TaskSource(item.path, task, run, newest, notes)


def _chosen(
    having: Sequence[Results], task: str, one_run: bool
) -> Iterator[tuple[Results, list[str]]]:
    """The newest of equal results, and the largest of a run that was continued with more documents.

    Results under other settings are a row of their own, never left out. The results of one run
    directory are of one run, whose journal refuses other settings: there only the documents and
    repeats that were asked for make a difference.
    """
    newest: dict[object, list[Results]] = {}
    for results in having:
        task_results = results.tasks[task]
        conditions = (str(task_results.conditions), task_results.problems, task_results.repeats)
        keys = frozenset(_keys(task_results)) if one_run and len(having) > 1 else frozenset()
        newest.setdefault((conditions, keys) if one_run else results.identity, []).append(results)
    last = [group[-1] for group in newest.values()]
    for group in newest.values():
        results, notes = group[-1], []
        if len(group) > 1:
            notes.append(f"{len(group) - 1} older results of the same run left out")
        if any(_part(results.tasks[task], other.tasks[task]) for other in last):
            continue  # said beside the larger ones
        for other in last:
            task_results = other.tasks[task]
            if _part(task_results, results.tasks[task]):
                notes.append(
                    f"results of {task_results.problems} of its problems ({other.path.name}) left "
                    "out: they are a part of these"
                )
        yield results, notes


def _part(part: TaskResults, whole: TaskResults) -> bool:
    """Whether results are of a subset of the questions of others, by their logs."""
    if part.samples is None or whole.samples is None or part.problems >= whole.problems:
        return False
    if part.conditions != whole.conditions or part.repeats != whole.repeats:
        return False
    return _keys(part) <= _keys(whole)


def _keys(results: TaskResults) -> set[str]:
    try:
        return {sample.question.key for sample in results.samples or ()}
    except SettingError:  # it is refused with its own words when its row is made
        return set()
