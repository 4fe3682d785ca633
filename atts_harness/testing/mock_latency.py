"""Latency laws of a mock engine: seconds from the work of a request."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Sort = Literal["generate", "score"]


@dataclass(frozen=True)
class RequestWork:
    """The work of a request, in tokens.

    Attributes:
        sort: generation or score.
        prompt: length of the context.
        cached: the part of it in the prefix cache.
        written: tokens to be generated.
        batch: requests that run, this one included.
    """

    sort: Sort
    prompt: int
    cached: int
    written: int
    batch: int


Law = Callable[[RequestWork, random.Random], float]
"""Seconds that a request takes once it has a slot; the generator is the request's own."""


def fixed(seconds: float) -> Law:
    """The same number of seconds for every request."""
    return lambda work, rng: seconds


def per_token(base: float, prefill: float, decode: float, batching: float = 0.0) -> Law:
    """As engines do: seconds a request, a token to compute and a token to write.

    Args:
        base: seconds a request.
        prefill: seconds a token of uncached context.
        decode: seconds a generated token.
        batching: relative slowdown for each further running request.
    """

    def law(work: RequestWork, rng: random.Random) -> float:
        alone = base + prefill * (work.prompt - work.cached) + decode * work.written
        return alone * (1 + batching * (work.batch - 1))

    return law


def lognormal(median: float, sigma: float) -> Law:
    """Long tails: exp of a normal variable with standard deviation `sigma`."""
    return lambda work, rng: median * rng.lognormvariate(0.0, sigma)


def traced(seconds: Sequence[float]) -> Law:
    """Durations that were measured somewhere; each request draws one of them.

    Raises:
        ValueError: the trace is empty.
    """
    if not seconds:
        raise ValueError("traced: the trace has no durations")
    return lambda work, rng: rng.choice(seconds)


def by_sort(laws: Mapping[Sort, Law]) -> Law:
    """A law for scores and another for generations."""
    return lambda work, rng: laws[work.sort](work, rng)
