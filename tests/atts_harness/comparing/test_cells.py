"""Cells, their order, their commands, and what of them must not change."""

import json

import pytest

from atts_harness.comparing import calibrations
from atts_harness.comparing.calibrations import calibrate_command
from atts_harness.comparing.cells import expand
from atts_harness.comparing.order import in_order
from atts_harness.errors import SettingError
from atts_harness.framework import Evaluation

from .conftest import GRID


def test_tasks_by_pairs_by_strategies_by_points(expanded):
    assert list(expanded())[:5] == [
        "sums/one/draft-only",
        "sums/one/replace-rate=0.1",
        "sums/one/replace-rate=0.2",
        "sums/one/random-takeover",
        "sums/two/draft-only",
    ]
    assert len(expanded()) == 2 * 2 * 4


def test_times_runs_every_cell_again_among_the_others(read):
    file = read("times: 3\n" + GRID)
    found = expand(file)
    assert len(found) == 3 * 2 * 2 * 4
    again = next(cell for cell in found if cell.name == "sums/one/random-takeover+time3")
    assert again.times_of == "sums/one/random-takeover"
    assert again.needs == "sums/one/replace-rate=0.2"
    assert again.settings == found[3].settings
    order = [cell.name for cell in in_order(found, 1) if cell.name.startswith("sums/one/draft")]
    places = [cell.timing for cell in in_order(found, 1)]
    assert len(order) == 3
    assert places != sorted(places)  # repeats stand among the others, not behind them


def test_a_list_of_points_is_no_product(expanded):
    points = "points:\n      - {rate: 0.1, turns: 5}\n      - {rate: [0.2, 0.4], turns: 9}"
    found = expanded(
        GRID.replace("points: {rate: [0.1, 0.2]}", points).replace("=0.2}", "=0.2-turns=9}")
    )
    rows = [cell.row for cell in found.values() if (cell.task_name, cell.pair) == ("sums", "one")]
    assert [row for row in rows if row.startswith("replace")] == [
        "replace-rate=0.1-turns=5",
        "replace-rate=0.2-turns=9",
        "replace-rate=0.4-turns=9",
    ]


def test_settings_come_from_the_plan_the_pair_the_strategy_and_the_point(expanded):
    cell = expanded()["sums/two/replace-rate=0.1"]
    assert cell.settings == {
        "preset": "pair",
        "rate": 0.1,
        "target_device": "cpu",
        "draft_device": "cuda",
        "on_reject": "replace",
    }
    parsed = cell.parsed()
    assert parsed.roles["draft"].options.device == "cuda"
    assert parsed.roles["target"].options.device == "cpu"


def test_a_strategy_is_spared_what_it_has_no_use_for(expanded):
    """The pair's target means nothing to the draft alone, nor does the plan's rate."""
    assert expanded()["sums/two/draft-only"].settings == {"preset": "pair", "draft_device": "cuda"}
    assert expanded()["sums/one/draft-only"].settings == {"preset": "pair", "device": "cpu"}


def test_what_nobody_knows_is_refused_wherever_it_stands(expanded):
    with pytest.raises(SettingError, match=r"line 4: draft-only: .*'rat'.*rate"):
        expanded(GRID.replace("rate: 0.3", "rat: 0.3"))


def test_presets_are_joined(expanded):
    found = expanded(GRID.replace("{on_reject: replace}", "{preset: paper, rule: pvalue}"))
    assert found["sums/one/replace-rate=0.1"].settings["preset"] == "pair+paper"


def test_a_row_of_the_plan_as_the_rate_of_another(expanded, tmp_path):
    cell = expanded()["products/two/random-takeover"]
    assert cell.needs == "products/two/replace-rate=0.2"
    assert "rate_of" not in cell.settings
    with pytest.raises(SettingError, match=r"line 16: .*'replace-rate=0.3'.*replace-rate=0.2"):
        expanded(GRID.replace("rate_of: replace-rate=0.2", "rate_of: replace-rate=0.3"))
    with pytest.raises(SettingError, match="takes its own rate from another row"):
        expanded(GRID.replace("rate_of: replace-rate=0.2", "rate_of: random-takeover"))


def test_a_path_as_the_rate_of_another(expanded, tmp_path):
    (tmp_path / "earlier").mkdir()
    found = expanded(GRID.replace("rate_of: replace-rate=0.2", "rate_of: earlier"))
    cell = found["sums/one/random-takeover"]
    assert (cell.needs, cell.settings["rate_of"]) == (None, "earlier")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: replace", "name: draft-only", None),
        ("- draft-only", "- draft-only\n  - draft-only", "'draft-only'.*the other: line 10"),
        ("[sums, products]", "[sums, sums]", "'sums'.*the other: line 8"),
    ],
)
def test_two_cells_of_one_name(expanded, old, new, message):
    text = GRID.replace(old, new)
    if message is None:  # with its point the name is another one
        text = text.replace("rate_of: replace", "rate_of: draft-only")
        assert len(expanded(text)) == 16
    else:
        with pytest.raises(SettingError, match=message):
            expanded(text)


