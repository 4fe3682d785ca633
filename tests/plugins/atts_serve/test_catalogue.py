"""Which models are served, and what requests may set of them."""

import pytest
from atts_serve.catalogue import ALLOWED, catalogue
from atts_serve.chat import ChatRequest
from atts_serve.refusal import Refusal

from atts_harness import plugins
from atts_harness.errors import SettingError, UnknownSettingError

MOCK = {"backend": "mock", "draft": "d", "target": "t"}


def test_a_name_for_each_strategy_and_preset():
    served = catalogue(["atts", "draft-only", "paper", "half:strategy=atts,rate=0.5"], MOCK)
    names = {name: one.settings.strategy.name for name, one in served.models.items()}
    assert names == {"atts": "atts", "draft-only": "draft-only", "paper": "atts", "half": "atts"}
    assert served.models["paper"].options()["paper_join"] is True
    assert served.models["half"].options()["rate"] == 0.5
    assert list(catalogue([], MOCK).models) == ["atts", "draft-only", "target-only"]


def test_every_installed_strategy_can_be_served():
    names = sorted(plugins.strategies())
    assert catalogue(names, MOCK).models.keys() == set(names)


def test_options_go_to_the_strategies_that_have_them():
    served = catalogue(["atts", "draft-only"], {**MOCK, "rate": 0.1, "turns": 4})
    assert served.models["atts"].options()["rate"] == 0.1
    assert served.models["draft-only"].options()["turns"] == 4
    with pytest.raises(SettingError, match=r"^threshold: an option of a strategy that is not"):
        catalogue(["atts"], {**MOCK, "threshold": 5})


@pytest.mark.parametrize("name", ["gpt-5", "gpt-5-mini", "o1", "o3-mini", "GPT-4o"])
def test_a_name_of_openais_is_refused(name):
    with pytest.raises(SettingError, match="take another name"):
        catalogue([f"{name}:strategy=atts"], MOCK)


@pytest.mark.parametrize(
    ("names", "args", "words"),
    [
        (["attts"], {}, "did you mean atts"),
        (["atts", "atts"], {}, "given twice"),
        (["a b:strategy=atts"], {}, "a name of letters"),
        (["atts"], {"strategy": "draft-only"}, "served model's name says its strategy"),
        (["atts"], {"max_failures": 3}, "a service has no use for it"),
        (["atts"], {"rte": 0.1}, "unknown setting 'rte'"),
        (["atts:rate"], {}, "is not NAME=VALUE"),
    ],
)
def test_what_cannot_be_served_is_one_line(names, args, words):
    with pytest.raises(SettingError, match=words) as caught:
        catalogue(names, {**MOCK, **args})
    assert "\n" not in str(caught.value)


def test_an_option_can_be_allowed():
    with pytest.raises(Refusal):
        catalogue(["specreason"], MOCK).variation(
            ChatRequest("specreason", (), values={"judge_question": "?"})
        )
    served = catalogue(["specreason"], MOCK, allow=["judge_question"])
    asked = served.variation(ChatRequest("specreason", (), values={"judge_question": "?"}))
    assert asked.settings.options().judge_question == "?"
    with pytest.raises(UnknownSettingError, match="--allow"):
        catalogue(["atts"], MOCK, allow=["judge_qestion"])


def test_nothing_that_names_a_place_can_be_set():
    fields = {
        name
        for kind in plugins.backends().values()
        for name in kind.value.options.__struct_fields__
    }
    assert not ALLOWED & (fields | {"bank", "config", "rate_of", "run_dir", "draft", "target"})


def test_equal_requests_share_a_variation_and_others_do_not(tmp_path):
    served = catalogue(["atts"], {**MOCK, "run_dir": str(tmp_path)})

    def key(**asked):
        return served.variation(ChatRequest("atts", (), **asked)).key

    assert key() == "atts" == key(values={"rate": 0.4}) == key(sampling={"temperature": 0.8})
    assert key(values={"rate": 0.2}) == key(values={"rate": "0.2"})
    others = [key(values={"rate": 0.2}), key(values={"turns": 2}), key(sampling={"top_p": 0.5})]
    assert len({"atts", *others}) == 4
    run_dir = served.variation(ChatRequest("atts", (), values={"rate": 0.2})).settings.run.run_dir
    assert run_dir == str(tmp_path / others[0])
