"""A row whose samples vote: its accuracy is the vote's, its costs are a problem's."""

import msgspec
import pytest

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.columns import columns_of
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.statistics import clustered_mean, paired_difference
from atts_harness.records import SampleId


def ends(doc, repeat):
    """Two samples of every question are drawn, of the first two a third one that is given up."""
    if repeat < 2:
        return "answer"
    return "stopped" if repeat == 2 and doc < 2 else "not-drawn"


def right(doc, repeat):
    return (doc + repeat) % 3 != 0


def votes(doc):
    """Both right: 1; one of two: a tie."""
    return sum(right(doc, r) for r in range(2)) / 2


@pytest.fixture
def voted(make_run):
    return report(
        [make_run("esc", right, ends=ends, votes=votes, options={"inner": "target-only"})]
    )


def test_its_accuracy_is_the_votes_beside_pass_1_of_what_was_drawn(voted):
    (row,) = voted.leaderboard.rows
    shares = [votes(doc) for doc in range(6)]
    expected = clustered_mean(shares, range(6), bounds=(0, 1))
    assert (row.vote.value, row.vote.low, row.vote.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert row.accuracy is row.vote
    drawn = [right(doc, repeat) for doc in range(6) for repeat in range(2)]
    assert row.pass_1.value == pytest.approx(sum(drawn) / 12)
    assert (set(row.pass_at), row.maj_at) == ({"1"}, {})


def test_what_was_not_drawn_or_given_up_is_neither_wrong_nor_failed_nor_missing(voted):
    (row,) = voted.leaderboard.rows
    counts = (row.samples, row.not_drawn, row.stopped, row.failed, row.invalid, row.missing)
    assert counts == (24, 10, 2, 0, 0, 0)
    assert row.drawn == pytest.approx(14 / 6)
    samples = voted.samples[row.id]
    assert samples.absent[SampleId("t", 0, 2)] == "stopped"
    assert len(samples.grades) == 12


def test_its_tokens_calls_and_seconds_are_a_problems(voted):
    (row,) = voted.leaderboard.rows
    assert row.tokens.target_written == pytest.approx(40 * 14 / 6)
    assert row.calls["target/takeover"].per_sample == pytest.approx(14 / 6)
    assert row.speed.latency_p50 == pytest.approx(3 * 0.5 + 2.0)  # four samples, 0.5 s apart
    assert row.turns == pytest.approx(1.0 * 24 / 14)  # the material says one turn of each
    assert any(note.startswith("a vote: accuracy, tokens") for note in row.notes)


def test_results_without_their_run_say_the_same(make_run):
    folder = make_run("esc", right, ends=ends, votes=votes, log=False)
    (row,) = report([folder]).leaderboard.rows
    assert row.not_drawn is None  # nobody logged which
    assert row.tokens.target_written == pytest.approx(40 * 14 / 6)


def test_it_is_compared_by_question_with_rows_of_single_samples(make_run, voted):
    folders = [
        make_run("esc", right, name="v", ends=ends, votes=votes, options={"inner": "target-only"}),
        make_run("target-only"),
    ]
    found = report(folders)
    (one,) = found.leaderboard.tables[0].comparisons
    ids = {row.strategy: row.id for row in found.leaderboard.rows}
    grades = found.samples[ids["target-only"]].grades
    shares = [votes(doc) for doc in range(6)]
    expected = paired_difference(
        shares, range(6), [float(g.right) for g in grades.values()], [s.doc for s in grades]
    )
    value = expected.value if one.row == ids["esc"] else -expected.value
    assert one.difference.value == pytest.approx(value)
    assert (one.problems, one.samples, one.mcnemar) == (6, 6, None)


def test_every_output_shows_it(voted):
    (row,) = voted.leaderboard.rows
    shown = {column.csv: column.value(row) for column in columns_of([row])}
    assert shown["vote"] == row.vote.value
    assert shown["stopped"] == 2
    text = markdown(voted.leaderboard)
    assert "vote" in text
    assert "inner=target-only" in row.label
    again = msgspec.json.decode(msgspec.json.encode(row), type=type(row))
    assert again == row