def test_the_order_is_drawn_and_the_same_for_the_same_seed(expanded):
    found = list(expanded().values())
    orders = [[cell.name for cell in in_order(found, seed)] for seed in range(6)]
    assert orders[1] == [cell.name for cell in in_order(found, 1)]
    assert len({tuple(order) for order in orders}) > 1
    blocks = {tuple(name.rsplit("/", 1)[1] for name in order[:4]) for order in orders}
    assert len(blocks) > 1
    for order in orders:
        assert sorted(order) == sorted(expanded())
        # A pair's servers are started once.
        pairs = [name.split("/")[1] for name in order]
        assert pairs == ["one"] * 8 + ["two"] * 8
        for name, cell in expanded().items():
            if cell.needs:
                assert order.index(cell.needs) < order.index(name)
    rows = [[name.split("/")[2] for name in order] for order in orders]
    assert any(row[:4] != row[4:8] for row in rows)  # each task has an order of its own


def test_an_order_that_is_not_drawn_is_the_plans(expanded):
    text = GRID.replace("  - draft-only\n", "").replace("tasks:", "shuffle: false\ntasks:")
    text = text.replace("  - strategy: atts", "  - draft-only\n  - strategy: atts")
    listed = [cell for cell in expanded(text).values() if cell.pair == "one"]
    assert in_order(listed, 1, shuffle=False) == listed
    backwards = in_order(listed[::-1], 1, shuffle=False)
    names = [cell.name for cell in backwards]
    assert names.index("sums/one/replace-rate=0.2") < names.index("sums/one/random-takeover")


def options_of(command):
    """Options of a command, by name; those without a value are True."""
    found = {}
    for place, word in enumerate(command):
        if word.startswith("--"):
            following = command[place + 1 : place + 2]
            bare = not following or following[0].startswith("--")
            found[word] = True if bare else following[0]
    return found


def test_what_a_cell_asks_its_framework_for(read, expanded):
    text = GRID.replace("limit: 40", "limit: 40\nsystem_instruction: Be brief.\ninclude_path: .")
    cell = expanded(text)["sums/one/replace-rate=0.1"]
    asked = cell.evaluation(read(text).plan, {"target_url": "http://h:1"})
    assert asked == Evaluation(
        task="sums",
        strategy="atts",
        settings={**cell.settings, "target_url": "http://h:1"},
        limit=40,
        metadata={"repeats": 4},
        system_instruction="Be brief.",
        include_path=".",
    )


CALIBRATED_GRID = GRID.replace(
    "points: {rate: [0.1, 0.2]}",
    "points: {rate: [0.1, 0.2], coverage: [turn, marginal]}\n"
    "    calibrate: {questions: 8, repeats: 2, metadata: {problem_seed: 5}}",
).replace("replace-rate=0.2", "replace-rate=0.2-coverage=turn")


def test_the_command_of_a_calibration(read, expanded, tmp_path):
    cell = expanded(CALIBRATED_GRID)["sums/one/replace-rate=0.1-coverage=turn"]
    command = calibrate_command(cell, read(CALIBRATED_GRID).plan, tmp_path / "bank.json", {})
    assert command[:2] == ["calibrate", str(tmp_path / "bank.json")]
    options = options_of(command)
    args = json.loads(options.pop("--model-args"))
    assert args == {k: v for k, v in cell.settings.items() if k != "coverage"}
    assert json.loads(options.pop("--metadata")) == {"problem_seed": 5, "repeats": 2}
    assert options == {"--task": "sums", "--questions": "8", "--evaluated": "40"}


def test_cells_share_a_bank_where_their_scores_are_alike(read, expanded):
    plan = read(CALIBRATED_GRID).plan
    banks = {n: calibrations.of_cell(c, plan).bank for n, c in expanded(CALIBRATED_GRID).items()}
    turn, marginal = (
        banks[f"sums/one/replace-rate=0.1-coverage={c}"] for c in ("turn", "marginal")
    )
    other = banks["sums/one/replace-rate=0.2-coverage=turn"]
    assert turn == marginal  # what is done with scores does not change them
    assert turn != other  # later turns went through takeovers at another rate
    assert turn != banks["products/one/replace-rate=0.1-coverage=turn"]
    assert turn != banks["sums/two/replace-rate=0.1-coverage=turn"]
    first = CALIBRATED_GRID.replace("questions: 8,", "questions: 8, turns: 1,")
    banks = {n: calibrations.of_cell(c, plan).bank for n, c in expanded(first).items()}
    rates = {banks[f"sums/one/replace-rate={r}-coverage=turn"] for r in (0.1, 0.2)}
    assert len(rates) == 1  # nothing is taken over where only first turns are scored
