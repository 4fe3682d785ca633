"""`atts plan` as a user meets it."""

import json

import pytest
import typer.testing

from atts_harness.cli import build_app
from atts_harness.errors import SettingError

PAIR = ("--pair", "r1-llama-8b-qwq-32b")


def plan(*arguments):
    result = typer.testing.CliRunner().invoke(build_app(), ["plan", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_a_table_says_what_it_is_made_of():
    shown = plan(
        *PAIR, "--gpus", "h100:3", "--gpu-split", "1+2", "--problems", 2, "--sweep", "rate=.2"
    )
    assert shown.count("atts rate=0.2") == 2
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "roofline" in shown


def test_json_holds_every_row():
    given = ("--gpus", "h100:3", "--gpu-split", "1+2", "--problems", 2, "--price", 2.5, "--json")
    rows = json.loads(plan(*PAIR, *given, "--sweep", "repeats=1,2"))
    assert [row["point"] for row in rows] == [{"repeats": "1"}, {"repeats": "2"}]
    assert all(row["dollars"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpus", "h10:1"), "not known; there are a100"),
        (("--gpus", "h100:0"), "expected NAME:COUNT"),
        (("--gpus", "l40s:1"), "do not fit"),
        (("--gpus", "h100:3", "--gpu-split", "3"), "such as 1\\+2"),
        (("--gpus", "h100:3", "--gpu-split", "2+2"), "needs 4 GPUs"),
        (("--gpus", "h100:3", "--split", "1+2"), "is --gpu-split here .* of `atts calibrate`"),
        (("--gpus", "h100:3", "--sweep", "rate="), "give values"),
        (("--gpus", "h100:3", "--sweep", "rate"), "expected NAME=VALUE"),
        (("--gpus", "h100:3", "--sweep", "=1,2"), "expected NAME=VALUE"),
        (("--gpus", "h100:3", "--sweep", "ratee=.2"), "--sweep: unknown .* did you mean rate"),
        (
            ("--gpus", "h100:3", "--sweep", "rate=.2", "--strategy", "target-only"),
            "--sweep: unknown setting 'rate'",
        ),
        (("--gpus", "h100:3", "--sweep", "repeats=0"), "whole numbers"),
        (("--gpus", "h100:3", "--sweep", "repeats=x"), "whole numbers"),
        (("--gpus", "h100:3", "--set", "ratee=.2"), "did you mean rate"),
        (("--gpus", "h100:3", "--strategy", "attss"), "did you mean atts"),
        (("--gpus", "h100:3", "--out", "/nowhere/plan.html"), "a file in a folder that is there"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words):
    with pytest.raises(SettingError, match=words):
        plan(*PAIR, *arguments)


def test_without_models_the_remedy_is_named():
    with pytest.raises(SettingError, match="--draft and --target"):
        plan("--gpus", "h100:3")
