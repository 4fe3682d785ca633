"""Rows that may stand side by side, and rows that may not."""

import json
import shutil
from pathlib import Path

import pytest

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.leaderboard.sources import Options

from .conftest import by_strategy, right_of, shown

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"version": 2.0}, "task version 1.0, there 2.0"),
        ({"wording": "Q: {{prompt}}"}, "prompt (task wording"),
        ({"temperature": 0.6}, "sampling: draft temperature 0.8, there 0.6"),
        ({"budget": 50}, "budget 100, there 50"),
        ({"problems": 4}, "6 questions, there 4, of which 4 are the same"),
        (
            {"asked": lambda doc: {"prompt": f"Find {doc}.", "answer": str(doc)}},
            "two tasks under one name: 6 of 6 questions",
        ),
    ],
)
def test_rows_that_differ_are_not_side_by_side(make_run, changed, words):
    folder = make_run("atts", name="a", **changed)
    make_run("target-only", name="b", **changed)
    make_run("draft-only", name="c")
    board = report([folder.parent]).leaderboard
    first, second = board.tables
    assert len(first.rows) == 2
    assert len(second.rows) == 1
    assert first.differs == ()
    assert words.split(",")[0] in " ".join(second.differs)
    assert words.split(", ")[-1].split("there ")[-1] in " ".join(second.differs)
    assert second.comparisons == ()
    assert "not beside the first table" in shown(board)

    forced = report([folder.parent], Options(force=True)).leaderboard
    (table,) = forced.tables
    assert forced.forced
    # What is made of the forced row is marked, too: every oracle has the draft's.
    made = [id_ for id_ in table.rows if forced.row(id_).strategy == "oracle"]
    marked = [id_ for id_ in table.marks if id_ not in made]
    assert [forced.row(id_).strategy for id_ in marked] == ["draft-only"]
    assert {*made} <= {*table.marks}
    assert "draft-only * is not comparable" in shown(forced, 200)
    assert "draft-only \\*" in markdown(forced)


def test_different_questions_are_never_paired_by_number(make_run):
    folder = make_run("target-only", name="a")
    make_run("draft-only", name="b", asked=lambda doc: {"prompt": "?", "answer": f"1{doc}"})
    (table,) = report([folder.parent], Options(force=True)).leaderboard.tables
    assert table.comparisons == ()


def test_other_repeats_may_stand_side_by_side_and_are_paired_on_the_shared_ones(make_run):
    folder = make_run("target-only", right_of(0.6), repeats=4)
    make_run("draft-only", right_of(0.4), repeats=2)
    board = report([folder.parent]).leaderboard
    (comparison,) = board.tables[0].comparisons
    assert (comparison.problems, comparison.samples) == (6, 12)
    assert "repeats" in shown(board)


def test_results_of_another_model_stand_beside_ours():
    board = report([DATA]).leaderboard
    (table,) = board.tables
    rows = by_strategy(board)
    assert set(rows) == {"hf", "atts"}
    assert rows["hf"].pass_1.value == 0.625
    assert rows["hf"].invalid == 0
    assert rows["hf"].truncated is None
    assert rows["hf"].takeover is None
    assert rows["hf"].tokens.target_computed is None
    assert rows["hf"].conditions.template == rows["atts"].conditions.template == "chat"
    assert rows["hf"].conditions.prompt == rows["atts"].conditions.prompt
    assert "not recorded, so not compared: min_p, top_k" in " ".join(rows["hf"].notes)
    told = json.loads(next((DATA / "atts").glob("results_*.json")).read_text())
    means = told["config"]["atts"]["statistics"]["atts_chain"]["tokens_per_sample"]
    assert rows["atts"].tokens.target_computed == means["target_computed"]
    assert rows["atts"].tokens.kept == means["kept"]
    (comparison,) = table.comparisons
    assert (comparison.problems, comparison.samples) == (4, 8)
    assert comparison.words == "out of reach: 4 problems, 6 could"


def test_a_raw_prompt_is_another_prompt(tmp_path):
    shutil.copytree(DATA, tmp_path / "data")
    file = next((tmp_path / "data" / "hf").glob("results_*.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": None}))
    first, second = report([tmp_path]).leaderboard.tables
    assert "prompt template" in " ".join(second.differs + first.differs)
