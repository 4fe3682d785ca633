"""The project's grader as an inspect_ai scorer: one extraction, one equivalence, as in lm-eval."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState

from atts_harness.grading.equivalence import Gold
from atts_harness.grading.extraction import extractors_of
from atts_harness.grading.grade import Sampled, grade_question
from atts_harness.results.golds import gold_of
from atts_inspect.naming import KEY
from atts_inspect.replies import SOURCE


@scorer(metrics=[accuracy(), stderr()], name="grader")  # type: ignore[untyped-decorator]
def grader(extractor: str = "boxed") -> Scorer:
    """Grade the answer in a model's text against the sample's gold.

    The gold is in the sample's metadata where the task is one of this project's, else its target is
    the gold. Answers of any model can be graded.

    Args:
        extractor: the one whose answer counts; see the documentation on grading.
    """
    rule = extractors_of(extractor)[0]

    async def score(state: TaskState, target: Target) -> Score:
        sampled = sampled_of(state)
        # Computer algebra takes milliseconds, in processes of its own.
        gold = _gold(state, target)
        (grade,) = await asyncio.to_thread(grade_question, [sampled], gold, rule)
        return Score(
            value=CORRECT if grade.right else INCORRECT,
            answer=grade.answer,
            explanation=sampled.failed or grade.error or grade.undecided,
            metadata=msgspec.to_builtins(grade),
        )

    return score


def _gold(state: TaskState, target: Target) -> Gold:
    document = state.metadata or {}
    if KEY in document or "gold" in document:
        return gold_of(document)
    return gold_of({"question": state.input_text}, target.text)


def sampled_of(state: TaskState) -> Sampled:
    """A finished sample as the grader takes it, thoughts included."""
    facts: Mapping[str, Any] = (state.output.metadata or {}).get(SOURCE) or {}
    if facts:
        return Sampled(facts["text"], facts["answers"], facts["truncated"], facts["failed"] or "")
    message = state.output.message if state.output.choices else None
    content: str | Sequence[Any] = "" if message is None else message.content
    if isinstance(content, str):
        return Sampled(content)
    parts = [str(getattr(part, "text", "") or getattr(part, "reasoning", "")) for part in content]
    return Sampled("\n\n".join(parts))
