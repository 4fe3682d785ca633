"""Reads what can be audited: a run directory or a published trace file, and its grades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from atts_harness.analysis.audit.audit import Audit, audit
from atts_harness.analysis.audit.caveats import caveats_of
from atts_harness.analysis.audit.published import grades_of, records_of
from atts_harness.analysis.audit.turns import turns_of, turns_of_decisions
from atts_harness.errors import SettingError
from atts_harness.journal.reader import nominal_rate, open_run
from atts_harness.records import SampleId
from atts_harness.results.find import saved_tasks
from atts_harness.results.published import RATE


def audit_path(
    path: Path | str,
    *,
    task: str | None = None,
    samples: Sequence[Path] = (),
    force: bool = False,
    seed: int = 0,
) -> list[Audit]:
    """Audit a run directory or a trace file, task by task.

    Args:
        path: a run directory, or a published trace (`.jsonl`, `.jsonl.gz`).
        task: only this one.
        samples: lm-eval's sample logs, for the grades of a run; traces bring their own.
        force: audit an unfinished run, and mark it as such: rates and uniformity come from all its
            decisions, what needs texts from its finished samples.
        seed: of the bootstrap.

    Raises:
        SettingError: nothing there that can be audited, or no such task.
        RunDirError: a run directory that cannot be read, or an unfinished run.
    """
    path = Path(path)
    if path.is_file():
        turns = list(turns_of(records_of(path)))
        return [audit(turns, task="published", nominal=RATE, right=grades_of(path), seed=seed)]
    with open_run(path) as run:
        if not force:
            run.require_complete()
        missing = set(run.missing())
        turns = list(turns_of(run.samples()))
        turns += turns_of_decisions(d for d in run.decisions() if d.sample in missing)
        planned = Counter(sample.task for sample in run.planned())
        lost = Counter(sample.task for sample in missing)
        record = run.record
    if not turns:
        raise SettingError(f"{path}: the run made no takeover decisions")
    tasks = sorted({turn.sample.task for turn in turns})
    if task is not None and task not in tasks:
        raise SettingError(f"{path}: no decisions of task {task!r}; there are: {', '.join(tasks)}")
    right = dict(grades_of_logs(samples))
    if right and not right.keys() & {turn.sample for turn in turns}:
        raise SettingError(f"{path}: the sample logs are of other samples than the run's")
    return [
        audit(
            turns,
            task=name,
            nominal=nominal_rate(record, name),
            right={id_: grade for id_, grade in right.items() if id_.task == name},
            caveats=caveats_of(record, name, turns),
            unfinished=f"{lost[name]} of {planned[name]} samples are missing" if lost[name] else "",
            seed=seed,
        )
        for name in tasks
        if task in (None, name)
    ]


def grades_of_logs(paths: Sequence[Path]) -> Iterator[tuple[SampleId, bool]]:
    """Grades from lm-eval's sample logs (`samples_TASK_DATE.jsonl`).

    Raises:
        SettingError: not such a log, or of a task that was not graded by this project.
    """
    for path in paths:
        for saved in saved_tasks(path):
            for question in saved:
                if not question.grades:
                    raise SettingError(
                        f"{path}: has no `graded` field: only tasks of this project record it"
                    )
                for repeat, grade in question.grades.items():
                    if grade.absent:  # a vote has no answer of it
                        continue
                    yield SampleId(saved.task, question.question.doc, repeat), grade.right
