"""Times that a plan takes more than once."""

import json

import pytest

from atts_harness.analysis.leaderboard.build import report


def named(folder, **told):
    (folder / "cell.json").write_text(json.dumps(told))


def test_repeats_are_one_row_with_a_range(make_run):
    base = make_run("atts", name="atts")
    named(base, name="t/p/atts")
    for n in (2, 3):
        again = make_run("atts", name=f"atts+time{n}")
        named(again, name=f"t/p/atts+time{n}", times_of="t/p/atts")
    (row,) = report([base.parent]).leaderboard.rows
    assert row.source.run_dir == str(base)
    assert row.speed.measured == 3
    assert row.speed.makespan_range.low <= row.speed.makespan <= row.speed.makespan_range.high
    assert row.speed.samples_per_second == pytest.approx(row.samples / row.speed.makespan)


def test_a_repeat_without_its_row_is_a_row(make_run):
    again = make_run("atts", name="atts+time2")
    named(again, name="t/p/atts+time2", times_of="t/p/atts")
    (row,) = report([again]).leaderboard.rows
    assert row.speed.measured == 1
    assert row.speed.makespan_range is None


def test_single_times_and_warm_up_are_marked(make_run):
    from atts_harness.analysis.leaderboard.outputs.sheets import sections

    base = make_run("atts")
    named(base, name="t/p/atts", warm_up=True)
    board = report([base]).leaderboard
    (section,) = sections(board)
    assert any("one measurement" in note for note in section.notes)
    assert any("warm-up is in its times" in note for note in section.notes)


def test_a_speed_up_has_the_range_of_both(make_run):
    for strategy in ("target-only", "atts"):
        base = make_run(strategy, name=strategy)
        named(base, name=f"t/p/{strategy}")
        again = make_run(strategy, name=f"{strategy}+time2")
        named(again, name=f"t/p/{strategy}+time2", times_of=f"t/p/{strategy}")
    rows = {row.strategy: row for row in report([base.parent]).leaderboard.rows}
    speed = rows["atts"].speed
    assert speed.speedup_range.low <= speed.speedup_target_only <= speed.speedup_range.high
    assert rows["target-only"].speed.speedup_range is None


def test_cells_that_ran_beside_each_other_have_no_times(make_run):
    runs = [make_run(strategy, name=strategy) for strategy in ("target-only", "atts")]
    for base in runs:
        named(base, name=f"t/p/{base.name}", timing=False, warm_up=True, machine="node 3")
    rows = report([runs[0].parent]).leaderboard.rows
    for row in rows:
        assert (row.speed.makespan, row.speed.latency_p50, row.speed.samples_per_second) == (
            None, None, None,
        )  # fmt: skip
        assert row.speed.speedup_target_only is None
        assert row.speed.concurrency
        assert "`timing: false`: cells ran beside each other, so it has no times" in row.notes
        assert not any("node 3" in note or "warm-up" in note for note in row.notes)


def test_the_machine_of_a_cell_is_said(make_run):
    base = make_run("atts")
    named(base, name="t/p/atts", machine="node 3")
    (row,) = report([base]).leaderboard.rows
    assert "ran on node 3: its times are of that machine" in row.notes
