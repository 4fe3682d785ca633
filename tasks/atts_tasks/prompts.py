r"""The prompts: one wording for maths, one for multiple choice.

Each is a user message; every model applies its own chat template. A step is a paragraph, so that
methods that judge steps can find them, and the answer is in a box.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MATHS = (
    "Solve this problem step by step, with a blank line between steps. "
    "Put the final answer, and nothing else, in \\boxed{{}}.\n\n{question}"
)
_CHOICE = (
    "Answer this question step by step, with a blank line between steps. "
    "Put the letter of the right option, and nothing else, in \\boxed{{}}.\n\n{question}\n\n"
    "{options}"
)


def ask(doc: Mapping[str, Any]) -> str:
    """The user message for a document.

    Args:
        doc: from `atts_tasks.data.load`.

    Returns:
        Instruction, question and, for multiple choice, the options with their letters.
    """
    if doc["kind"] == "choice":
        options = "\n".join(
            f"({letter}) {text}" for letter, text in zip("ABCD", doc["choices"], strict=True)
        )
        return _CHOICE.format(question=doc["question"], options=options)
    return _MATHS.format(question=doc["question"])
