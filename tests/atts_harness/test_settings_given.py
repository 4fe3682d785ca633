"""Settings as people give them: empty, `none`, two that stand for each other, no numbers."""

import pytest

from atts_harness.conformal import CalibrationOptions
from atts_harness.errors import SettingError
from atts_harness.settings import parse_settings

pytestmark = pytest.mark.usefixtures("mock_installed")

MODELS = {"draft": "d", "target": "t", "backend": "mock"}


@pytest.mark.parametrize("name", ["run_dir", "draft", "preset", "bank", "budget", "draft_price"])
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_text_is_refused_where_it_would_mean_nothing(name, empty):
    with pytest.raises(SettingError, match=f"{name}: is empty; give a value, or leave it out"):
        parse_settings({**MODELS, name: empty})


@pytest.mark.parametrize("none", ["none", "None", "NULL"])
def test_none_is_none(none):
    names = ("run_dir", "preset", "bank", "budget", "draft_price", "max_gen_toks")
    given = parse_settings({**MODELS, **dict.fromkeys(names, none)})
    assert given.run.run_dir is given.run.draft_price is given.run.max_gen_toks is None
    assert given.options().bank is given.options().budget is None
    assert given.options().nominal == 0.4


@pytest.mark.parametrize(
    "given",
    [
        {"rate": 0.4, "budget": "6/16"},
        {"rate": "0.375", "budget": "6/16"},
        {"strategy": "random-takeover", "rate": 0.4, "rate_of": "runs/a"},
    ],
)
def test_one_of_two_that_stand_for_each_other_is_refused(given):
    with pytest.raises(SettingError, match="takes the place of rate: give one of them"):
        parse_settings({**MODELS, **given})


def test_what_is_given_takes_the_place_of_what_a_preset_or_task_says():
    given = parse_settings({**MODELS, "preset": "paper", "budget": "6/16", "bank": "b.npy"})
    assert given.options().nominal == 6 / 16
    task = parse_settings({**MODELS, "budget": "1/4"})
    assert task.options({"rate": 0.9}).nominal == 1 / 4
    assert parse_settings({**MODELS, "rate": 0.2}).options({"budget": "1/2"}).nominal == 0.2
    with pytest.raises(SettingError, match="budget takes the place of rate"):
        parse_settings(MODELS).options({"rate": 0.2, "budget": "1/2"})


@pytest.mark.parametrize("budget", ["1_0/16", "６/16", " 6/16", "+6/16", "6/16 "])
def test_a_budget_is_of_plain_digits(budget):
    with pytest.raises(SettingError, match="must be B/m"):
        CalibrationOptions(budget=budget).checked()


@pytest.mark.parametrize("name", ["timeout", "engine_timeout", "draft_temperature", "top_p"])
@pytest.mark.parametrize("value", ["nan", float("nan")])
def test_what_is_not_a_number_is_refused(name, value):
    with pytest.raises(SettingError, match=name):
        parse_settings({**MODELS, name: value})
