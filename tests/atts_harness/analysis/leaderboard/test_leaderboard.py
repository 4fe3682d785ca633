"""From runs to rows, tables and comparisons."""

import csv
import io
import json
import shutil

import pytest

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.outputs.csv_file import csv_text
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.leaderboard.sources import Options
from atts_harness.analysis.statistics import clustered_mean, pass_at_k
from atts_harness.ledger.prices import Price

from .conftest import by_strategy, right_of, shown


def test_a_row_has_what_its_run_says(five):
    row = by_strategy(report([five]).leaderboard)["atts"]
    assert (row.problems, row.repeats, row.samples) == (10, 4, 40)
    rights = [[right_of(0.7)(d, r) for r in range(4)] for d in range(10)]
    shares = [sum(own) / 4 for own in rights]
    expected = clustered_mean(shares, range(10), bounds=(0, 1))
    assert (row.pass_1.value, row.pass_1.low, row.pass_1.high) == (
        expected.value,
        expected.low,
        expected.high,
    )
    assert row.pass_at["4"].value == pytest.approx(
        sum(pass_at_k(4, sum(own), 4) for own in rights) / 10
    )
    assert row.maj_at["4"].value == sum(sum(own) > 2 for own in rights) / 10
    assert "16" not in row.pass_at
    assert row.takeover.nominal == 0.5
    assert (row.takeover.realised.value, row.takeover.judged) == (0.5, 40)
    # two of four samples are taken over: 40 scored at 20 + 20 uncached, 20 at 5 written
    assert row.tokens.target_computed == 20 + 5 / 2
    assert row.tokens.target_written == 5 / 2
    assert row.tokens.draft_computed == 30
    assert row.calls["target/takeover"].per_sample == 0.5
    assert row.speed.latency_p50 == row.speed.latency_p95 == 5.0
    assert row.speed.makespan == 39 * 0.5 + 5.0
    assert row.flops is None
    assert row.dollars == {}
    assert row.peak_kv == {}


def test_results_without_their_run_say_the_same_where_they_know(make_run):
    with_run = make_run("atts", name="with")
    alone = make_run("atts", name="alone", journal=False)
    one, two = (report([folder]).leaderboard.rows[0] for folder in (with_run, alone))
    assert (two.source.kind, two.source.run_dir) == ("results", None)
    for name in ("pass_at", "maj_at", "tokens", "calls", "conditions", "takeover"):
        assert getattr(one, name) == getattr(two, name), name
    rate = two.takeover.realised
    assert rate.low < rate.value < rate.high
    assert (rate.clusters, rate.items) == (two.problems, two.takeover.judged)
    assert two.speed.latency_p95 is None


def test_results_of_earlier_versions_have_a_rate_without_interval(make_run):
    folder = make_run("atts", journal=False)
    file = next(folder.rglob("results_*.json"))
    results = json.loads(file.read_text())
    rates = results["config"]["atts"]["statistics"]["t"]["takeover"]
    for name in ("realised_interval", "realised_stderr", "judged_problems"):
        del rates[name]
    file.write_text(json.dumps(results))
    rate = report([folder]).leaderboard.rows[0].takeover.realised
    assert rate.value == rates["realised_rate"]
    assert (rate.low, rate.high, rate.stderr) == (None, None, None)


def test_speedups_are_against_rows_of_the_same_concurrency(five, make_run):
    rows = by_strategy(report([five]).leaderboard)
    alone, barrier, atts = (rows[n] for n in ("target-only", "synchronous", "atts"))
    assert atts.speed.speedup_target_only == pytest.approx(
        alone.speed.makespan / atts.speed.makespan
    )
    assert atts.speed.speedup_synchronous == pytest.approx(
        barrier.speed.makespan / atts.speed.makespan
    )
    assert atts.speed.synchronous == barrier.id
    assert alone.speed.speedup_target_only == 1.0
    make_run("atts", name="wide", problems=10, prices={"draft_concurrency": 7}, seed=2)
    wide = next(
        row
        for row in report([five]).leaderboard.rows
        if row.speed.concurrency.get("draft_concurrency") == 7
    )
    assert wide.speed.speedup_target_only is None
    assert wide.speed.target_only is None


def test_every_strategy_is_compared_once_with_each_reference(five):
    board = report([five]).leaderboard
    (table,) = board.tables
    pairs = [
        (board.row(c.row).strategy, board.row(c.reference).strategy) for c in table.comparisons
    ]
    assert {reference for _, reference in pairs} == {"target-only", "random-takeover", "atts"}
    assert len(pairs) == len({frozenset(pair) for pair in pairs}) == 9
    assert ("atts", "target-only") in pairs
    assert ("draft-only", "atts") in pairs
    one = next(c for c in table.comparisons if c.words.startswith("worse than target-only"))
    assert one.family == 9
    assert one.p_adjusted == pytest.approx(min(1.0, 9 * one.p))
    assert one.p_adjusted <= 0.05
    assert one.needed == 9
    assert one.no_worse.words == "worse by more than 0.02"
    for other in table.comparisons:  # words and intervals cannot contradict
        assert other.distinguishable == other.simultaneous.leaves_out(0.0)
        assert other.distinguishable == (other.p_adjusted < 0.05)
    assert one.simultaneous.low < one.difference.low
    assert one.simultaneous.level == pytest.approx(1 - 0.05 / 9)
    assert one.distinguishable


