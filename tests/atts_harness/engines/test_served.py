"""Which of a server's models is asked, and when none is."""

from dataclasses import dataclass

import pytest

from atts_harness.backend import BackendSpec
from atts_harness.engines.options import EngineOptions
from atts_harness.engines.served import pick_model, same_model
from atts_harness.errors import SettingError


@dataclass(frozen=True)
class Model:
    id: str
    root: str | None = None


class Http:
    url = "http://127.0.0.1:1"


TWO = [Model("org/other-1b"), Model("Org/Draft")]


def pick(models, wanted=None, name=None):
    spec = BackendSpec(
        "openai", wanted, EngineOptions(url=Http.url, served_model_name=name), "draft"
    )
    return pick_model(spec, Http(), models).id


@pytest.mark.parametrize(
    "wanted", ["Org/Draft", "org/draft", "Draft", "/models/draft", "models--Org--Draft"]
)
def test_the_one_that_matches_is_taken_wherever_it_stands(wanted):
    assert pick(TWO, wanted) == "Org/Draft"
    assert pick(TWO, name=wanted) == "Org/Draft"


def test_none_named_and_several_served_is_refused():
    with pytest.raises(SettingError, match=r"draft_url: .* 2 models \(org/other-1b or Org/Draft\)"):
        pick(TWO)
    assert pick(TWO[:1]) == "org/other-1b"


def test_none_that_matches_is_refused():
    with pytest.raises(SettingError, match="not org/third"):
        pick(TWO, "org/third")


def test_several_that_match_are_refused_and_an_exact_name_decides():
    models = [Model("a/draft"), Model("b/draft")]
    with pytest.raises(SettingError, match=r"draft_served_model_name: .* several"):
        pick(models, "draft")
    assert pick(models, "b/draft") == "b/draft"


def test_replicas_behind_a_router_are_one_model():
    assert pick([Model("Org/Draft", "/a"), Model("Org/Draft", "/b")]) == "Org/Draft"


def test_anothers_copy_of_the_same_name_is_another_model():
    assert not same_model("Qwen/QwQ-32B", "someone/QwQ-32B")
    assert same_model("Qwen/QwQ-32B", "/models/QwQ-32B")
    assert same_model("Qwen/QwQ-32B", "/cache/models--Qwen--QwQ-32B/snapshots/abc")
    assert not same_model("Qwen/QwQ-32B", "/cache/models--someone--QwQ-32B/snapshots/abc")


def test_folders_are_compared_by_what_is_in_them(tmp_path):
    for name, content in (("a/draft", b"x"), ("b/draft", b"y"), ("c/renamed", b"x")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(content)
    first = str(tmp_path / "a/draft")
    assert not same_model(first, str(tmp_path / "b/draft"))
    assert same_model(first, str(tmp_path / "c/renamed"))
