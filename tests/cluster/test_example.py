"""The example plan on the embedded pair, with and without Ray: every cell answers the same.

Minutes: `make test-ray-all` runs it. ATTS_TEST_LIMIT is the number of problems, ATTS_TEST_ROWS a
regular expression of strategies.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ray")
pytest.importorskip("atts_mock_cells")

PLAN = Path(__file__).parents[2] / "examples" / "compare" / "plan.yaml"
SECONDS = 2400
"""Of the plan, once with Ray and once without, on a machine with other work."""
# First drafts alone: all rows of ATTS share one bank.
CALIBRATE = {"metadata": {"split": "validation"}, "questions": 6, "repeats": 1, "turns": 1}
RATES = [0.2, 0.4]


def rank_by_file(row):
    """A row of the plan; one of ATTS has a bank from a file, and few points.

    A bank that a run makes for itself has the scores in the order in which they arrived.
    """
    if not isinstance(row, dict) or row["strategy"] != "atts":
        return row
    settings = {**row["settings"], "coverage": "marginal"}
    return {**row, "settings": settings, "points": {"rate": RATES}, "calibrate": CALIBRATE}


def answers(out):
    """By cell its samples' texts and decisions, from the journals."""
    from atts_harness.journal.reader import open_run

    found = {}
    for path in sorted(out.glob("cells/*/*/*/journal.sqlite3")):
        with open_run(path.parent) as run:
            assert run.missing() == []
            found[path.parent.name] = {
                (sample.id.doc, sample.id.repeat): (
                    sample.text,
                    [(d.turn, d.takeover, d.nonconformity) for d in sample.decisions],
                )
                for sample in run.samples()
            }
    return found


@pytest.mark.slow
@pytest.mark.timeout(2 * SECONDS)
def test_the_example_plan_gives_the_same_answers(comparison, machine, tmp_path):
    machine.have(2)
    plan = yaml.safe_load(PLAN.read_text())
    rows = os.environ.get("ATTS_TEST_ROWS", ".")
    strategies = [rank_by_file(row) for row in plan.pop("strategies")]
    names = [s if isinstance(s, str) else s.get("name", s["strategy"]) for s in strategies]
    chosen = [s for s, name in zip(strategies, names, strict=True) if re.search(rows, name)]
    plan["framework"] = "lm-eval"  # the mock cells are one, too
    plan |= {"limit": int(os.environ.get("ATTS_TEST_LIMIT", "2")), "repeats": 2}
    del plan["name"]
    comparison.plan(yaml.safe_dump({**plan, "strategies": chosen}))
    comparison.run(seconds=SECONDS)
    on_ray = answers(comparison.out)
    comparison.nothing_is_left()
    shutil.move(comparison.out, tmp_path / "on-ray")
    comparison.run(ray=False, seconds=SECONDS)
    assert answers(comparison.out) == on_ray
    assert len(on_ray) == len(comparison.cells) >= len(chosen)