def test_rows_are_held_against_the_one_that_is_named(five):
    board = report([five], Options(reference="synchronous", margin=0.3)).leaderboard
    (table,) = board.tables
    assert {board.row(c.reference).strategy for c in table.comparisons} == {"synchronous"}
    assert {c.kind for c in table.comparisons} == {"named"}
    assert len(table.comparisons) == table.comparisons[0].family == 4
    by_label = report([five], Options(reference="atts rate=0.5 replace")).leaderboard
    ids = {c.reference for c in by_label.tables[0].comparisons}
    assert len(ids) <= 1
    assert all(c.no_worse.margin == 0.3 for c in table.comparisons)


def test_the_difference_is_that_of_the_rows(five):
    board = report([five]).leaderboard
    for comparison in board.tables[0].comparisons:
        row, reference = board.row(comparison.row), board.row(comparison.reference)
        difference = row.pass_1.value - reference.pass_1.value
        assert comparison.difference.value == pytest.approx(difference)
        assert (comparison.problems, comparison.samples) == (10, 40)


def test_oracles_are_the_better_of_two_and_marked_everywhere(five):
    board = report([five]).leaderboard
    oracles = {row.label: row for row in board.rows if row.oracle}
    assert set(oracles) == {"oracle, per sample", "oracle, per problem"}
    draft, target = right_of(0.3), right_of(0.8)
    either = [draft(d, r) or target(d, r) for d in range(10) for r in range(4)]
    best = [max(sum(f(d, r) for r in range(4)) for f in (draft, target)) for d in range(10)]
    assert oracles["oracle, per sample"].pass_1.value == sum(either) / 40
    assert oracles["oracle, per problem"].pass_1.value == sum(best) / 40
    assert not any(c for c in board.tables[0].comparisons if "oracle" in c.row + c.reference)
    assert all(row.tokens.target_computed is None for row in oracles.values())
    assert "oracle, per sample †" in shown(board)
    assert "oracle, per sample †" in markdown(board)
    lines = list(csv.DictReader(io.StringIO(csv_text(board))))
    assert [line["oracle"] for line in lines].count("True") == 2
    assert "gold answers in hand" in shown(board)


def test_an_oracle_of_a_row_that_was_forced_is_marked_like_it(make_run):
    folder = make_run("draft-only", missing=[(0, 1)])
    make_run("target-only")
    make_run("atts")
    board = report([folder.parent], Options(force=True)).leaderboard
    (table,) = board.tables
    marked = {board.row(id_).label: words for id_, words in table.marks.items()}
    (words,) = marked.pop("draft-only")
    assert words.startswith("not finished: 1 of 24")
    assert marked == {
        "oracle, per sample": (f"made of draft-only: {words}",),
        "oracle, per problem": (f"made of draft-only: {words}",),
    }
    assert "oracle, per sample † *" in shown(board)
    assert f"is not comparable: made of draft-only: {words}" in " ".join(shown(board).split())
    lines = list(csv.DictReader(io.StringIO(csv_text(board))))
    assert {bool(line["not_comparable"]) for line in lines if line["oracle"] == "True"} == {True}


def test_no_oracle_without_both_models_alone(make_run):
    folder = make_run("draft-only")
    make_run("atts")
    assert not any(row.oracle for row in report([folder.parent]).leaderboard.rows)


def test_operating_points_are_in_the_labels(make_run):
    folder = make_run("atts", name="a", options={"rate": 0.2, "on_reject": "replace", "turns": 5})
    make_run("atts", name="b", options={"rate": 0.4, "on_reject": "replace", "turns": 5})
    make_run("atts", name="c", options={"rate": 0.4, "on_reject": "replace", "turns": 5}, seed=7)
    rows = report([folder.parent]).leaderboard.rows
    assert sorted(row.label for row in rows) == [
        "atts rate=0.2 replace",
        "atts rate=0.4 replace [seed 1234]",
        "atts rate=0.4 replace [seed 7]",
    ]
    assert rows[0].point.keys() == {"rate"}
    assert len({row.id for row in rows}) == 3
    (warning,) = report([folder.parent]).leaderboard.warnings
    assert "different seeds (7, 1234)" in warning


def test_a_run_is_one_row_however_often_it_is_given(make_run):
    folder = make_run("atts")
    results = next(folder.glob("results_*.json"))
    board = report([folder, results, folder.parent]).leaderboard
    assert len(board.rows) == 1


@pytest.mark.parametrize(
    ("told", "note"),
    [
        ('{"caches": {"draft": "cleared"}}', None),
        (
            '{"caches": {"target": "not cleared: no way is known"}, "name": "x"}',
            "prefix cache of the target not cleared: no way is known",
        ),
        ("{", "cell.json cannot be read: Input data was truncated"),
    ],
)
def test_a_cache_that_a_comparison_could_not_clear_is_noted(make_run, told, note):
    folder = make_run("atts")
    (folder / "cell.json").write_text(told)
    (row,) = report([folder]).leaderboard.rows
    assert [n for n in row.notes if "cache" in n or "cell.json" in n] == ([note] if note else [])


