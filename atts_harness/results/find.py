"""Finds what a report can show: run directories, and results files that belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atts_harness import plugins
from atts_harness.errors import AttsError, SettingError
from atts_harness.files import read_lines
from atts_harness.journal.reader import open_run
from atts_harness.journal.schema import JOURNAL
from atts_harness.results import plain_json, published
from atts_harness.results.golds import Documents
from atts_harness.results.runs import tasks_of
from atts_harness.results.values import Results, ResultsFormat, SavedTask

CALIBRATION = ".run"
"""Suffix of the run directories that `atts calibrate` makes: they count as cost, not as rows."""


@dataclass
class RunSource:
    """One thing to report: a run directory, results, or both of one run."""

    run_dir: Path | None = None
    results: list[Results] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """The path that names it."""
        return self.run_dir or self.results[0].path


@dataclass(frozen=True)
class Unusable:
    """A path that cannot be used, and the reason."""

    path: Path
    reason: str


def find(paths: Iterable[Path]) -> tuple[list[RunSource], list[Unusable]]:
    """Everything that can be reported at or below some paths, each run once.

    Args:
        paths: run directories, results files, or folders that hold any number of both.

    Returns:
        The runs and results, in order; and the paths that cannot be used.
    """
    runs: dict[Path, RunSource] = {}
    results: dict[Path, Results] = {}
    refused: list[Unusable] = []
    for path in paths:
        try:
            journals, files = _below(path)
        except SettingError as error:
            refused.append(Unusable(path, without_path(error, path)))
            continue
        for folder in journals:
            runs.setdefault(folder.resolve(), RunSource(run_dir=folder))
        for file in files:
            if file.resolve() not in results:
                try:
                    results[file.resolve()] = read(file)
                except SettingError as error:
                    refused.append(Unusable(file, without_path(error, file)))
    apart: dict[tuple[str, ...], RunSource] = {}
    for source, loaded in sorted(results.items(), key=lambda item: item[1].path.name):
        place = _run_of(source, loaded)
        if place is not None:
            runs.setdefault(place, RunSource(run_dir=place)).results.append(loaded)
        else:
            key = (str(source.parent), *loaded.identity)
            apart.setdefault(key, RunSource()).results.append(loaded)
    return [*runs.values(), *apart.values()], refused


def read(path: Path) -> Results:
    """Read a results file of any program that a plugin can read.

    Raises:
        SettingError: none can.
    """
    formats = plugins.results_formats()
    if not formats:
        raise SettingError(f"{path}: no installed plugin reads results files")
    first: SettingError | None = None
    for reader in formats:
        try:
            return reader.read(path)
        except SettingError as error:
            first = first or error
        except Exception as error:  # a plugin's own fault is not the file's
            plugins.discovery().leave_out(reader.name, f"results format {reader.name!r}", error)
            first = first or SettingError(f"{path}: the reader of {reader.name} failed on it")
    assert first is not None
    raise first


def saved_tasks(path: Path, documents: Documents | None = None) -> list[SavedTask]:
    """The saved samples at a path.

    Args:
        path: a run directory, a folder with sample logs anywhere below it, one such log, or a file
            of published traces (`.jsonl` or `.jsonl.gz`).
        documents: where the documents of a run directory's tasks come from; only needed there.

    Raises:
        SettingError: there is nothing to read; the message says what was looked for.
    """
    if path.is_file():
        return [_from_file(path)]
    logs = [log for reader in plugins.results_formats() for log in _logs(reader, path)]
    if logs:
        return _named([(log, reader.samples(log)) for reader, log in logs], path)
    if (path / JOURNAL).is_file():
        return tasks_of(path, documents)
    raise SettingError(
        f"{path}: nothing to grade: neither a run directory ({JOURNAL}), nor lm-eval sample logs "
        "(samples_*.jsonl, from --log_samples), nor a file of published traces"
    )


def without_path(error: AttsError, path: Path) -> str:
    """An error's message without the path that it begins with."""
    return str(error).removeprefix(f"{path}: ")


def _named(tasks: Sequence[tuple[Path, SavedTask]], root: Path) -> list[SavedTask]:
    """Give several runs of one task different names, by their folders."""
    counts = Counter(saved.task for _, saved in tasks)
    return [
        saved
        if counts[saved.task] == 1
        else replace(saved, task=f"{saved.task} ({log.parent.relative_to(root)})")
        for log, saved in tasks
    ]


def _logs(reader: ResultsFormat, path: Path) -> Iterator[tuple[ResultsFormat, Path]]:
    if path.is_dir():
        for log in reader.logs(path):
            yield reader, log


def _from_file(path: Path) -> SavedTask:
    first = _first_row(path)
    if published.is_trace(first):
        return published.saved_task(path)
    for reader in plugins.results_formats():
        if reader.is_log(first):
            return reader.samples(path)
    raise SettingError(
        f"{path}: neither an lm-eval sample log nor published traces (its first line has "
        f"{', '.join(sorted(map(str, first))[:8])})"
    )


def _first_row(path: Path) -> Mapping[str, Any]:
    for number, line in read_lines(path):
        row = plain_json.decode(line, f"{path}: line {number}")
        if not isinstance(row, dict):
            raise SettingError(f"{path}: line {number} is not an object")
        return row
    raise SettingError(f"{path}: empty")


def _below(path: Path) -> tuple[list[Path], list[Path]]:
    if path.is_file():
        if path.suffix == ".jsonl":
            raise SettingError(
                f"{path}: is a sample log; give the results_*.json beside it, or the folder"
            )
        return [], [path]
    if not path.is_dir():
        raise SettingError(f"{path}: there is no such file or folder")
    journals = sorted(file.parent for file in path.rglob(JOURNAL))
    journals = [folder for folder in journals if folder == path or not _calibrates(folder, path)]
    files = [
        file
        for reader in plugins.results_formats()
        for file in reader.files(path)
        if not _calibrates(file.parent, path)
    ]
    if not journals and not files:
        raise SettingError(
            f"{path}: nothing to report: neither a run directory ({JOURNAL}) nor lm-eval results "
            "(results_*.json, from --output_path) here or below"
        )
    return journals, files


def _calibrates(folder: Path, root: Path) -> bool:
    parts: Sequence[str] = folder.relative_to(root).parts
    return any(part.endswith((CALIBRATION, ".json.run", ".npz.run")) for part in parts)


def _run_of(source: Path, loaded: Results) -> Path | None:
    """The run directory of results: the one that holds them, or the one that they name."""
    if loaded.run is None:
        return None
    named = loaded.run.settings.get("run_dir")
    if not named:
        return None
    around = [folder for folder in source.parents if (folder / JOURNAL).is_file()][:1]
    for folder in [*around, Path(str(named))]:
        if (folder / JOURNAL).is_file() and _same_run(folder, loaded):
            return folder.resolve()
    return None


def _same_run(folder: Path, loaded: Results) -> bool:
    """Whether a directory holds the run of the results, judged by strategy, options and seed."""
    mine = loaded.run
    assert mine is not None
    try:
        with open_run(folder) as run:
            its = run.record
    except AttsError:
        return True  # its reader will refuse it and say why
    same = (its.strategy, its.options) == (mine.strategy, mine.options)
    return same and its.settings.get("seed") == mine.settings.get("seed")
