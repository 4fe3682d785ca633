"""The tasks of lm-eval under inspect_ai: the same questions, golds and settings."""

import pytest

inspect_ai = pytest.importorskip(
    "inspect_ai", reason="inspect_ai is not installed; `make test-frameworks` has it"
)

from atts_inspect.tasks import make_task, register_tasks  # noqa: E402
from inspect_ai._util.error import PrerequisiteError  # noqa: E402
from inspect_ai._util.registry import registry_lookup  # noqa: E402

from atts_harness import plugins  # noqa: E402
from atts_harness.framework import Evaluation  # noqa: E402


def test_tasks_are_those_of_lm_eval():
    task = make_task("atts_chain", num_problems=3, repeats=2)
    evaluation = Evaluation("atts_chain", "", metadata={"num_problems": 3})
    asked = plugins.framework("lm-eval").questions(evaluation)
    assert [sample.input[0].content for sample in task.dataset] == [
        question.messages[0].content for question in asked
    ]
    assert [sample.target for sample in task.dataset] == [
        question.document["answer"] for question in asked
    ]
    assert [sample.id for sample in task.dataset] == [0, 1, 2]
    told = task.dataset[2].metadata["atts"]
    assert (told["task"], told["doc"], told["generation"]["draft_tokens"]) == ("atts_chain", 2, 96)
    assert (task.config.temperature, task.config.max_tokens, task.epochs) == (0.8, 640, 2)


@pytest.mark.parametrize("name", ["chain", "math500", "aime24_paper", "lm_eval"])
def test_they_are_known_by_name(name):
    register_tasks()  # as the entry point does when inspect_ai loads it
    assert registry_lookup("task", f"atts_harness/{name}") is not None


def test_a_system_instruction_and_examples_are_messages():
    task = make_task("atts_chain", num_problems=1, system_instruction="Be brief.")
    assert [message.role for message in task.dataset[0].input] == ["system", "user"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("atts_chains", {}, "atts_chains: no such task"),
        ("atts_chain", {"repeats": 0}, "repeats: 0 is not a positive integer"),
        ("atts_chain", {"framework": "lm-evil"}, "did you mean lm-eval"),
    ],
)
def test_what_cannot_be_asked_is_one_line(name, options, message):
    with pytest.raises(PrerequisiteError) as error:
        make_task(name, **options)
    assert message in error.value.message
