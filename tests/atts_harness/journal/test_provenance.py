"""A bank agrees with a run by what its scores depend on, not by where a folder lies."""

import shutil

import pytest

from atts_harness.backend import Sampling
from atts_harness.conformal import Provenance
from atts_harness.conformal.provenance import of_run
from atts_harness.identity import ModelIdentity
from atts_harness.journal.provenance import model_identity, run_provenance
from atts_harness.turns import TurnOptions


@pytest.fixture
def folder(tmp_path):
    model = tmp_path / "draft"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"x" * 200_000)
    return model


def test_a_folder_is_the_same_model_wherever_it_lies(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere" / "draft")
    assert model_identity(str(folder)) == model_identity(str(tmp_path / "elsewhere" / "draft"))


@pytest.mark.parametrize("change", ["config.json", "model.safetensors"])
def test_other_content_is_another_model(folder, change):
    before = model_identity(str(folder))
    data = (folder / change).read_bytes()
    (folder / change).write_bytes(data[:-1] + b"y")
    assert model_identity(str(folder)) != before


def test_a_hub_id_names_itself():
    assert model_identity("Qwen/QwQ-32B") == "Qwen/QwQ-32B"


class Tokens:
    fingerprint = "f"
    template_fingerprint = "t"


class Engine:
    tokenizer = Tokens()

    def __init__(self, model):
        self.model = model

    @property
    def identity(self):
        return ModelIdentity(engine="e", model=self.model)


def test_every_field_that_a_run_can_tell_reaches_the_comparison():
    options = TurnOptions(draft_tokens=48, turn_stop="\n\n", on_reject="replace")
    known = run_provenance(
        {"draft": Engine("d"), "target": Engine("t")},
        options,
        {"draft": Sampling(temperature=0.5), "target": Sampling(temperature=0.6)},
        {"task": "chain", "prompt": "p", "wording": "w"},
    )
    run = of_run(known, "chain")
    unknown = [name for name in Provenance.__struct_fields__ if getattr(run, name) is None]
    assert unknown == ["signal"]  # said only where it is not the published one
    assert (run.draft, run.target, run.draft_tokens, run.stop) == ("d", "t", 48, ("\n\n",))
    assert (run.draft_temperature, run.target_temperature) == (0.5, 0.6)
