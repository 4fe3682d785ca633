"""Plan files: what they say, and what is said of wrong ones."""

import re

import pytest
from atts_lm_eval import plugin as lm_eval_plugin
from atts_lm_eval import presets

from atts_harness import plugins
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan, shipped
from atts_harness.errors import SettingError

SOUND = """\
name: sums
seed: 3
limit: 40
repeats: 4
settings: {seed: 7}
pairs:
  one: pair
  two: {preset: pair, draft_device: cpu}
tasks:
  - sums
  - task: products
    limit: 10
    settings: {max_gen_toks: 64}
strategies:
  - draft-only
  - strategy: atts
    name: replace
    settings: {on_reject: replace}
    points: {rate: [0.1, 0.2], turns: [4]}
    calibrate: {questions: 8, turns: 1}
"""


@pytest.fixture
def read(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text, **options):
        (tmp_path / "plan.yaml").write_text(text)
        return read_plan("plan.yaml", **options)

    return read


def test_everything_a_plan_says(read):
    plan = read(SOUND).plan
    assert (plan.name, plan.out, plan.seed, plan.limit) == ("sums", "runs/compare/sums", 3, 40)
    assert plan.pairs == {
        "one": {"preset": "pair"},
        "two": {"preset": "pair", "draft_device": "cpu"},
    }
    assert [(task.task, task.limit) for task in plan.tasks] == [("sums", None), ("products", 10)]
    alone, entry = plan.strategies
    assert (alone.strategy, alone.points, alone.calibrate) == ("draft-only", [{}], None)
    assert entry.points == [{"rate": [0.1, 0.2], "turns": [4]}]
    assert (entry.calibrate.questions, entry.calibrate.turns) == (8, 1)


def test_what_a_plan_leaves_open(read):
    plan = read("tasks: sums\nstrategies: [draft-only]\n").plan
    assert plan.pairs == {"pair": {"preset": "pair"}}  # the default preset
    assert (plan.name, plan.out) == ("plan", "runs/compare/plan")
    assert plan.limit is None


def test_pairs_from_the_command_line_take_the_place_of_the_plans(read):
    plan = read(SOUND, pairs=["pair"], model_args={"draft_device": "cuda:1"}).plan
    assert plan.pairs == {"pair": {"preset": "pair", "draft_device": "cuda:1"}}


WRONG = {
    "unknown key": ("limit: 40", "limt: 40", r"plan.yaml, line 3: unknown setting 'limt'.*limit"),
    "key of an entry": ("name: replace", "nam: replace", r"line 17: unknown setting 'nam'.*name"),
    "key of a calibration": ("{questions: 8", "{question: 8", r"line 20: .*'question'.*questions"),
    "wrong type": ("limit: 40", "limit: many", r"plan.yaml, line 3: limit: expected `?int"),
    "out of range": ("repeats: 4", "repeats: 0", r"line 4: repeats: expected `?int`? >= 1"),
    "no such strategy": ("- draft-only", "- draft-onyl", r"line 15: strategy: .*draft-only"),
    "no such preset": ("one: pair", "one: pear", r"line 7: preset: .*'pear'.*pair"),
    "no such option": ("{on_reject: replace}", "{on_rejct: replace}", r"line 18: .*on_reject"),
    "not its option": ("- draft-only", "- {strategy: draft-only, settings: {rate: 0.1}}",
                       r"line 15: draft-only: rate: an option of strategy"),
    "value out of range": ("rate: [0.1, 0.2]", "rate: [0.1, 1.2]", r"line 19: .*rate.*<= 1"),
    "empty point": ("rate: [0.1, 0.2]", "rate: []", r"line 19: rate: has no value"),
    "not a backend's": ("draft_device", "draft_devise", r"line 8: .*draft_device"),
    "no tasks": ("  - sums\n  - task: products\n    limit: 10\n    settings: {max_gen_toks: 64}\n",
                 "  []\n", r"line 9: tasks: is empty"),
    "a key twice": ("seed: 3", "seed: 3\nlimit: 5", r"line 4: 'limit' stands here and on line 3"),
    "no YAML": ("settings: {seed: 7}", "settings: {seed: 7", r"plan.yaml, line \d+: is no YAML"),
    "a name that is no folder": ("name: replace", "name: a/b", r"line 17: name 'a/b': becomes"),
    "ours": ("{seed: 7}", "{run_dir: x}", r"line 5: run_dir: every cell has a folder"),
    "repeats as metadata": ("    limit: 10", "    metadata: {repeats: 2}", r"write it as the task"),
    "bank and calibration": ("{on_reject: replace}", "{bank: b.json}", r"drop bank"),
    "no bank to rank against": ("  - draft-only", "  - {strategy: draft-only, calibrate: true}",
                                r"draft-only ranks against no bank"),
    "nothing left to calibrate on": ("limit: 40\n", "\n",
                                     r"line 20: .*takes every question of sums; give a limit"),
    "settings at odds": ("{on_reject: replace}", "{control: adaptive, rule: reference}",
                         r"replace-rate=0.1-turns=4: rule=reference is the published rule"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_errors_name_file_line_and_the_nearest(read, wrong):
    old, new, message = WRONG[wrong]
    assert old in SOUND
    with pytest.raises(SettingError) as raised:
        expand(read(SOUND.replace(old, new)))
    assert re.search(message, str(raised.value)), str(raised.value)
    assert str(raised.value).startswith("plan.yaml, line ")
    assert "\n" not in str(raised.value)


@pytest.fixture
def suites(pair):
    """The plans that a package brings."""
    plugins.manager().register(lm_eval_plugin)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.yaml", "none.yaml: cannot be read: No such file"),
        ("published-margnal", "published-marginal"),
        (".", "is a folder; give the plan's file"),
    ],
)
def test_a_plan_that_is_not_there(suites, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=re.escape(message)):
        read_plan(given)


def test_a_plan_that_says_nothing(read):
    with pytest.raises(SettingError, match="a plan is a mapping with the keys name, out"):
        read("- sums\n")
    with pytest.raises(SettingError, match="line 1: `tasks` is missing"):
        read("strategies: [draft-only]\n")


def test_published_pairs():
    pairs = {preset.name: preset.settings for preset in presets.published_pairs()}
    targets = {(p["draft"].split("/")[1], p["target"].split("/")[1]) for p in pairs.values()}
    assert targets == {
        ("DeepSeek-R1-Distill-Qwen-1.5B", "QwQ-32B"),
        ("DeepSeek-R1-Distill-Llama-8B", "QwQ-32B"),
        ("Qwen2.5-7B-Instruct", "QwQ-32B"),
        ("Llama-3.1-8B-Instruct", "s1.1-32B"),
        ("DeepSeek-R1-Distill-Qwen-1.5B", "DeepSeek-R1-Distill-Llama-70B"),
    }
    assert not [name for name in pairs if "+" in name]  # what joins presets


@pytest.mark.parametrize("name", ["published-marginal", "published-conditional"])
def test_published_suites_are_sound_plans(suites, name):
    """On the scripted pair: their settings are accepted, whatever serves the models."""
    assert name in shipped()
    cells = expand(read_plan(name, pairs=["pair"]))
    atts = [cell for cell in cells if cell.strategy == "atts"]
    assert atts
    coverage = name.rpartition("-")[2]
    for cell in atts:
        options = cell.parsed().options()
        assert (options.coverage, options.rule, options.rate) == (coverage, "reference", 0.4)
        assert cell.calibrate.evaluation_questions
        assert cell.calibrate.turns == 1
