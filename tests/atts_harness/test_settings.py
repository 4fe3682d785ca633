"""Flat model_args become a checked plan, or one clear line."""

import msgspec
import pytest

from atts_harness import plugins
from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.errors import SettingError
from atts_harness.hookspecs import Preset
from atts_harness.plugins import Registered
from atts_harness.settings import RunOptions, parse_settings
from atts_harness.strategy import Strategy, StrategyOptions
from atts_harness.turns import TurnOptions


class EngineOptions(BackendOptions, frozen=True, kw_only=True):
    url: str | None = None
    dtype: str = "auto"
    template_args: dict[str, object] | None = None


class Turns(Strategy):
    name = "turns"
    Options = TurnOptions
    roles = ("draft", "target")


class Other(Strategy):
    class Options(StrategyOptions, frozen=True, kw_only=True):
        threshold: float = 7.0

    name = "other"
    roles = ("draft", "target")


class DraftAlone(Strategy):
    name = "draft-alone"
    Options = TurnOptions
    roles = ("draft",)


def registered(values):
    return {v.name: Registered(v.name, v, "plugin", "dist") for v in values}


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    async def never(spec):
        raise AssertionError("settings open nothing")

    engines = [
        BackendKind("engine", EngineOptions, never),
        BackendKind("http", EngineOptions, never),
    ]
    presets = [
        Preset("tiny", {"backend": "engine", "draft": "D", "target": "T"}, default=True),
        Preset("published", {"turns": 15, "draft_tokens": 500, "dtype": "half"}),
        Preset("short", {"turns": 3}),
        Preset("of-other", {"strategy": "other", "threshold": 5.0}),
    ]
    monkeypatch.setattr(plugins, "strategies", lambda: registered([Turns, Other, DraftAlone]))
    monkeypatch.setattr(plugins, "backends", lambda: registered(engines))
    monkeypatch.setattr(plugins, "presets", lambda: registered(presets))


def parse(**given):
    return parse_settings({"strategy": "turns", **given})


def test_without_models_the_default_preset_brings_the_pair():
    roles = parse().roles
    assert (roles["draft"].kind, roles["draft"].model, roles["target"].model) == (
        "engine",
        "D",
        "T",
    )


def test_with_models_the_default_preset_stays_out():
    roles = parse(backend="http", draft="a", target="b").roles
    assert {spec.kind for spec in roles.values()} == {"http"}
    assert [spec.model for spec in roles.values()] == ["a", "b"]


def test_strings_become_typed_values():
    settings = parse(turns="7", seed="3", on_reject="replace", stop_at_answer="False")
    options = settings.options()
    assert (options.turns, options.on_reject, options.stop_at_answer) == (7, "replace", False)
    assert settings.run.seed == 3


def test_a_backend_option_for_one_role_wins_over_one_for_both():
    roles = parse(draft="a", target="b", backend="engine", dtype="x", target_dtype="y").roles
    assert [spec.options.dtype for spec in roles.values()] == ["x", "y"]


def test_each_role_may_have_its_engine():
    roles = parse(draft="a", target="b", draft_backend="http", target_backend="engine").roles
    assert [spec.kind for spec in roles.values()] == ["http", "engine"]


def test_json_values_are_understood():
    roles = parse(draft="a", target="b", backend="engine", template_args='{"think": true}').roles
    assert roles["draft"].options.template_args == {"think": True}


def test_equal_specifications_are_equal_so_that_roles_can_share_a_backend():
    roles = parse(draft="a", target="a", backend="engine").roles
    assert roles["draft"] == roles["target"]


def test_precedence_given_over_task_over_preset_over_default():
    settings = parse(preset="published", draft_tokens=9)
    task = {"draft_tokens": 8, "turns": 4, "unrelated": 1}
    assert (settings.options(task).turns, settings.options(task).draft_tokens) == (4, 9)
    assert settings.options().turns == 15
    assert parse(preset="published+short").options().turns == 3


