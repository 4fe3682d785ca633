"""A bank notices that its task asks in other words, whatever the name says."""

import json
import logging

import pytest
from atts_lm_eval.model import AttsLM
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness.conformal import read_bank
from atts_harness.conformal.bankfile import write_bank
from atts_harness.conformal.calibrate import bank_from_run
from atts_harness.errors import SettingError
from atts_harness.testing.scripted import Says

YAML = """
task: sums
custom_dataset: !function words.build
test_split: test
output_type: generate_until
doc_to_text: {template}
doc_to_target: "42"
description: "{description}"
fewshot_config: {{sampler: first_n, samples: !function words.examples}}
num_fewshot: {shots}
generation_kwargs: {{until: [], max_gen_toks: 64}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
WORDS = """
import re

HOW = "{how}"
UNUSED = "{unused}"
BLANK = re.compile(r"\\s+")
ASIDE = {{"shout": lambda text: shout(text), "all": {{1, 2, 3}}}}


def shout(text):
    return BLANK.sub(" ", text){shout}


def ask(doc):
    return HOW + " " + ASIDE["shout"](doc["q"])


def examples():
    return [{{"q": "{example}"}}]


def build(**_):
    import datasets

    rows = [{{"q": f"{{n}} + {{42 - n}}?"}} for n in range(4)]
    return {{"test": datasets.Dataset.from_list(rows)}}
"""
PLAIN = {"template": '"Compute {{q}}"', "description": "", "shots": 0}
BY_FUNCTION = {**PLAIN, "template": "!function words.ask"}
CODE = {"how": "Compute", "shout": "", "example": "1 + 1?", "unused": ""}


@pytest.fixture
def run(pair, tmp_path):
    """Runs the task as worded; returns its bank's provenance."""
    pair.draft.replies = lambda asked: Says(r"\boxed{42}", ending="length")
    count = iter(range(100))

    def with_words(yaml=PLAIN, system=None, model_args=None, **code):
        number = next(count)
        folder = tmp_path / f"tasks{number}"
        folder.mkdir()
        (folder / "sums.yaml").write_text(YAML.format(**yaml))
        (folder / "words.py").write_text(WORDS.format(**{**CODE, **code}))
        run_dir = tmp_path / f"run{number}"
        model = AttsLM(run_dir=str(run_dir), progress="off", **(model_args or {}))
        try:
            simple_evaluate(
                model=model,
                tasks=["sums"],
                task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                bootstrap_iters=0,
                system_instruction=system,
                apply_chat_template=True,
            )
        finally:
            model.close()
        return bank_from_run(run_dir)

    return with_words


def of(bank):
    return (bank.provenance.prompt, bank.provenance.wording)


def test_the_same_words_have_the_same_digest(run):
    assert of(run()) == of(run())
    assert of(run(BY_FUNCTION)) == of(run(BY_FUNCTION, unused="something else"))
    assert run().provenance.wording is not None


@pytest.mark.parametrize(
    ("yaml", "changed", "code"),
    [
        (PLAIN, {"template": '"What is {{q}}"'}, {}),
        (PLAIN, {"template": "!function words.ask"}, {}),
        (PLAIN, {"description": "Be short. "}, {}),
        (PLAIN, {"shots": 1}, {}),
        (BY_FUNCTION, {}, {"how": "What is"}),
        (BY_FUNCTION, {}, {"shout": " + '!'"}),
        ({**PLAIN, "shots": 1}, {}, {"example": "2 + 2?"}),
    ],
)
def test_other_words_have_another_digest(run, yaml, changed, code):
    before, after = run(yaml), run({**yaml, **changed}, **code)
    assert before.provenance.wording != after.provenance.wording
    assert before.provenance.task == after.provenance.task == "sums"


def test_a_system_message_is_another_prompt_in_the_same_words(run):
    before, after = run(), run(system="Think.")
    assert before.provenance.prompt != after.provenance.prompt
    assert before.provenance.wording == after.provenance.wording


def test_a_bank_of_other_words_is_refused_and_the_message_says_what(run, tmp_path):
    bank = write_bank(run(), tmp_path / "bank.json")
    args = {"bank": str(bank), "coverage": "marginal"}
    run(model_args=args)
    with pytest.raises(
        SettingError,
        match=r"wording is '\w+' in the bank, '\w+' in the run \(the task's template, description",
    ):
        run({**PLAIN, "template": '"What is {{q}}"'}, model_args=args)


def test_a_bank_that_does_not_say_is_read_with_a_warning(run, tmp_path, caplog):
    bank = write_bank(run(), tmp_path / "bank.json")
    known = json.loads(bank.read_text())
    del known["provenance"]["wording"], known["digest"]  # as an early release wrote it
    bank.write_text(json.dumps(known))
    assert read_bank(bank).provenance.wording is None
    with caplog.at_level(logging.WARNING, logger="atts_harness.conformal"):
        run(model_args={"bank": str(bank), "coverage": "marginal"})
    assert "does not say how its task worded its prompts" in caplog.text
    assert "`atts calibrate`" in caplog.text
