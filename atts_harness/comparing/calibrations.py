"""A cell's bank, made before the cell by `atts calibrate` and shared by cells that agree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.arguments import format_arguments
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Calibrate, Plan
from atts_harness.comparing.reaching import reaching
from atts_harness.comparing.status import CalibrationStatus


def place_of(cell: Cell, plan: Plan) -> str:
    """The folder of a cell's calibration, relative to the comparison's. Equal ones share a folder.

    Its name has a digest of what the scores depend on, so that a changed plan makes another bank.
    """
    command = calibrate_command(cell, plan, Path("bank.json"), {})
    digest = hashlib.sha256(msgspec.json.encode(command)).hexdigest()[:8]
    return f"calibrations/{cell.task_name}-{cell.pair}-{digest}"


def of_cell(cell: Cell, plan: Plan, seconds: float = 0.0) -> CalibrationStatus:
    """Where a cell's bank is or will be."""
    place = place_of(cell, plan)
    bank = f"{place}/bank.json"
    return CalibrationStatus(bank=bank, run_dir=f"{bank}.run", seconds=seconds)


def calibrate_command(cell: Cell, plan: Plan, bank: Path, further: Mapping[str, Any]) -> list[str]:
    """Arguments of the `atts` command that makes a cell's bank.

    Args:
        cell: the cell that the bank is for.
        plan: what holds for every cell.
        bank: the file to write.
        further: settings that depend on where servers are.
    """
    settings = cell.calibrate or Calibrate()
    args = reaching(cell.strategy, calibrated_settings(cell), further)
    command = ["calibrate", str(bank), "--task", cell.task.task]
    command += ["--model-args", format_arguments(args)]
    if settings.split is not None:
        command += ["--split", settings.split]
    for flag, value in (
        ("--questions", settings.questions),
        ("--turns", settings.turns),
        ("--evaluated", cell.task.limit),
    ):
        if value is not None:
            command += [flag, str(value)]
    if settings.evaluation_questions:
        command.append("--evaluation-questions")
    metadata = {**cell.metadata, **settings.metadata}
    if settings.repeats is not None:
        metadata["repeats"] = settings.repeats
    if metadata:
        command += ["--metadata", format_arguments(metadata)]
    if plan.system_instruction is not None:
        command += ["--system-instruction", plan.system_instruction]
    if not plan.apply_chat_template:
        command.append("--no-chat-template")
    if plan.include_path is not None:
        command += ["--include-path", plan.include_path]
    if plan.framework is not None:
        command += ["--framework", plan.framework]
    return command


# Settings that calibration fixes itself, whatever the cell does with the bank afterwards.
_NOT_CALIBRATED = frozenset({"coverage", "control", "rule", "pvalue", "ties"})


def calibrated_settings(cell: Cell) -> dict[str, Any]:
    """The settings that a cell's bank depends on.

    Cells with equal ones share a bank. Settings that only decide what is done with scores are left
    out; so is the rate if only first turns are scored, for then nothing is taken over.
    """
    left_out = set(_NOT_CALIBRATED)
    if cell.calibrate is not None and cell.calibrate.turns == 1:
        left_out |= {"rate", "budget"}
    return {key: value for key, value in cell.settings.items() if key not in left_out}
