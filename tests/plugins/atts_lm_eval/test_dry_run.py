"""What a plan would cost: sizes from the tasks, times and tokens from two samples."""

import json
from pathlib import Path

import pytest
from atts_lm_eval import plugin as lm_eval_plugin
from typer.testing import CliRunner

from atts_harness import cli, plugins
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from atts_harness.comparing.probe import Probe
from atts_harness.comparing.status import Folder, merged
from atts_harness.errors import ContextLengthError, SettingError
from atts_harness.simulation import plugin as simulation_plugin
from atts_harness.testing.scripted import Says, ScriptedBackend

YAML = """
task: sums
custom_dataset: !function rows.build
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "42"
repeats: 3
generation_kwargs: {until: [], max_gen_toks: 64}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
"""
ROWS = """
def build(**_):
    import datasets

    return {"test": datasets.Dataset.from_list([{"q": f"{n} + {42 - n}?"} for n in range(5)])}
"""
PLAN = """
tasks: {task: sums, limit: 4}
include_path: tasks
shuffle: false
strategies:
  - draft-only
  - {strategy: atts, points: {rate: [0.1, 0.2]}, calibrate: {questions: 3, repeats: 2}}
  - {strategy: random-takeover, settings: {rate_of: atts-rate=0.2}}
"""


