"""The published traces for the scripts here: scored turns, in the order question, turn, repeat.

They are facts recorded by others and no part of this project: `ATTS_SHARED_DIR` says where they
are, else `../shared` beside the project is looked at.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

from atts_harness.conformal import CalibrationOptions, ConformalPolicy
from atts_harness.records import SampleId

SHARED = Path(os.environ.get("ATTS_SHARED_DIR", Path(__file__).parents[3] / "shared"))
TRACES = SHARED / "data" / "traces" / "atts_math500_ct0.jsonl.gz"
BANK = SHARED / "data" / "traces" / "atts_math500_ct0_calibration.npy"
RATE = 0.4
TASK = "math"


class Row(NamedTuple):
    """A scored turn; sorts by question, turn, repeat."""

    question: int
    turn: int
    repeat: int
    score: float

    @property
    def sample(self) -> SampleId:
        """Whose."""
        return SampleId(TASK, self.question, self.repeat)


def scored_turns() -> list[Row]:
    """All of them, in order; ends the script where the traces are not there."""
    if not TRACES.is_file():
        sys.exit(f"skipped: the published traces are not at {TRACES} (set ATTS_SHARED_DIR)")
    with gzip.open(TRACES) as lines:
        samples = [json.loads(line) for line in lines]
    return sorted(
        Row(sample["question_index"], turn["turn"], sample["repeat"], math.log(turn["ppl"]))
        for sample in samples
        for turn in sample["turns"]
        if "ppl" in turn
    )


def offer_first_drafts(policy: ConformalPolicy, rows: list[Row]) -> None:
    """Presampling: every problem's first drafts."""
    first: dict[int, dict[int, float]] = {}
    for row in rows:
        if row.turn == 0:
            first.setdefault(row.question, {})[row.repeat] = row.score
    for question, drafts in first.items():
        policy.offer(TASK, question, drafts)


__all__ = [
    "BANK",
    "RATE",
    "TASK",
    "CalibrationOptions",
    "Row",
    "offer_first_drafts",
    "scored_turns",
]
