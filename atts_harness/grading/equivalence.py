r"""Whether an answer equals the gold: one deterministic grader for every task and strategy.

Both are read by a grammar into typed trees (`reading.answers.read`) and compared node by node
(`equality.comparison`): they are equal if their meaning is, whatever the spelling. An answer that
the grammar does not cover is graded wrong and counted as undecided. `docs/grading.md` has the
rules with examples.

`fast` decides nearly all pairs in bounded time. `decide` also uses computer algebra, for formulas
without a computable value (integrals, long sums, inequalities to solve). That may run for ever:
call it in a worker (`atts_harness.grading.workers`), not in a process that must survive.
"""

from __future__ import annotations

import msgspec

from atts_harness.grading.choices import letter_of
from atts_harness.grading.equality.amounts import PERCENT
from atts_harness.grading.equality.comparison import Algebra, AnswerComparison
from atts_harness.grading.extraction import Kind
from atts_harness.grading.reading.answers import plain_letters, read
from atts_harness.grading.reading.tokens import LONGEST, UnreadableError, tokens
from atts_harness.grading.tree import unread
from atts_harness.grading.units import parse_unit


class Gold(msgspec.Struct, frozen=True):
    """A right answer and what the task's row states about it.

    Attributes:
        text: LaTeX or plain; for `choice` the letter.
        kind: what is asked for.
        several: the row says that there are several answers; commas separate, order is free.
        tolerance: absolute error that the row allows for numbers.
        unit: the unit that the row states.
    """

    text: str
    kind: Kind = "maths"
    several: bool = False
    tolerance: float | None = None
    unit: str | None = None


class GradingVerdict(msgspec.Struct, frozen=True):
    """The result of grading an answer.

    Attributes:
        right: the answer equals the gold.
        error: why no comparison was possible (`timeout`, `crash`, `too long`, an exception's
            name); graded wrong and counted apart. None if grading worked.
        undecided: why no rule could tell right from wrong; graded wrong and counted apart. None
            where a rule decided.
    """

    right: bool
    error: str | None = None
    undecided: str | None = None


RIGHT = GradingVerdict(True)
WRONG = GradingVerdict(False)


def fast(answer: str, gold: Gold) -> GradingVerdict | None:
    """Decide without computer algebra.

    Args:
        answer: extracted answer.
        gold: what it should be.

    Returns:
        A verdict, or None if only computer algebra can tell.
    """
    return _compare(answer, gold, None)


def decide(answer: str, gold: Gold) -> GradingVerdict:
    """Decide, with computer algebra where values are not enough; may run without bound.

    Args:
        answer: extracted answer.
        gold: what it should be.

    Returns:
        A verdict; an exception of the algebra system becomes its `error`.
    """
    verdict = fast(answer, gold)
    if verdict is not None:
        return verdict
    from atts_harness.grading.algebra.symbolic import SYMPY

    try:
        verdict = _compare(answer, gold, SYMPY)
    except Exception as error:  # anything at all can come out of algebra fed by a model
        return GradingVerdict(False, f"exception: {type(error).__name__}")
    return verdict or WRONG


def unreadable(gold: Gold) -> str | None:
    """Why a gold cannot be compared with anything, None if it can."""
    if gold.kind == "choice":
        return None if letter_of(gold.text) else "it is not a letter from A to D"
    return unread(read(gold.text, several=gold.several, unit=gold.unit))


def _compare(answer: str, gold: Gold, algebra: Algebra | None) -> GradingVerdict | None:
    if gold.kind == "choice":
        letter = letter_of(answer)
        return GradingVerdict(letter is not None and letter == letter_of(gold.text))
    if len(answer) > LONGEST:
        return GradingVerdict(False, "too long")
    try:
        answer_tokens, gold_tokens = (
            tokens(text, several=gold.several) for text in (answer, gold.text)
        )
    except UnreadableError as error:
        return GradingVerdict(False, undecided=str(error))
    if answer_tokens and [token.key for token in answer_tokens] == [
        token.key for token in gold_tokens
    ]:
        return RIGHT
    comparison = AnswerComparison(
        tolerance=gold.tolerance,
        unit=parse_unit(gold.unit) if gold.unit else None,
        percent=gold.unit in PERCENT,
        signed=any(token.text in ("pm", "mp") for token in gold_tokens if token.kind == "op"),
        algebra=algebra,
    )
    right = read(gold.text, several=gold.several, unit=gold.unit, plain=plain_letters(answer))
    reason = unread(right)
    if reason is not None:
        return GradingVerdict(False, f"gold: {reason}")
    truth = comparison.same(
        read(answer, several=gold.several, unit=gold.unit, plain=plain_letters(gold.text)), right
    )
    if truth is None:
        if comparison.hard and algebra is None:
            return None
        return GradingVerdict(
            False, undecided=comparison.doubts[-1] if comparison.doubts else "no rule"
        )
    return GradingVerdict(truth)
