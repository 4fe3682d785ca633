"""A cell's bank, made before the cell by `atts calibrate` and shared by cells that agree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.commands import calibrate_command
from atts_lm_eval.compare.plan import Plan
from atts_lm_eval.compare.process import ATTS, Process
from atts_lm_eval.compare.status import Calibration


def place_of(cell: Cell, plan: Plan) -> str:
    """The folder of a cell's calibration, relative to the comparison's; the same for the same.

    It is named after what the scores depend on, so that a changed plan makes another bank.
    """
    command = calibrate_command(cell, plan, Path("bank.json"), {})
    digest = hashlib.sha256(msgspec.json.encode(command[len(ATTS) :])).hexdigest()[:8]
    return f"calibrations/{cell.task_name}-{cell.pair}-{digest}"


def of_cell(cell: Cell, plan: Plan, seconds: float = 0.0) -> Calibration:
    """Where a cell's bank is or will be."""
    place = place_of(cell, plan)
    bank = f"{place}/bank.json"
    return Calibration(bank=bank, run_dir=f"{bank}.run", seconds=seconds)


def start(cell: Cell, plan: Plan, folder: Path, log: Path, servers: Mapping[str, Any]) -> Process:
    """Start making a cell's bank; an interrupted calibration goes on where it stopped.

    Args:
        cell: whose bank.
        plan: what holds for every cell.
        folder: the comparison's.
        log: takes the output.
        servers: `model_args` that reach the pair's servers.
    """
    bank = folder / of_cell(cell, plan).bank
    bank.parent.mkdir(parents=True, exist_ok=True)
    return Process(calibrate_command(cell, plan, bank, servers), log)
