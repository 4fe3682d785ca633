"""Turns that nobody judged are shown in every output: such a run is not what its name says."""

import csv
import io
import json

import pytest
from rich.console import Console

from atts_harness.analysis.html.page import write_page
from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.command import write
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.leaderboard.outputs.terminal import render

REASONS = ("score-failed", "empty-draft", "p-value", "p-value")


def shown(leaderboard):
    console = Console(width=300, file=io.StringIO())
    console.print(render(leaderboard))
    return console.file.getvalue()


@pytest.mark.parametrize("journal", [True, False])
def test_both_rates_and_each_reason_are_in_every_output(make_run, tmp_path, journal):
    folder = make_run("atts", reason=lambda doc, repeat: REASONS[repeat], journal=journal)
    made = report([folder])
    (row,) = made.leaderboard.rows
    # of four: one failed score, one empty draft, one judged and left, one judged and taken over
    assert (row.takeover.realised.value, row.takeover.taken_over) == (0.5, 0.75)
    assert row.takeover.apart == {"score-failed": 6, "empty-draft": 6}
    words = (
        "12 of 24 turns (50.0%) were taken over without being judged (score-failed 25.0%, "
        "empty-draft 25.0%)"
    )
    write(made, tmp_path / "out", html=False)
    plain = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    (line,) = csv.DictReader((tmp_path / "out" / "leaderboard.csv").open())
    assert plain["rows"][0]["takeover"]["taken_over"] == 0.75
    assert line["takeover_realised"] == "0.5"
    assert line["takeover_all_turns"] == "0.75"
    assert (line["score_failed"], line["empty_draft"], line["not_judged"]) == (
        "0.25",
        "0.25",
        "0.5",
    )
    assert words in line["notes"]
    page = tmp_path / "report.html"
    write_page(made.leaderboard, made.samples, page)
    for output in (
        shown(made.leaderboard),
        markdown(made.leaderboard).replace("\\", ""),
        page.read_text(),
    ):
        assert words in output
        assert "0.750" in output
        assert "0.250" in output
    assert words in " ".join(made.leaderboard.warnings)


def test_a_run_of_failed_scores_is_called_what_it_is(make_run):
    folder = make_run("atts", reason=lambda doc, repeat: "score-failed")
    found = report([folder]).leaderboard
    (row,) = found.rows
    assert row.takeover.realised is None
    assert row.takeover.taken_over == 1.0
    (warning,) = found.warnings
    assert "No turn was judged, so this is takeover of every turn" in warning
    assert warning in shown(found)


def test_a_few_empty_drafts_are_a_note_and_no_warning(make_run):
    folder = make_run(
        "atts",
        problems=30,
        reason=lambda doc, repeat: "empty-draft" if (doc, repeat) == (0, 0) else "p-value",
    )
    found = report([folder]).leaderboard
    assert found.warnings == ()
    assert "1 of 120 turns (0.8%)" in " ".join(found.rows[0].notes)


def test_where_every_turn_was_judged_nothing_is_said(make_run):
    (row,) = report([make_run("atts")]).leaderboard.rows
    assert not [note for note in row.notes if "judged" in note]
    assert row.takeover.unjudged == 0.0
