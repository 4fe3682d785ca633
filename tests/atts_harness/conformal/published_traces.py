"""The published traces: facts recorded by others, outside the tree. Tests skip without them."""

import gzip
import json
import math
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

SHARED = Path(os.environ.get("ATTS_SHARED_DIR", Path(__file__).parents[4] / "shared"))
TRACES = SHARED / "data" / "traces" / "atts_math500_ct0.jsonl.gz"
BANK = SHARED / "data" / "traces" / "atts_math500_ct0_calibration.npy"

needs_traces = pytest.mark.skipif(
    not (TRACES.is_file() and BANK.is_file()),
    reason=f"the published traces are not at {TRACES.parent} (set ATTS_SHARED_DIR)",
)


class Scored(NamedTuple):
    """One scored turn; sorts by question, turn, repeat."""

    question: int
    turn: int
    repeat: int
    score: float
    percentile: float
    takeover: bool


@cache
def samples():
    with gzip.open(TRACES) as lines:
        return tuple(json.loads(line) for line in lines)


@cache
def scored_turns():
    return tuple(
        Scored(
            sample["question_index"],
            turn["turn"],
            sample["repeat"],
            math.log(turn["ppl"]),
            turn["percentile"],
            "target" in turn,
        )
        for sample in samples()
        for turn in sample["turns"]
        if "ppl" in turn
    )