@pytest.fixture
def dry_run(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pair.draft = ScriptedBackend(
        lambda asked: Says(r"\boxed{42}" if "Hm." in asked.text else "Hm.", ending="length"),
        role="draft",
    )
    plugins.manager().register(lm_eval_plugin)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "sums.yaml").write_text(YAML)
    (tmp_path / "tasks" / "rows.py").write_text(ROWS)
    (tmp_path / "plan.yaml").write_text(PLAN)
    app = cli.build_app()

    def dry_run(*args):
        result = CliRunner().invoke(app, ["compare", "plan.yaml", "--dry-run", *args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert not (tmp_path / "runs").exists()
        return result.output

    return dry_run


def rows(output):
    """The cells of the table, by row."""
    lines = [line.strip("│ ").split("│") for line in output.splitlines() if line.startswith("│")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_sizes_need_no_model(dry_run, pair):
    output = dry_run()
    assert rows(output) == {
        "draft-only": ["4", "12", "768"],
        # Of 5 problems the evaluation has 4, which leaves one to calibrate on.
        "atts-rate=0.1": ["4", "12 (+2)", "768"],
        "atts-rate=0.2": ["4", "12 (+2)", "768"],
        "random-takeover": ["4", "12", "768"],
    }
    assert "4 cells (task sums, pair pair)" in output
    assert "4 cells, 48 requests, 3,072 tokens at most" in output
    assert "time: --gpus h100:3 simulates it, --probe asks the engines" in output
    assert not pair.opened


def test_a_plan_until_says_what_it_begins_with_and_its_floor(dry_run, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN + "until: {half_width: 0.1, cap: 8}\n")
    output = " ".join(dry_run().split())
    # Not the task's own three repeats: rounds begin with two. A calibration has its own number.
    assert rows(dry_run())["draft-only"] == ["4", "8", "512"]
    assert rows(dry_run())["atts-rate=0.1"] == ["4", "8 (+2)", "512"]
    assert "at the cap they are 128" in output
    assert "from 2 repeats to at most 8" in output
    # Student's t with 3 degrees of freedom is 3.182: times .5 / sqrt 3, and .3 / sqrt 3.
    assert "+- 0.919 if half of the problems" in output
    assert "+- 0.551 if nine in ten" in output


def test_no_floor_is_named_where_it_is_no_wider_than_what_was_asked(dry_run, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN + "until: {half_width: 0.95}\n")
    output = dry_run()
    assert "from 2 repeats to at most 64" in " ".join(output.split())
    assert "floor" not in output


def test_two_samples_of_each_strategy(dry_run, pair):
    found = rows(dry_run("--probe"))
    asked = [len(served.request.ids) for served in pair.draft.served]
    # First drafts of two samples: of draft-only, of atts once for both points, of the coin.
    assert asked.count(min(asked)) == 3 * 2
    calls = {row: cells[3] for row, cells in found.items()}
    assert calls["draft-only"] == "24"  # 12 samples of 2 turns
    assert int(calls["atts-rate=0.1"]) > 24  # with scores, and with the calibration's samples
    assert calls["atts-rate=0.1"] == calls["atts-rate=0.2"]
    assert found["draft-only"][4] == "0"  # target tokens
    assert " to " in found["draft-only"][6]


def test_times_lie_between_slots_in_use_and_two_at_once():
    probe = Probe(
        samples=2,
        opening=10.0,
        seconds=4.0,
        longest=4.0,
        busy={"draft": (64, 6.4), "score": (4, 1.6), "takeover": (32, 0.0)},
        calls=20,
        tokens={},
    )
    # 100 samples: 80 s of scores in 4 slots; two at once take 50 x 4 s.
    assert probe.expected(100) == (10 + 20, 10 + 200)
    assert probe.expected(2) == (14, 14)  # no sample is quicker than the longest


def test_a_probe_that_fails_says_so(dry_run, pair):
    pair.draft.max_length = 70
    with pytest.raises(ContextLengthError, match=r"max_gen_toks=64: with a prompt of \d+ tokens"):
        dry_run("--probe")


def test_metadata_reaches_the_task(dry_run, tmp_path):
    rows_py = ROWS.replace("**_", "problems=5, **_").replace("range(5)", "range(problems)")
    (tmp_path / "tasks" / "rows.py").write_text(rows_py)
    text = YAML.replace("custom_dataset", "metadata: {problems: 5}\ncustom_dataset")
    (tmp_path / "tasks" / "sums.yaml").write_text(text)
    plan = PLAN.replace("limit: 4", f"limit: 4, metadata: {json.dumps({'problems': 2})}")
    (tmp_path / "plan.yaml").write_text(plan)
    assert rows(dry_run())["draft-only"] == ["2", "6", "384"]


def test_what_is_done_is_shown(dry_run, tmp_path):
    given = ("--out", "earlier")
    assert "state" not in dry_run(*given)
    file = read_plan("plan.yaml")
    listed = expand(file)
    status = merged(None, listed, file.plan, "plan.yaml")
    status.cells[0].state, status.cells[0].starts = "done", 1
    folder = Folder(Path("earlier"))
    folder.write(status)
    folder.close()
    output = dry_run(*given)
    assert rows(output)[listed[0].row][-1] == "done"
    assert rows(output)[listed[1].row][-1] == "pending"
    assert f"1 of {len(listed)} cells are done and do not run again" in output


def test_gpus_say_the_time_without_a_model(dry_run, pair, tmp_path):
    config = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4}
    config |= {"intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 16384}
    for role in ("draft", "target"):
        (tmp_path / role).mkdir()
        (tmp_path / role / "config.json").write_text(json.dumps(config))
    plugins.manager().register(simulation_plugin)
    pairs = "pairs: {small: {backend: scripted, draft: draft, target: target}}\n"
    (tmp_path / "plan.yaml").write_text(PLAN + pairs)
    output = dry_run("--gpus", "l40s:2")
    assert not pair.opened
    names = ["draft-only", "atts-rate=0.1", "atts-rate=0.2", "random-takeover"]
    for name in names:
        assert output.count(f"sums/small/{name} ") >= 2  # in both tables
    assert "all cells one after the other: " in output
    told = " ".join(output.split())
    assert "rank online here" in told
    assert "sums/small/atts-rate=0.1, sums/small/atts-rate=0.2." in told
    with pytest.raises(SettingError, match="--gpus h10: not known"):
        dry_run("--gpus", "h10:1")


def test_gpus_without_a_dry_run_are_refused(dry_run):
    result = CliRunner().invoke(cli.build_app(), ["compare", "plan.yaml", "--gpus", "h100:3"])
    assert "--gpus: it is for --dry-run" in str(result.exception)
