"""The leaderboard written out: JSON, CSV, terminal; hostile names."""

import csv
import io
import json

import msgspec
import pytest

from atts_harness import neutral
from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.outputs.csv_file import csv_text
from atts_harness.analysis.leaderboard.outputs.json_file import read_json, write_json
from atts_harness.analysis.leaderboard.outputs.markdown import markdown
from atts_harness.analysis.leaderboard.outputs.terminal import render
from atts_harness.analysis.leaderboard.rows import INDISTINCT, Leaderboard
from atts_harness.errors import SettingError
from atts_harness.terminal import console

from .conftest import shown


def test_json_is_read_back_as_it_was_written(five, tmp_path):
    board = report([five]).leaderboard
    write_json(board, tmp_path / "leaderboard.json")
    assert read_json(tmp_path / "leaderboard.json") == board
    plain = json.loads((tmp_path / "leaderboard.json").read_text())
    assert (plain["format"], plain["version"]) == ("atts-leaderboard", 1)
    (tmp_path / "new.json").write_text(json.dumps(plain | {"version": 99}))
    with pytest.raises(SettingError, match="is atts-leaderboard version 99, this reads"):
        read_json(tmp_path / "new.json")
    (tmp_path / "no.json").write_text("[1")
    with pytest.raises(SettingError, match=r"not a leaderboard\.json"):
        read_json(tmp_path / "no.json")


def test_the_csv_has_the_jsons_figures(five):
    board = report([five]).leaderboard
    lines = {line["id"]: line for line in csv.DictReader(io.StringIO(csv_text(board)))}
    assert len(lines) == len(board.rows)
    for row in board.rows:
        line = lines[row.id]
        assert float(line["pass@1"]) == row.pass_1.value
        computed = row.tokens.target_computed
        assert line["target_computed_tokens"] == ("" if computed is None else str(computed))
        assert line["flops_estimate"] == ""


def test_tables_fit_120_columns_and_have_every_word(five):
    board = report([five]).leaderboard
    text = shown(board)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 120
    assert INDISTINCT in text
    assert "…" not in text
    for row in board.rows:
        assert row.label in text


def test_names_are_no_markup(make_run):
    folder = make_run("atts", models={"draft": "a|b", "target": "[bold]x[/bold]<script>"})
    make_run("target-only", models={"target": "other"})
    board = report([folder.parent]).leaderboard
    assert "[bold]x[/bold]<script>" in shown(board, 300)
    written = markdown(board)
    assert "a\\|b" in written
    assert "<script>" not in written.replace("\\<", "")


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "\x1b[2Jx", "[atts16]", "[bold]x[/bold]", "\u202ex", "a\nb|c"]
)
def test_a_hostile_name_takes_effect_in_no_output(make_run, name):
    board = report([make_run("target-only").parent]).leaderboard
    (row,) = board.rows
    row = msgspec.structs.replace(row, label=name, notes=(*row.notes, f"note {name}"))
    board = msgspec.structs.replace(board, rows=(row,), warnings=(f"warning {name}",))
    out = io.StringIO()
    console(file=out, width=300).print(render(board))
    (line,) = csv.DictReader(io.StringIO(csv_text(board)))
    for text in (out.getvalue(), markdown(board), csv_text(board)):
        assert not set(text) & set("\x1b\u202e")
    assert not line["label"].startswith("=")
    assert f"note {neutral.line(name)}" in " ".join(out.getvalue().split())
    assert f"warning {neutral.markdown(name)}" in markdown(board)


def test_the_schema_describes_itself():
    schema = msgspec.json.schema(Leaderboard)
    assert {"Row", "Table", "Comparison", "Interval"} <= schema["$defs"].keys()