def test_a_preset_may_set_what_a_strategy_does_not_have():
    settings = parse_settings({"strategy": "other", "preset": "published"})
    assert settings.options().threshold == 7.0
    assert settings.roles["draft"].options.dtype == "half"


def test_a_preset_that_is_made_for_a_strategy_brings_it():
    settings = parse_settings({"preset": "short+of-other"})
    assert settings.strategy is Other
    assert settings.run.strategy == "other"
    assert settings.options().threshold == 5.0
    assert parse_settings({"preset": "of-other", "strategy": "other"}).strategy is Other


def test_a_preset_of_another_strategy_is_refused():
    with pytest.raises(SettingError, match="made for strategy other, not turns; leave the preset"):
        parse(preset="of-other")


def test_sampling_given_over_task_over_default():
    assert parse().sampling()["draft"].temperature == 0.8
    greedy = parse(target_temperature=0.5).sampling({"do_sample": False, "temperature": 0.7})
    assert (greedy["draft"].temperature, greedy["target"].temperature) == (0.0, 0.5)
    assert parse(top_p=0.9).sampling({"top_p": 0.5, "top_k": 3})["draft"].top_p == 0.9


def test_budget_given_over_task_over_default():
    assert parse().max_tokens() == 8192
    assert parse().max_tokens({"max_gen_toks": 100}) == 100
    assert parse(max_gen_toks=50).max_tokens({"max_gen_toks": 100}) == 50


def test_a_strategy_with_one_role_needs_one_model():
    settings = parse_settings({"strategy": "draft-alone", "draft": "a", "backend": "engine"})
    assert list(settings.roles) == ["draft"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"trns": 3}, "did you mean turns"),
        ({"draft_dtyp": "x"}, "did you mean draft_dtype"),
        ({"strategy": "turn"}, "did you mean turns"),
        ({"backend": "engin"}, "did you mean engine"),
        ({"preset": "tinny"}, "did you mean tiny"),
        ({"threshold": 3}, "an option of strategy other, which turns does not have"),
        ({"turns": "many"}, "turns: expected `int`"),
        ({"turns": 0}, "turns: expected `int` >= 1"),
        ({"on_reject": "drop"}, "on_reject"),
        ({"top_p": 1.5}, "top_p"),
        ({"draft": "a", "backend": "engine"}, "target: give a model"),
        ({"api_key": "x"}, "environment"),
        ({"draft_api_key": "x"}, "environment"),
        ({"dtype": "sk-abcdefghijklmnop"}, "environment"),
    ],
)
def test_bad_input_is_one_line_that_names_the_setting_and_the_remedy(given, says):
    with pytest.raises(SettingError) as caught:
        parse(**given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_option_for_a_role_the_strategy_lacks_is_refused():
    with pytest.raises(SettingError, match="uses no target"):
        parse_settings({"strategy": "draft-alone", "target_dtype": "x"})


def test_names_of_installed_options_never_clash(monkeypatch):
    monkeypatch.undo()
    run = set(RunOptions.__struct_fields__)
    own = {n: set(e.value.Options.__struct_fields__) for n, e in plugins.strategies().items()}
    engines = {n: set(e.value.options.__struct_fields__) for n, e in plugins.backends().items()}
    assert own
    assert engines
    for name, fields in own.items():
        assert not fields & run, name
        for engine, options in engines.items():
            prefixed = {f"{role}_{o}" for role in ("draft", "target") for o in options}
            assert not fields & (options | prefixed), (name, engine)
    for engine, options in engines.items():
        prefixed = {f"{role}_{o}" for role in ("draft", "target") for o in options}
        # `timeout` limits every call of the run, `draft_timeout` and `target_timeout` one role's.
        assert not run & ((options - {"timeout"}) | prefixed), engine


def test_every_option_of_every_installed_strategy_has_a_description(monkeypatch):
    monkeypatch.undo()
    bare = []
    for name, entry in plugins.strategies().items():
        schema = msgspec.json.schema(entry.value.Options)
        fields = next(iter(schema["$defs"].values()))["properties"]
        bare += [f"{name}.{field}" for field, info in fields.items() if "description" not in info]
    assert not bare
