"""What can be audited: a run directory, or a published trace file; and grades to go with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.audit.audit import Audit, audit
from atts_harness.analysis.audit.published import RATE, grades_of, records_of
from atts_harness.analysis.audit.turns import turns_of, turns_of_decisions
from atts_harness.errors import SettingError
from atts_harness.journal.reader import nominal_rate, open_run
from atts_harness.records import SampleId

GRADED = "graded"
"""Key under which a sample log has the grades of a document's repeats."""


def audit_path(
    path: Path | str, *, task: str | None = None, samples: Sequence[Path] = (), seed: int = 0
) -> list[Audit]:
    """Audit what lies at a path, task by task.

    An unfinished run is audited as far as it went: rates and uniformity of all its decisions,
    what needs texts of its finished samples.

    Args:
        path: a run directory, or a published trace (`.jsonl`, `.jsonl.gz`).
        task: only this one.
        samples: lm-eval's sample logs, for the grades of a run; traces bring their own.
        seed: of the bootstrap.

    Raises:
        SettingError: nothing there that can be audited, or no such task.
        RunDirError: a run directory that cannot be read.
    """
    path = Path(path)
    if path.is_file():
        turns = list(turns_of(records_of(path)))
        return [audit(turns, task="published", nominal=RATE, right=grades_of(path), seed=seed)]
    with open_run(path) as run:
        finished = list(run.samples())
        done = {sample.id for sample in finished}
        turns = list(turns_of(finished))
        turns += turns_of_decisions(d for d in run.decisions() if d.sample not in done)
        record = run.record
    if not turns:
        raise SettingError(f"{path}: the run made no takeover decisions")
    tasks = sorted({turn.sample.task for turn in turns})
    if task is not None and task not in tasks:
        raise SettingError(f"{path}: no decisions of task {task!r}; there are: {', '.join(tasks)}")
    right = dict(grades_of_logs(samples))
    return [
        audit(
            turns,
            task=name,
            nominal=nominal_rate(record, name),
            right={id_: grade for id_, grade in right.items() if id_.task == name},
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
        task = _task_of_log(path)
        try:
            lines = path.read_bytes().splitlines()
            rows = [msgspec.json.decode(line) for line in lines if line.strip()]
        except (OSError, msgspec.DecodeError) as error:
            raise SettingError(f"{path}: not a sample log: {error}") from error
        for row in rows:
            yield from _grades(row, task, path)


def _task_of_log(path: Path) -> str:
    name = path.name.removeprefix("samples_")
    head, _, _date = name.rpartition("_")
    if name == path.name or not head:
        raise SettingError(f"{path}: lm-eval names its sample logs samples_TASK_DATE.jsonl")
    return head


def _grades(row: Any, task: str, path: Path) -> Iterator[tuple[SampleId, bool]]:
    if not isinstance(row, dict) or "doc_id" not in row or not isinstance(row.get(GRADED), list):
        raise SettingError(
            f"{path}: no {GRADED!r} grades in it: only tasks of this project have them"
        )
    own = row.get("doc", {}).get("doc_id")
    doc = own if type(own) is int else row["doc_id"]
    for repeat, grade in enumerate(row[GRADED]):
        yield SampleId(task, doc, repeat), bool(grade["right"])
