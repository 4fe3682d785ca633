"""One list of columns: what every output shows of a figure is the same."""

import csv
import io

import msgspec
import pytest
from rich.console import Console

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.columns import columns_of, shown_columns
from atts_harness.analysis.leaderboard.outputs.csv_file import csv_text
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.leaderboard.outputs.terminal import render

DERIVED = ("dollars",)
"""A sum of what `leaderboard.json` has by role."""


def at(plain, key):
    """What stands at a dotted place in the JSON; None where a part of the way is missing."""
    for part in key.split("."):
        if not isinstance(plain, dict) or part not in plain:
            return None
        plain = plain[part]
    return plain


@pytest.fixture
def board(make_run):
    folder = make_run("atts", options={"rate": 0.5}, prices={"target_price": "1/4"})
    make_run("target-only", metrics=[(1.0, "target", {"kv_usage": 0.25})])
    make_run("draft-only")
    return report([folder.parent]).leaderboard


def test_a_columns_key_is_where_the_json_has_it(board):
    for row in board.rows:
        plain = msgspec.to_builtins(row)
        for column in columns_of(board.rows):
            if not column.key.startswith(DERIVED):
                assert column.value(row) == at(plain, column.key), column.key


def test_keys_and_names_are_unique(board):
    columns = columns_of(board.rows)
    assert len({column.key for column in columns}) == len(columns)
    names = [column.csv for column in columns if column.csv]
    assert len(set(names)) == len(names)


def test_every_output_has_what_a_column_writes(board):
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}
    console = Console(width=200, file=io.StringIO())
    console.print(render(board))
    seen, written = console.file.getvalue(), markdown(board)
    rows = [row for row in board.rows if not row.oracle]
    for column in shown_columns(rows, "text"):
        for row in rows:
            assert column.show(row) in seen, column.key
            value = column.value(row)
            assert lines[row.id][column.csv] == ("" if value is None else str(value))
            if isinstance(value, float):
                assert f"| {column.show(row)} |" in written, column.key


def test_columns_that_say_nothing_are_left_out(board):
    rows = [row for row in board.rows if row.strategy == "draft-only"]
    groups = {column.group for column in shown_columns(rows, "text")}
    assert "takeover" not in groups
    assert "missing" not in {column.key for column in shown_columns(rows, "text")}


def test_what_an_engine_accepted_has_a_column_where_it_is_known(make_run):
    looks = [
        (0.0, "target", {"proposed_tokens": 100.0, "accepted_tokens": 90.0}),
        (5.0, "target", {"proposed_tokens": 300.0, "accepted_tokens": 140.0}),
    ]
    folders = [make_run("target-only", metrics=looks), make_run("draft-only")]
    rows = report(folders).leaderboard.rows
    by_strategy = {row.strategy: row for row in rows}
    assert by_strategy["target-only"].accepted == {"target": 0.25}
    assert by_strategy["draft-only"].accepted == {}
    shown = [column.title for column in shown_columns(rows, "text")]
    assert "target accepted" in shown
    assert "target accepted" not in [
        column.title for column in shown_columns([by_strategy["draft-only"]], "text")
    ]
