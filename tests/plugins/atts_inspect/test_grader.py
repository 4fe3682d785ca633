"""The grader grades any model's text as lm-eval's tasks are graded."""

import pytest

pytest.importorskip(
    "inspect_ai", reason="inspect_ai is not installed; `make test-frameworks` has it"
)

from atts_inspect.grader import grader
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model

from atts_harness.grading.grade import Sampled, grade_question
from atts_harness.results.golds import gold_of


def graded(evaluate, content, **sample):
    """The score of one answer of a foreign model."""
    answers = [ModelOutput.from_content("other", content)]
    answers[0].usage = ModelUsage(output_tokens=1, total_tokens=1)
    model = get_model("mockllm/model", custom_outputs=answers)
    log = evaluate(Task(dataset=[Sample("Half?", **sample)], scorer=grader()), model=model)
    assert log.status == "success", log.error
    return log.samples[0].scores["grader"]


@pytest.mark.parametrize(
    ("text", "right"), [(r"\boxed{\frac{1}{2}}", "C"), (r"\boxed{2}", "I"), ("no idea", "I")]
)
def test_a_targets_equivalents_are_right(evaluate, text, right):
    score = graded(evaluate, text, target="0.5")
    assert score.value == right
    (grade,) = grade_question([Sampled(text)], gold_of({}, "0.5"))
    assert (score.answer, score.metadata["right"]) == (grade.answer, grade.right)


def test_the_gold_of_a_document_goes_before_the_target(evaluate):
    metadata = {"gold": "0.3", "kind": "maths", "tolerance": 0.05}
    assert graded(evaluate, r"\boxed{0.31}", target="7", metadata=metadata).value == "C"


def test_an_answer_among_thoughts_counts_where_there_is_no_other(evaluate):
    parts = [ContentReasoning(reasoning=r"It is \boxed{0.5}."), ContentText(text="Done.")]
    assert graded(evaluate, parts, target="0.5").answer == "0.5"
