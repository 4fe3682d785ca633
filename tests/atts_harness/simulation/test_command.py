"""`atts plan` as a user meets it."""

import gzip
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
        (("--gpus", "h100:3", "--sweep", "repeats=" + "9" * 5000), "whole numbers"),
        (("--gpus", "h100:3", "--set", "ratee=.2"), "did you mean rate"),
        (("--gpus", "h100:3", "--strategy", "attss"), "did you mean atts"),
        (("--gpus", "h100:" + "9" * 5000), "expected NAME:COUNT"),
        (("--gpus", "h100:19", "--gpu-split", "3+16"), "32 heads and 8 KV heads .* use 1"),
        (("--gpus", "h100:17", "--gpu-split", "1+16"), "40 heads and 8 KV heads .* use 8"),
        (("--gpus", "h100:3", "--price", "-1"), "--price -1: expected dollars"),
        (("--gpus", "h100:3", "--price", "nan"), "--price nan: expected dollars"),
        (("--gpus", "h100:3", "--task", "mine"), "give --trace, too"),
        (("--gpus", "h100:3", "--sweep", "rate=.2", "--sweep", "rate=.4"), "rate: is given twice"),
        (("--gpus", "h100:3", "--set", "rate=.2,rate=.4"), "rate: is given twice"),
        (("--gpus", "h100:3", "--sweep", "draft=a,b"), "give it as --draft"),
        (("--gpus", "h100:3", "--set", "backend=vllm"), "--set backend: .* leave it out"),
        (("--gpus", "h100:3", "--set", "repeats=2"), "--set repeats: give it as --sweep repeats=2"),
        (("--gpus", "h100:3", "--sweep", "rate=nan"), "rate"),
        (("--gpus", "h100:3", "--sweep", "rate=1.5"), "rate"),
        (("--gpus", "h100:3", "--out", "/nowhere/plan.html"), "a file in a folder that is there"),
        (("--gpus", "h100:3", "--out", "/proc/plan.html"), "--out /proc/plan.html: .* be written"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words):
    with pytest.raises(SettingError, match=words):
        plan(*PAIR, *arguments)


def test_a_number_of_questions_is_at_least_one():
    result = typer.testing.CliRunner().invoke(
        build_app(), ["plan", *PAIR, "--gpus", "h100:3", "--problems", "0"]
    )
    assert result.exit_code == 2
    assert "--problems" in result.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no finished sample"),
        (b"{}\n", "line 1: not a published trace"),
        (b"\x00\xff", "line 1: not a published trace"),
        (gzip.compress(b'{"question_index": 0}\n' * 999)[:20], "cannot be read after line 0"),
        (gzip.compress(bytes(1 << 27)), "line 1 is longer than 64 MiB"),
        (
            b'{"question_index": 0, "repeat": 0, "turns": [{"turn": 0, "draft": "so"}]}\n',
            "no turn of it was scored",
        ),
    ],
    ids=["empty", "another form", "not text", "cut off", "a bomb", "without decisions"],
)
def test_a_trace_that_cannot_be_read_is_one_line(tmp_path, content, words):
    file = tmp_path / "trace.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(SettingError, match=words) as caught:
        plan(*PAIR, "--gpus", "h100:3", "--trace", file)
    assert str(caught.value).count(str(file)) == 1
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["nowhere", "/dev/zero"])
def test_a_trace_that_is_not_there_names_the_option(place):
    with pytest.raises(SettingError, match=r"--trace .*: there is no such file or folder"):
        plan(*PAIR, "--gpus", "h100:3", "--trace", place)


@pytest.mark.parametrize(
    "figures",
    [
        "{memory: 80, bandwidth: 0, flops: 1.0e+15, link: 4.0e+11}",
        "{memory: .nan, bandwidth: 3.0e+12, flops: 1.0e+15, link: 4.0e+11}",
        "{memory: 80}",
        "[80, 1]",
        "fast",
    ],
)
def test_a_gpu_of_another_form_is_one_line(tmp_path, figures):
    file = tmp_path / "gpus.yaml"
    file.write_text(f"mine: {figures}\n")
    with pytest.raises(SettingError, match="not a file of GPUs"):
        plan(*PAIR, "--gpus", "mine:3", "--gpu-file", file)


@pytest.mark.parametrize("size", ["0", "-8", '"many"', "null"])
def test_a_model_of_another_form_is_one_line(tmp_path, size):
    config = CONFIG | {"num_attention_heads": json.loads(size)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(SettingError, match="has no num_attention_heads"):
        plan("--draft", tmp_path, "--target", tmp_path, "--gpus", "h100:3")


CONFIG = {
    **{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 8},
    **{"intermediate_size": 128, "vocab_size": 1000},
}


def test_a_wrong_row_is_refused_before_another_one_is_simulated(monkeypatch):
    monkeypatch.delattr("atts_harness.simulation.simulations.simulate")
    with pytest.raises(SettingError, match="rate: expected"):
        plan(*PAIR, "--gpus", "h100:3", "--sweep", "rate=.2,1.5")


@pytest.mark.parametrize("pair", ["paper", "r1-lama-8b-qwq-32b", ""])
def test_a_pair_is_a_preset_that_names_two_models(pair):
    with pytest.raises(SettingError, match=r"--pair .*: not a preset .* r1-llama-8b-qwq-32b"):
        plan("--pair", pair, "--gpus", "h100:3")


def test_a_folder_that_is_no_run_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(SettingError, match=f"--trace {tmp_path}: no run directory .*atts import"):
        plan(*PAIR, "--gpus", "h100:3", "--trace", tmp_path)


def test_without_models_the_remedy_is_named():
    with pytest.raises(SettingError, match="--draft and --target, or a plan file"):
        plan("--gpus", "h100:3")
