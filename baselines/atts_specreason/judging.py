"""From the judge's next token to a score."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from atts_harness.strategy import Generation


@dataclass(frozen=True)
class Judgement:
    """What the target says of a step.

    Attributes:
        score: usually 0 to 9. A vocabulary in which several digits are one token can say more, as
            in the published code: `85` is 85.
        token: the judge's token.
        digits: probability of each number among its likeliest tokens, not renormalised.
    """

    score: float
    token: str
    digits: Mapping[str, float] = field(default_factory=dict)


def greedy(reply: Generation) -> Judgement:
    """The generated token as a number; whatever is none is 0, a leading space included."""
    token = _token(reply)
    return Judgement(float(token) if token.isdecimal() else 0.0, token, _digits(reply))


def average(reply: Generation) -> Judgement:
    """The mean of the numbers among the likeliest tokens, weighted by probability; none: 0."""
    digits = _digits(reply)
    mass = math.fsum(digits.values())
    score = 0.0
    if mass > 0:
        score = math.fsum(float(digit) * p for digit, p in digits.items()) / mass
    return Judgement(score, _token(reply), digits)


JUDGING = {"greedy": greedy, "average": average}


def _token(reply: Generation) -> str:
    return reply.segment.text


def _digits(reply: Generation) -> dict[str, float]:
    first = reply.top_logprobs[0] if reply.top_logprobs else {}
    return {text: math.exp(logprob) for text, logprob in first.items() if text.isdecimal()}