def test_the_way_scores_came_is_noted_where_an_engine_has_several(make_run):
    routes = {"draft": "/a prompt_logprobs", "target": "/b, the segment only"}
    rows = report(
        [
            make_run("atts", routes=routes),
            make_run("random-takeover", routes=routes),  # which scores nothing
            make_run("atts", name="other", budget=99),
        ]
    ).leaderboard.rows
    assert len(rows) == 3
    said = [(row.strategy, note) for row in rows for note in row.notes if "scores by" in note]
    assert said == [("atts", "target: scores by /b, the segment only")]


def test_of_several_results_of_one_run_the_newest_counts(make_run):
    folder = make_run("atts", right_of(0.5))
    for kind in ("results_", "samples_t_"):
        old = next(folder.glob(f"{kind}*"))
        shutil.copy(old, old.with_name(old.name.replace("2026-01", "2025-01")))
    (row,) = report([folder]).leaderboard.rows
    assert "2026-01" in row.source.results
    assert "1 older results of the same run left out" in row.notes


def test_one_problem_has_no_interval_and_says_so(make_run):
    folder = make_run("target-only", problems=1)
    make_run("draft-only", problems=1)
    board = report([folder.parent]).leaderboard
    assert all(row.pass_1.low is None for row in board.rows)
    assert board.tables[0].comparisons[0].distinguishable is None
    assert "one problem: no interval" in shown(board)
    assert "one problem: no interval" in markdown(board)


def test_prices_flops_and_memory_where_they_are_known(make_run):
    folder = make_run(
        "atts", metrics=[(1.0, "target", {"kv_usage": 0.25}), (2.0, "target", {"kv_usage": 0.5})]
    )
    options = Options(
        prices={"target": Price(1.0, 0.5, 4.0)}, parameters={"draft": 10.0, "target": 100.0}
    )
    (row,) = report([folder], options).leaderboard.rows
    # 24 scores of 20 fresh and 10 cached, 12 takeovers of 30 cached and 5 written
    dollars = 24 * (20 * 1 + 10 * 0.5) + 12 * (30 * 0.5 + 5 * 4)
    assert row.dollars == {"target": pytest.approx(dollars / 1e6)}
    assert row.flops.by_role["draft"] == 2 * 10 * 30
    assert row.flops.by_role["target"] == 2 * 100 * (20 + 5 / 2)
    assert row.flops.source == {"draft": "setting", "target": "setting"}
    assert row.peak_kv == {"target": 0.5}
    text = shown(report([folder], options).leaderboard)
    assert "FLOPs are without attention" in text
    assert "peak KV" in text


def test_a_runs_own_prices_count_where_none_are_given(make_run):
    folder = make_run("target-only", prices={"target_price": "1/4"})
    (row,) = report([folder]).leaderboard.rows
    assert row.dollars == {"target": pytest.approx(24 * (10 + 40 * 4) / 1e6)}


def test_the_cost_of_a_bank_is_that_of_its_run(make_run, tmp_path):
    make_run("atts", name="bank.json.run")
    folder = make_run(
        "atts",
        options={"rate": 0.5, "calibration": "auto", "bank": str(tmp_path / "runs" / "bank.json")},
    )
    make_run("atts", name="lost", options={"rate": 0.5, "calibration": "file", "bank": "gone.json"})
    make_run("atts", name="online", options={"rate": 0.5, "calibration": "auto", "bank": None})
    board = report([folder.parent]).leaderboard
    assert len(board.rows) == 3  # the calibration is a cost, no row
    found = {row.source.run_dir.rpartition("/")[2]: row.calibration for row in board.rows}
    assert found["atts"].target_tokens == 24 * 20 + 12 * 5
    assert found["atts"].draft_tokens == 24 * 30
    assert found["atts"].seconds > 0
    assert found["lost"].target_tokens is None
    assert found["online"].source == "online"


def test_samples_that_nobody_graded_are_graded_here(make_run):
    folder = make_run("target-only", journal=False)
    log = next(folder.glob("samples_*.jsonl"))
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    for row in rows:
        row.pop("graded")
        row["resps"] = [[f"\\boxed{{{row['doc']['answer']}}}"] * 3 + ["no answer"]]
    log.write_text("\n".join(map(json.dumps, rows)))
    (row,) = report([folder]).leaderboard.rows
    assert row.pass_1.value == 0.75
    assert row.invalid == 6
    assert any("graded for this report" in note for note in row.notes)


def test_results_without_a_sample_log_keep_what_lm_eval_counted(make_run):
    folder = make_run("target-only", log=False, journal=False)
    (row,) = report([folder]).leaderboard.rows
    assert (row.pass_1.value, row.pass_1.low, row.pass_1.high) == (0.5, 0.2, 0.8)
    assert (row.problems, row.repeats) == (6, 4)
    assert "not compared" in " ".join(row.notes)
