"""Plan files: what they say, and what is said of wrong ones."""

import re
import sys

import pytest
from atts_glimprouter import glimprouter
from atts_lm_eval import plugin as lm_eval_plugin
from atts_lm_eval import presets
from atts_specreason import specreason
from atts_speculative_thinking import plugin as thinking
from atts_votes import plugin as votes

from atts_harness import plugins
from atts_harness.comparing.cells import expand
from atts_harness.comparing.order import in_order
from atts_harness.comparing.plan import read_plan, shipped
from atts_harness.errors import SettingError
from atts_harness.strategy import Problem, RunInfo
from atts_harness.transcript import Prompt

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
    assert plan.version == 1
    assert plan.pairs == {"pair": {"preset": "pair"}}  # the default preset
    assert (plan.name, plan.out) == ("plan", "runs/compare/plan")
    assert plan.limit is None


@pytest.mark.parametrize("title", ["", "''", "' '", "[a, b]", "{a: 1}", "true", "null"])
def test_a_title_that_is_none_is_refused_in_a_line(read, title):
    with pytest.raises(
        SettingError, match=r"^plan\.yaml, line 1: name: is not a title \(got"
    ) as caught:
        read(SOUND.replace("name: sums", f"name: {title}", 1))
    assert "leave the key out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_without_a_title_has_that_of_its_file(read):
    assert read(SOUND.replace("name: sums\n", "", 1)).plan.name == "plan"
    assert read(SOUND.replace("name: sums", "name: 2026", 1)).plan.name == "2026"


def test_pairs_from_the_command_line_take_the_place_of_the_plans(read):
    plan = read(SOUND, pairs=["pair"], model_args={"draft_device": "cuda:1"}).plan
    assert plan.pairs == {"pair": {"preset": "pair", "draft_device": "cuda:1"}}


WRONG = {
    "unknown key": ("limit: 40", "limt: 40", r"plan.yaml, line 3: unknown setting 'limt'.*limit"),
    "key of an entry": ("name: replace", "nam: replace", r"line 17: unknown setting 'nam'.*name"),
    "key of a calibration": ("{questions: 8", "{question: 8", r"line 20: .*'question'.*questions"),
    "newer": ("name: sums", "versoin: 1\nversion: 2", r"line 2: version: .*2.*up to 1; install"),
    "newer, as a text": ("name: sums", "version: '2'", r"line 1: version: .*2.*up to 1; install"),
    "no version": ("name: sums", "version: 0", r"line 1: version: expected `?int`? >= 1"),
    "version of another type": ("name: sums", "version: 1.0.1", r"line 1: version: expected `?int"),
    "wrong type": ("limit: 40", "limit: many", r"plan.yaml, line 3: limit: expected `?int"),
    "out of range": ("repeats: 4", "repeats: 0", r"line 4: repeats: expected `?int`? >= 1"),
    "no such strategy": ("- draft-only", "- draft-onyl", r"line 15: unknown strategy .*draft-only"),
    "no such preset": ("one: pair", "one: pear", r"line 7: unknown preset 'pear'.*pair"),
    "no such option": ("{on_reject: replace}", "{on_rejct: replace}", r"line 18: .*on_reject"),
    "not its option": ("- draft-only", "- {strategy: draft-only, settings: {rate: 0.1}}",
                       r"line 15: draft-only: rate: an option of strategy"),
    "value out of range": ("rate: [0.1, 0.2]", "rate: [0.1, 1.2]", r"line 19: .*rate.*<= 1"),
    "empty point": ("rate: [0.1, 0.2]", "rate: []", r"line 19: rate: has no value"),
    "not a backend's": ("draft_device", "draft_devise", r"line 8: .*draft_device"),
    "no tasks": ("  - sums\n  - task: products\n    limit: 10\n    settings: {max_gen_toks: 64}\n",
                 "  []\n", r"line 9: tasks: is empty"),
    "a key twice": ("seed: 3", "seed: 3\nlimit: 5", r"line 4: 'limit' stands here and on line 3"),
    "not YAML": ("settings: {seed: 7}", "settings: {seed: 7", r"plan.yaml, line \d+: is not YAML"),
    "a name with a slash": ("name: replace", "name: a/b", r"line 17: name 'a/b': becomes"),
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
    for plugin in (lm_eval_plugin, votes, glimprouter, specreason, thinking):
        plugins.manager().register(plugin)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.yaml", "none.yaml: no such file"),
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


@pytest.mark.parametrize("name", ["reviewers-2026", "reviewers-2026-embedded"])
def test_the_plan_of_2026_has_every_rival_with_its_control_and_a_ruler(suites, name):
    cells = expand(read_plan(name, pairs=["pair"]))
    of = {cell.row: cell.parsed() for cell in cells}
    assert {cell.strategy for cell in cells} == {
        "draft-only", "target-only", "atts", "random-takeover", "glimprouter", "specreason",
        "self-consistency", "adaptive-consistency", "esc", "deepconf",
    }  # fmt: skip
    ruler = {row: made.options().most for row, made in of.items() if "consistency-target-" in row}
    assert 1 in ruler.values()
    assert max(ruler.values()) == cells[0].task.repeats
    assert {made.options().inner for made in of.values() if made.strategy.votes} == {
        "target-only", "atts",
    }  # fmt: skip
    coins = {cell.row: cell.needs for cell in cells if cell.strategy == "random-takeover"}
    assert set(coins) == {"random-as-atts", "random-as-glimprouter"}
    assert all(needed.endswith(row.rpartition("-")[2]) for row, needed in coins.items())
    for made in of.values():
        if made.strategy.votes:
            repeats = cells[0].task.repeats
            strategy = made.strategy(made.options().checked(), RunInfo())
            strategy.check(Problem("t", 0, Prompt(()), kind="maths"), repeats)


def test_the_plan_of_the_frontier_has_every_method_and_control(suites):
    cells = expand(read_plan("does-it-pay", pairs=["pair"]))
    assert {cell.strategy for cell in cells} == {
        "draft-only", "target-only", "atts", "random-takeover", "synchronous", "always-takeover",
        "specreason", "speculative-thinking", "glimprouter", "adaptive-consistency", "deepconf",
    }  # fmt: skip
    rates = [cell.point["rate"] for cell in cells if cell.row.startswith("atts-replace")]
    assert len(rates) == len(set(rates)) >= 4
    places = {cell.parsed().options().on_reject for cell in cells if cell.strategy == "atts"}
    assert places == {"continue", "replace"}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, r"line \d+: its anchors unfold into more than 100000 values"),
        (MERGED, r"line \d+: its anchors unfold into more than 100000 values"),
        ("a: &a [*a]", "an anchor that holds itself"),
        ("a: &a {b: *a}", "an anchor that holds itself"),
        ("[" * 60 + "]" * 60, "nested deeper than 50 levels"),
        ("[" * 5000, "nested too deeply"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("? {a: b}\n: 1", "a key must be a word"),
        ("tasks: 2024-99-99", "holds an invalid value"),
        ("tasks: " + "9" * 5000, "holds an invalid value"),
        ("tasks: !!python/object/apply:os.system [ls]", "is not YAML"),
        ("tasks: \x07", "is not YAML"),
        ("tasks: \0", "is not YAML"),
        ("- 1\n- 2", "a plan is a mapping"),
        ("", "a plan is a mapping"),
        ("# " + "x" * (1 << 20), "larger than 1 MiB"),
    ],
)
def test_files_that_were_made_to_do_harm(read, text, message):
    with pytest.raises(SettingError, match=message):
        read(text)


