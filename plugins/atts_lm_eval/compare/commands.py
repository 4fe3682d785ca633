"""The commands that a cell amounts to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.errors import RunDirError
from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.plan import Calibrate, Plan
from atts_lm_eval.compare.process import ATTS


def lm_eval_command(cell: Cell, plan: Plan, folder: Path, further: Mapping[str, Any]) -> list[str]:
    """The `lm_eval` command of a cell.

    It goes by `atts lm-eval`, which is lm-eval's own command and needs no start-up code.

    Args:
        cell: what to run.
        plan: what holds for every cell.
        folder: the cell's run directory, which takes lm-eval's output too.
        further: settings that depend on where things are: servers, bank, rate.
    """
    args = {**cell.settings, **further, "run_dir": str(folder)}
    command = [*ATTS, "lm-eval", "--model", cell.strategy, "--model_args", text_of(args)]
    command += ["--tasks", cell.task.task]
    if plan.apply_chat_template:
        command.append("--apply_chat_template")
    if plan.system_instruction is not None:
        command += ["--system_instruction", plan.system_instruction]
    if plan.include_path is not None:
        command += ["--include_path", plan.include_path]
    if cell.task.limit is not None:
        command += ["--limit", str(cell.task.limit)]
    if cell.task.num_fewshot is not None:
        command += ["--num_fewshot", str(cell.task.num_fewshot)]
    if metadata := metadata_of(cell):
        command += ["--metadata", text_of(metadata)]
    # With a file's name lm-eval makes up no folder of its own.
    return [*command, "--output_path", str(folder / "results.json"), "--log_samples"]


def calibrate_command(cell: Cell, plan: Plan, bank: Path, further: Mapping[str, Any]) -> list[str]:
    """The `atts calibrate` command of a cell's bank.

    Args:
        cell: whose bank.
        plan: what holds for every cell.
        bank: the file to write.
        further: settings that depend on where servers are.
    """
    wanted = cell.calibrate or Calibrate()
    args = {**calibrated_settings(cell), **further}
    command = [*ATTS, "calibrate", str(bank), "--task", cell.task.task]
    command += ["--model-args", text_of(args)]
    if wanted.split is not None:
        command += ["--split", wanted.split]
    for flag, value in (
        ("--questions", wanted.questions),
        ("--turns", wanted.turns),
        ("--evaluated", cell.task.limit),
    ):
        if value is not None:
            command += [flag, str(value)]
    if wanted.evaluation_questions:
        command.append("--evaluation-questions")
    metadata = {**metadata_of(cell), **wanted.metadata}
    if wanted.repeats is not None:
        metadata["repeats"] = wanted.repeats
    if metadata:
        command += ["--metadata", text_of(metadata)]
    if plan.system_instruction is not None:
        command += ["--system-instruction", plan.system_instruction]
    if not plan.apply_chat_template:
        command.append("--no-apply-chat-template")
    if plan.include_path is not None:
        command += ["--include-path", plan.include_path]
    return command


# What calibration does its own way, whatever the cell does with the bank afterwards.
_NOT_CALIBRATED = frozenset({"coverage", "control", "rule", "pvalue", "ties"})


def calibrated_settings(cell: Cell) -> dict[str, Any]:
    """The settings that a cell's bank depends on.

    Cells that agree in them share a bank: what is done with scores is not in them, and where only
    first turns are scored nothing is taken over, so their rate is not either.
    """
    left_out = set(_NOT_CALIBRATED)
    if cell.calibrate is not None and cell.calibrate.turns == 1:
        left_out |= {"rate", "budget"}
    return {key: value for key, value in cell.settings.items() if key not in left_out}


def metadata_of(cell: Cell) -> dict[str, Any]:
    """What lm-eval's `--metadata` says for a cell."""
    found = dict(cell.task.metadata)
    if cell.task.repeats is not None:
        found["repeats"] = cell.task.repeats
    return found


def text_of(settings: Mapping[str, Any]) -> str:
    """Settings as JSON, which keeps types, lists and commas as they are."""
    return msgspec.json.encode(settings).decode()


def newest_results(folder: Path) -> Path | None:
    """The results file that lm-eval wrote last in a cell's folder; None: there is none."""
    found = sorted(folder.glob("results_*.json"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


class _Results(msgspec.Struct):
    results: dict[str, dict[str, Any]]


# The figures that stand for a task, best first; each is followed by the name of a filter.
HEADLINES = ("pass@1", "exact_match", "acc", "acc_norm", "f1")


def headline(results: Path) -> tuple[str, float] | None:
    """Name and value of the figure that stands for a results file; None where there is none.

    The mean over tasks where it is of several.

    Raises:
        RunDirError: it cannot be read.
    """
    try:
        found = msgspec.json.decode(results.read_bytes(), type=_Results)
    except (OSError, msgspec.DecodeError) as error:
        raise RunDirError(f"{results}: cannot be read: {error}") from error
    for wanted in HEADLINES:
        values = [
            float(value)
            for figures in found.results.values()
            for name, value in figures.items()
            if name.partition(",")[0] == wanted and isinstance(value, (int, float))
        ]
        if values:
            return wanted, sum(values) / len(values)
    return None
