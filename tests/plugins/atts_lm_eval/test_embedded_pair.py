"""The main job on real models: `simple_evaluate(model="atts")`, and folders that are wrong."""

import json
import shutil
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from atts_lm_eval import bridge
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness import plugins
from atts_harness.errors import ContextLengthError, SettingError

pytest.importorskip("torch", reason="real models need the extra `transformers`")
pytest.importorskip("transformers", reason="real models need the extra `transformers`")

try:
    distribution("atts-harness")
except PackageNotFoundError:
    pytest.skip("discovery needs an installed package (pip install -e .)", allow_module_level=True)


@pytest.fixture
def evaluate():
    bridge.install()
    folders = [str(entry.value) for entry in plugins.task_dirs().values()]
    manager = TaskManager(
        include_defaults=False, include_path=folders, metadata={"num_problems": 2, "repeats": 2}
    )

    def run(model="atts", model_args=None, task="atts_chain_easy"):
        return simple_evaluate(
            model=model,
            model_args=model_args,
            tasks=[task],
            task_manager=manager,
            limit=2,
            bootstrap_iters=0,
            apply_chat_template=True,
            device="cpu",
        )

    return run


def pair():
    settings = plugins.presets()["tiny"].value.settings
    return settings["draft"], settings["target"]


def test_with_no_arguments_the_embedded_pair_answers(evaluate):
    results = evaluate()
    info = results["config"]["atts"]
    assert info["roles"]["draft"] != info["roles"]["target"]
    statistics = info["statistics"]["atts_chain_easy"]
    assert (statistics["problems"], statistics["samples"], statistics["failed"]) == (2, 4, 0)
    assert statistics["takeover"]["judged_turns"] > 0
    assert statistics["tokens_per_sample"]["target_computed"] > 0
    answers = [a for sample in results["samples"]["atts_chain_easy"] for a in sample["resps"][0]]
    assert all(a.record.decisions for a in answers)
    assert any("boxed" in a for a in answers)


@pytest.fixture
def without_template(tmp_path):
    folder = tmp_path / "no-template"
    shutil.copytree(pair()[1], folder)
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    settings.pop("chat_template", None)
    config.write_text(json.dumps(settings))
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    return folder


def test_a_folder_without_a_chat_template_is_refused(evaluate, without_template):
    with pytest.raises(
        SettingError, match=r"chat_template: the tokenizer of .* has none"
    ) as caught:
        evaluate(model_args={"draft": pair()[0], "target": str(without_template)})
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_refused(evaluate):
    with pytest.raises(SettingError) as caught:
        evaluate(model_args=f"draft={pair()[0]},target=/nowhere/model")
    assert "/nowhere/model" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_budget_beyond_the_context_is_refused(evaluate):
    with pytest.raises(ContextLengthError, match=r"max_gen_toks=100000: .* at most max_gen_toks="):
        evaluate(model_args={"max_gen_toks": 100000})
