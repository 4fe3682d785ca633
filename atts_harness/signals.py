"""Signals of how bad a draft is: the nonconformity from which a p-value is computed.

ATTS asks the target for the draft's perplexity, which costs a call a turn. The other signals cost
no call: they come from the draft's own probabilities while it writes. They are here to be compared
at the same conformal rate, and at the same cost.

| signal | nonconformity | from |
|---|---|---|
| perplexity | mean negative log-probability under the target | ATTS, arXiv 2509.15148 |
| draft-perplexity | the same under the draft | |
| first-token-entropy | entropy of the draft's first token | GlimpRouter |
| mean-entropy | mean entropy of its tokens | |
| lowest-group | minus the confidence of the least sure 32 tokens in a row | DeepConf, 2508.15260 |
| random | a seeded draw: a control | |

Entropies are in nats, over the 20 likeliest tokens with their probabilities scaled to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from atts_harness.backend import GenerateReply
from atts_harness.errors import MalformedReplyError
from atts_harness.strategy import Generation

__all__ = [
    "CANDIDATES",
    "PERPLEXITY",
    "SIGNALS",
    "OwnSignal",
    "SignalName",
    "confidence",
    "confidences_of",
    "entropy",
    "with_confidences",
]

SignalName = Literal[
    "perplexity",
    "draft-perplexity",
    "first-token-entropy",
    "mean-entropy",
    "lowest-group",
    "random",
]
PERPLEXITY: SignalName = "perplexity"
CANDIDATES = 20
GROUP = 32
T = TypeVar("T")


@dataclass(frozen=True)
class OwnSignal:
    """A signal that needs no score of the target.

    Attributes:
        value: computes the nonconformity of a draft; None: a seeded draw.
        top_logprobs: alternatives that it needs for each token.
    """

    value: Callable[[Generation], float] | None
    top_logprobs: int = 0


def entropy(logprobs: Sequence[float]) -> float:
    """Entropy in nats of the given log-probabilities, scaled so that they add up to 1."""
    top = max(logprobs)
    if top == -math.inf:
        raise MalformedReplyError("all alternatives of a token have probability 0")
    weights = [math.exp(logprob - top) for logprob in logprobs]
    total = math.fsum(weights)
    shares = [weight / total for weight in weights if weight > 0]
    return -math.fsum(share * math.log(share) for share in shares)


def confidence(logprobs: Iterable[float]) -> float | None:
    """Minus the mean log-probability of a token's candidates, in nats (DeepConf, 2508.15260).

    Candidates with probability 0 are left out; None if there are no others.
    """
    possible = [value for value in logprobs if value > -math.inf]
    return -math.fsum(possible) / len(possible) if possible else None


def confidences_of(steps: Iterable[Iterable[float]]) -> tuple[int, ...] | None:
    """Each token's confidence, in thousandths of a nat as published; None where one has none."""
    values = [confidence(step) for step in steps]
    thousandths = tuple(round(1000 * value) for value in values if value is not None)
    return thousandths if len(thousandths) == len(values) else None


def with_confidences(reply: GenerateReply) -> GenerateReply:
    """The reply with each token's confidence in place of its alternatives.

    Groups, bars and votes are made of confidences alone, so all of them can be made again. A reply
    in which a token has no alternatives stays as it is.
    """
    if reply.top_logprobs is None:
        return reply
    confidences = confidences_of(step.values() for step in reply.top_logprobs)
    if confidences is None:
        return reply
    return msgspec.structs.replace(reply, top_logprobs=None, confidences=confidences)


def draft_perplexity(reply: Generation) -> float:
    """Mean negative log-probability of the draft's tokens, in nats, end of turn included."""
    logprobs = _required(reply.logprobs)
    return -math.fsum(logprobs) / len(logprobs)


def first_token_entropy(reply: Generation) -> float:
    """Entropy of the draft's first token, in nats."""
    return entropy(_required(reply.candidates)[0])


def mean_entropy(reply: Generation) -> float:
    """Mean entropy over the draft's tokens, in nats."""
    steps = _required(reply.candidates)
    return math.fsum(map(entropy, steps)) / len(steps)


def lowest_group(reply: Generation) -> float:
    """The least sure group of 32 tokens; of a shorter draft all of it.

    A group's confidence is the mean of its tokens'. Nonconformity is minus the confidence, so that
    unsure is large.
    """
    values = [confidence(step) for step in _required(reply.candidates)]
    sure = [value for value in values if value is not None]
    if not sure:
        raise MalformedReplyError("the draft's tokens came without alternatives")
    size = min(GROUP, len(sure))
    return -min(math.fsum(sure[at : at + size]) / size for at in range(len(sure) - size + 1))


def _required(values: Sequence[T] | None) -> Sequence[T]:
    if not values:
        raise MalformedReplyError("the draft's tokens came without log-probabilities")
    return values


SIGNALS: dict[SignalName, OwnSignal] = {
    "draft-perplexity": OwnSignal(draft_perplexity, 1),
    "first-token-entropy": OwnSignal(first_token_entropy, CANDIDATES),
    "mean-entropy": OwnSignal(mean_entropy, CANDIDATES),
    "lowest-group": OwnSignal(lowest_group, CANDIDATES),
    "random": OwnSignal(None),
}
"""All but `perplexity`, which is a call to the target."""
