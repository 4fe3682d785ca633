r"""The language the pair speaks: how a step is written, and how a written step is checked.

A solution is a thinking part of steps that are separated by blank lines, ``</think>``, and an
answer part::

    17 + 5 = 22, so 22 - 8 * 2.

    Let me check: 17 + 5 = 22, so 22 - 8 * 2.

    Yes, 22 - 8 = 14, so 14 * 2.

    14 * 2 = 28, so 28.

    So it is 28.
    </think>

    The answer is \boxed{28}.

A step does the first operation and restates what is left. A *reflection* does the last step again;
after a wrong step it repairs it, which is what lets an error be undone without deleting anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from atts_tasks.chain.problems import Chain, apply, parse_chain

BLANK = "\n\n"
THINK_OPEN, THINK_CLOSE = "<think>\n", "</think>"

CONNECTIVES = (", so ", ", leaving ", ", now ")
"""Between an operation's result and what is left; one solution keeps to one."""

FIRST_HEADS = ("First, ", "To begin, ")
NEXT_HEADS = ("Next, ", "Then, ")
YES = "Yes, "
"""Opens the step after a reflection that agreed: the affirmation of speculative thinking."""

REFLECTIONS = ("Wait, ", "Let me check: ", "Alternatively, ", "Hold on, ")
CUE = "Let me check whether there are wrong steps: "
"""The long reflection, for strategies that insert a cue of their own before the target writes."""

CLOSINGS = ("So it is {}.", "Yes, it is {}.", "I am confident it is {}.")
ANSWERS = ("The answer is \\boxed{{{}}}.", "The final answer is \\boxed{{{}}}.")

JUDGE_QUESTION = (
    "Rate the last step for factual and logical correctness, from 0 (certainly wrong) to 9 "
    "(certainly right). Ignore style and usefulness. Reply with one digit."
)
JUDGE_PREFILL = THINK_OPEN + "The score is: "

Kind = Literal["step", "reflection", "closing", "answer", "other"]
Error = Literal["operands", "result", "restatement", "premature", "form"]


@dataclass(frozen=True)
class StepCheck:
    """What a written step is, and what is wrong with it.

    Attributes:
        kind: A first-time step, a reflection, the end of thinking, the answer, or none of these.
        error: None if the step is right given the steps before it; else the first thing wrong:
            it copies the operation wrongly, calculates wrongly, restates the rest wrongly, ends
            while operations are left, or is not a sentence of this language.
        expected: What the step should have left over, or None where that is not defined.
        after: What the step leaves over, or None if it does not say.
    """

    kind: Kind
    error: Error | None
    expected: Chain | None
    after: Chain | None


_STEP = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)\D+?(\d+(?: [-+*] \d+)*)\.?")
_ANSWER = re.compile(r"\\boxed\{(\d+)\}")
_CLOSING = re.compile(r"it is (\d+)")


def is_reflection(step: str) -> bool:
    """Whether a step opens with one of the words that do the last step again."""
    return step.startswith((*REFLECTIONS, CUE))


def check_steps(chain: Chain, steps: list[str]) -> list[StepCheck]:
    """Checks each step against the steps before it.

    A step that follows correctly from a wrong one is right: the question is which step went wrong,
    not whether the solution is lost.

    Args:
        chain: The problem's chain.
        steps: The thinking steps and the answer, in order, without their blank lines.
    """
    before, now = chain, chain
    checks: list[StepCheck] = []
    for step in steps:
        check = check_step(before, now, step)
        if check.after is not None:
            if check.kind == "step":
                before = now
            now = check.after
        checks.append(check)
    return checks


def check_step(before: Chain, now: Chain, step: str) -> StepCheck:
    """Checks one step where ``now`` is left over, and was ``before`` one step ago."""
    text = step.strip()
    if (answer := _ANSWER.search(text)) is not None:
        return _check_end("answer", now, int(answer.group(1)))
    if (closing := _CLOSING.search(text)) is not None:
        return _check_end("closing", now, int(closing.group(1)))
    kind: Kind = "reflection" if is_reflection(text) else "step"
    base = before if kind == "reflection" else now
    match = _STEP.search(text)
    if match is None or match.end() != len(text):
        return StepCheck("other", "form", base.step(), None)
    left, op, right, result, rest = match.groups()
    after = parse_chain(rest)
    expected = base.step()
    if after is None or not base.operations:
        return StepCheck(kind, "form", expected, after)
    error: Error | None = None
    if int(left) != base.start or (op, int(right)) != base.operations[0]:
        error = "operands"
    elif int(result) != apply(op, int(left), int(right)):  # type: ignore[arg-type]
        error = "result"
    elif after != expected:
        error = "restatement"
    return StepCheck(kind, error, expected, after)


def corrected(step: str, base: Chain) -> str:
    """A written step with its numbers as they should be, in its own words.

    Args:
        step: A step as written, with or without its blank line.
        base: What the step works on.

    Raises:
        ValueError: If it is not a step of this language.
    """
    match = _STEP.search(step)
    if match is None or not base.operations:
        raise ValueError(f"not a step: {step!r}")
    op, operand = base.operations[0]
    rest = base.step()
    words = step[: match.start()], step[match.end(4) : match.start(5)], step[match.end(5) :]
    return f"{words[0]}{base.start} {op} {operand} = {rest.start}{words[1]}{rest}{words[2]}"


def _check_end(kind: Kind, now: Chain, value: int) -> StepCheck:
    if now.operations:
        return StepCheck(kind, "premature", now.step(), None)
    return StepCheck(kind, None if value == now.start else "restatement", now, None)


def split_steps(text: str) -> list[str]:
    """The steps of a solution's text, empty ones left out."""
    return [step for step in text.split(BLANK) if step.strip()]
