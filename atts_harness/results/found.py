"""What was given to a report: run directories, lm-eval results and sample logs that go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard.rows import Refusal
from atts_harness.errors import AttsError, SettingError
from atts_harness.journal.reader import open_run
from atts_harness.journal.schema import JOURNAL
from atts_harness.records import SCHEMA_VERSION

DATED = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.json$")
"""How lm-eval names results files: its date, to which the sample logs' names fit."""
CALIBRATION = ".run"
"""What `atts calibrate` names its run directories after: they are cost, not rows."""


@dataclass(frozen=True)
class Results:
    """A results file of lm-eval.

    Attributes:
        path: the file.
        data: as loaded.
        logs: sample logs beside it, by task.
    """

    path: Path
    data: Mapping[str, Any]
    logs: Mapping[str, Path] = field(default_factory=dict)

    @property
    def run(self) -> Mapping[str, Any]:
        """The run record that one of our models left; empty for another model's."""
        found: Mapping[str, Any] = self.data.get("config", {}).get("atts") or {}
        return found

    @property
    def tasks(self) -> list[str]:
        """Tasks in it; groups are none."""
        return [name for name in self.data["results"] if name in self.data["configs"]]


@dataclass
class Found:
    """One thing to report: a run directory, results, or both of one run."""

    run_dir: Path | None = None
    results: list[Results] = field(default_factory=list)

    @property
    def path(self) -> Path:
        """What to call it."""
        return self.run_dir or self.results[0].path


def find(paths: Iterable[Path]) -> tuple[list[Found], list[Refusal]]:
    """Everything that can be reported at or below some paths, each run once.

    Args:
        paths: run directories, results files, or folders that hold any number of both.

    Returns:
        What was found, in order; and what cannot be used, with the reason.
    """
    runs: dict[Path, Found] = {}
    results: dict[Path, Results] = {}
    refused: list[Refusal] = []
    for path in paths:
        try:
            journals, files = _below(path)
        except SettingError as error:
            refused.append(Refusal(path=str(path), reason=_bare(error, path)))
            continue
        for folder in journals:
            runs.setdefault(folder.resolve(), Found(run_dir=folder))
        for file in files:
            if file.resolve() not in results:
                try:
                    results[file.resolve()] = read_results(file)
                except SettingError as error:
                    refused.append(Refusal(path=str(file), reason=_bare(error, file)))
    apart: dict[tuple[str, ...], Found] = {}
    for where, loaded in sorted(results.items(), key=lambda item: item[1].path.name):
        place = _run_of(where, loaded)
        if place is not None:
            runs.setdefault(place, Found(run_dir=place)).results.append(loaded)
        else:
            key = (str(where.parent), *_identity(loaded))
            apart.setdefault(key, Found()).results.append(loaded)
    return [*runs.values(), *apart.values()], refused


def read_results(path: Path) -> Results:
    """Read a results file of lm-eval.

    Raises:
        SettingError: it is none, or one of our runs of another version.
    """
    try:
        data = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise SettingError(f"{path}: not a results file of lm-eval: {error}") from error
    parts = ("results", "configs", "config")
    if not isinstance(data, dict) or not all(isinstance(data.get(p), dict) for p in parts):
        raise SettingError(
            f"{path}: not a results file of lm-eval (no `results`, `configs` and `config`); give "
            "a run directory, results_*.json from --output_path, or a folder with them"
        )
    loaded = Results(path, data, _logs(path))
    schema = loaded.run.get("schema")
    if loaded.run and schema != SCHEMA_VERSION:
        raise SettingError(
            f"{path}: was written by a run of schema {schema}, this reads {SCHEMA_VERSION}; report "
            f"it with version {loaded.run.get('harness') or 'that wrote it'} of the harness"
        )
    if not loaded.tasks:
        raise SettingError(f"{path}: holds no task's results")
    return loaded


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
        for file in sorted(path.rglob("*.json"))
        if DATED.search(file.name) and not _calibrates(file.parent, path)
    ]
    if not journals and not files:
        raise SettingError(
            f"{path}: nothing to report: neither a run directory ({JOURNAL}) nor lm-eval results "
            "(results_*.json, from --output_path) here or below"
        )
    return journals, files


def _calibrates(folder: Path, root: Path) -> bool:
    parts = folder.relative_to(root).parts
    return any(part.endswith((CALIBRATION, ".json.run", ".npz.run")) for part in parts)


def _logs(path: Path) -> dict[str, Path]:
    date = DATED.search(path.name)
    if date is None:
        return {}
    tail = f"_{date[1]}.jsonl"
    return {
        log.name.removeprefix("samples_").removesuffix(tail): log
        for log in sorted(path.parent.glob(f"samples_*{tail}"))
    }


def _run_of(where: Path, loaded: Results) -> Path | None:
    """The run directory of results: the one around them, or the one that they name."""
    if not loaded.run:
        return None
    named = loaded.run.get("settings", {}).get("run_dir")
    if not named:
        return None
    around = [folder for folder in where.parents if (folder / JOURNAL).is_file()][:1]
    for folder in [*around, Path(named)]:
        if (folder / JOURNAL).is_file() and _same_run(folder, loaded):
            return folder.resolve()
    return None


def _same_run(folder: Path, loaded: Results) -> bool:
    """Whether a directory holds the run that the results are of, as far as the names go."""
    try:
        with open_run(folder) as run:
            record = msgspec.to_builtins(run.record)
    except AttsError:
        return True  # it will be refused with its own words
    mine = loaded.run
    same = all(record.get(key) == mine.get(key) for key in ("strategy", "options"))
    return same and record["settings"].get("seed") == mine.get("settings", {}).get("seed")


def _identity(loaded: Results) -> tuple[str, ...]:
    """Runs of the same model with the same arguments are one, of which the last counts."""
    config = loaded.data["config"]
    parts = (config.get("model"), config.get("model_args"), config.get("gen_kwargs"))
    return tuple(msgspec.json.encode(part, order="deterministic").decode() for part in parts)


def _bare(error: SettingError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
