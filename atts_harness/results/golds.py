"""The golds of documents, and the documents behind the questions of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from atts_harness.conformal.provenance import fingerprint
from atts_harness.errors import SettingError
from atts_harness.grading.equivalence import Gold
from atts_harness.grading.questions import unit_asked

LONGEST_GOLD = 200
"""Characters of a foreign task's gold. Longer ones are programs or essays, not answers."""

PROMPTS = "prompt_hashes"
"""Key of a document: digests (`hashing.prompt_hash`) of the prompts its task may make of it."""
METRIC = "task_metric"
"""Key of a document whose task is graded by a metric of its own: that metric's name."""
ADDED = frozenset({"answer", "doc_id", PROMPTS, METRIC})

Documents = Callable[[str], Sequence[Mapping[str, Any]]]
"""From a task's name to its documents, in order; each has its prompts' digests under `PROMPTS`."""

QUESTION_FIELDS = ("prompt", "problem", "question", "Question")


def gold_of(doc: Mapping[str, Any], target: Any = None) -> Gold:
    """The gold of a document: `gold` with its kind and unit, a plain `answer`, or a target.

    Args:
        doc: one of our tasks' documents, or any other task's.
        target: the task's target for it; used for documents without `gold`.

    Raises:
        SettingError: there is none, or none that the grader can read.
    """
    if "gold" in doc:
        text = doc["gold"]
        if not readable(text):
            raise SettingError(f"the gold {_shorten(text)} is not an answer that can be compared")
        return Gold(
            str(text),
            kind=doc.get("kind", "maths"),
            several=bool(doc.get("several")),
            tolerance=doc.get("tolerance"),
            unit=doc.get("unit") or unit_asked(question_text(doc), str(text)),
        )
    golds = golds_of(doc, target)
    if not golds:
        raise SettingError("a document without a gold, an answer or a target cannot be graded")
    return golds[0]


def golds_of(doc: Mapping[str, Any], target: Any = None) -> tuple[Gold, ...]:
    """All golds of a document, any of which makes an answer right.

    Args:
        doc: one of our tasks' documents, or any other task's.
        target: the task's target for it; used for documents without `gold`.

    Returns:
        Empty where there is no gold that the grader can read: a program, a list of instructions.

    Raises:
        SettingError: the field `gold` holds no answer.
    """
    if "gold" in doc:
        return (gold_of(doc),)
    plain = target if target is not None else doc.get("answer")
    several = plain if isinstance(plain, list | tuple) else [plain]
    texts = [_final(entry) for entry in several]
    if not texts or not all(map(readable, texts)):
        return ()
    question = question_text(doc)
    return tuple(
        Gold(text, unit=unit_asked(question, text)) for text in dict.fromkeys(map(str, texts))
    )


def readable(gold: Any) -> bool:
    """Whether a gold is an answer: a number, or one line of text."""
    if isinstance(gold, bool):
        return False
    if isinstance(gold, int | float):
        return math.isfinite(gold)
    if not isinstance(gold, str):
        return False
    return bool(gold.strip()) and len(gold) <= LONGEST_GOLD and "\n" not in gold.strip()


def question_key(doc: Mapping[str, Any], gold: str) -> str:
    """Fingerprint of a question and its gold.

    Fields that a task may add to its documents later are left out: lm-eval's logs lack them.
    """
    plain = {name: value for name, value in doc.items() if name not in ADDED}
    return fingerprint(json.dumps(plain, sort_keys=True, default=str), gold)


def question_text(doc: Mapping[str, Any]) -> str:
    """The question that a document asks, for people; "" where no usual field holds one."""
    for name in QUESTION_FIELDS:
        if isinstance(doc.get(name), str):
            return str(doc[name])
    return ""


def match_documents(
    documents: Sequence[Mapping[str, Any]], prompts: Mapping[int, str], task: str
) -> dict[int, Mapping[str, Any]]:
    """The document behind each question of a run, found by the prompt's digest, never by number.

    Args:
        documents: the task's, as installed here.
        prompts: digest of each prompt, by the run's number of the document.
        task: its name, for messages.

    Returns:
        The documents, by the run's numbers.

    Raises:
        SettingError: a question is not among the documents, or equally worded documents have
            different golds.
    """
    by_prompt: dict[str, Mapping[str, Any]] = {}
    for document in documents:
        for prompt in document.get(PROMPTS, ()):
            other = by_prompt.setdefault(prompt, document)
            if other is not document and golds_of(other) != golds_of(document):
                raise SettingError(
                    f"task {task}: two documents are asked in the same words and have different "
                    "golds; grade the run's sample logs (lm-eval's --log_samples) instead"
                )
    lost = [number for number, prompt in sorted(prompts.items()) if prompt not in by_prompt]
    if lost:
        raise SettingError(
            f"task {task}: {len(lost)} of {len(prompts)} questions of the run, the first of them "
            f"document {lost[0]}, are not asked in these words by the task as it is here; use the "
            "run's data and metadata, and its --system-instruction if it had one, or grade its "
            "sample logs (lm-eval's --log_samples)"
        )
    return {number: by_prompt[prompt] for number, prompt in prompts.items()}


def _final(target: Any) -> Any:
    """GSM8K's answers end in "#### 18"."""
    if isinstance(target, str) and "####" in target:
        return target.rpartition("####")[2].strip()
    return target.strip() if isinstance(target, str) else target


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
