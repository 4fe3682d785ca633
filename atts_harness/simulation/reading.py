"""A trace from what a user names: a run directory, or a published trace file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from atts_harness.errors import SettingError
from atts_harness.simulation.traces import RunTrace, trace_of_samples

__all__ = ["read_trace"]


def read_trace(path: Path, task: str | None = None) -> RunTrace:
    """The trace at `path`.

    Args:
        path: a run directory, or a published trace (`.jsonl`, `.jsonl.gz`).
        task: which task of a run; may be left out where there is one.

    Raises:
        SettingError: nothing there that can be read as a trace, or no such task.
        RunDirError: a run directory that cannot be read, or is not finished.
    """
    if path.is_file():
        from atts_harness.analysis.audit.published import records_of
        from atts_harness.results.published import RATE

        with _named(path):
            return trace_of_samples(
                records_of(path, task or "published"), task=task or "published", rate=RATE
            )
    from atts_harness.journal.reader import open_run
    from atts_harness.journal.schema import JOURNAL

    if not path.is_dir():
        raise SettingError(f"--trace {path}: there is no such file or folder")
    if not (path / JOURNAL).exists():
        raise SettingError(
            f"--trace {path}: no run directory (it has no {JOURNAL}); `atts import` makes one of a "
            "published result folder"
        )
    with open_run(path) as run:
        run.require_complete()
        tasks = list(run.record.tasks)
        name = task or (tasks[0] if len(tasks) == 1 else None)
        if name is None or name not in tasks:
            remedy = "name one of its tasks" if task is None else f"it has no task {task!r}"
            raise SettingError(f"--trace {path}: {remedy}, by --task: {', '.join(tasks)}")
        entry = run.record.tasks[name]
        options = entry.get("options") or run.record.options
        chunks = (int(options.get(f"{role}_tokens", 500)) for role in ("draft", "target"))
        with _named(path):
            return trace_of_samples(
                run.samples(),
                task=name,
                chunk=max(chunks),
                rate=options.get("rate"),
            )


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error name the option."""
    try:
        yield
    except SettingError as error:
        text = str(error).removeprefix(f"{path}: ")  # errors of reading name the file themselves
        raise SettingError(f"--trace {path}: {text}") from error
