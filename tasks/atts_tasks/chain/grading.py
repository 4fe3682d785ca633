"""Grading of the chain tasks: the last box must hold the integer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from atts_harness.analysis.statistics import maj_at_k, pass_at_k
from atts_harness.grading.extraction import boxed


def keep_all(resps: Iterable[Sequence[str]], docs: object) -> list[list[str]]:
    """An lm-eval filter that hands every repeat to the grader."""
    return [list(answers) for answers in resps]


def integer_of(text: str) -> int | None:
    """The integer in a text's last box, or None."""
    content = boxed(text)
    if content is None:
        return None
    try:
        return int(content.strip())
    except ValueError:
        return None


def process_results(doc: Mapping[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Figures of one problem from all its repeats.

    Args:
        doc: The problem; ``answer`` is the integer as text.
        results: What the filter left: one list with the text of every repeat.

    Returns:
        ``pass@1``, ``pass@k`` and ``maj@k`` with k the number of repeats; the shares ``invalid``
        (no integer in a box) and ``truncated`` (ended for want of turns or tokens).
    """
    texts = [results[0]] if isinstance(results[0], str) else list(results[0])
    gold, given = int(doc["answer"]), [integer_of(text) for text in texts]
    count, right = len(texts), given.count(gold)
    wrong = Counter(value for value in given if value is not None and value != gold)
    cut = [bool(getattr(getattr(text, "record", None), "truncated", False)) for text in texts]
    return {
        "pass@1": pass_at_k(count, right, 1),
        "pass@k": pass_at_k(count, right, count),
        "maj@k": maj_at_k(right, list(wrong.values()), given.count(None), count),
        "invalid": given.count(None) / count,
        "truncated": sum(cut) / count,
    }