def test_anchors_that_are_used_for_what_they_are_for(read):
    text = SOUND.replace("settings: {seed: 7}", "settings: &own {seed: 7}")
    text = text.replace("settings: {on_reject: replace}", "settings: {<<: *own, rate: 0.3}")
    assert read(text).plan.strategies[1].settings == {"seed": 7, "rate": 0.3}


def test_a_product_that_nobody_can_run_is_refused_before_it_is_multiplied(read):
    values = ", ".join(f"{n / 100}" for n in range(100))
    points = "".join(f"{key}: [{values}], " for key in ("rate", "turns", "draft_tokens", "top_p"))
    plan = read(SOUND.replace("points: {rate: [0.1, 0.2], turns: [4]}", f"points: {{{points}}}"))
    with pytest.raises(SettingError, match=r"line \d+: strategies: .* at most 10000"):
        expand(plan)


def test_a_row_whose_name_no_folder_can_have(read):
    plan = read(SOUND.replace("turns: [4]", f"draft_stop: [{'x' * 300}]"))
    with pytest.raises(SettingError, match="too long; give it a `name`"):
        expand(plan)


def calls_of(work):
    """How many functions of Python's it calls: what it costs, the same on every machine."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_checking_a_plan_grows_with_its_cells_and_no_faster(read):
    def plan(rows):
        rates = ", ".join(f"{n / 1000:.3f}" for n in range(1, rows + 1))
        followers = "".join(
            f"  - {{strategy: random-takeover, name: r{n}, "
            f"settings: {{rate_of: 'atts-rate={n / 1000}'}}}}\n"
            for n in range(1, rows + 1)
        )
        return read(
            "tasks: [sums, products]\nlimit: 5\nstrategies:\n"
            f"  - {{strategy: atts, points: {{rate: [{rates}]}}}}\n{followers}"
        )

    costs = []
    for rows in (25, 100):
        file = plan(rows)
        cells = expand(file)
        assert len(cells) == 4 * rows
        assert sum(cell.needs is not None for cell in cells) == 2 * rows
        costs.append(calls_of(lambda file=file: in_order(expand(file), 1)))
    assert costs[1] < 4.4 * costs[0]
    assert costs[1] < 400 * 300  # a cell took 1,700 calls once; 251 now
