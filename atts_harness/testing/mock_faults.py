"""Faults that a mock engine makes on purpose, drawn from the request, and its log of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Common = Literal["500", "429", "timeout", "reset", "truncated", "nan", "length"]
FAULTS: tuple[Common, ...] = get_args(Common)
"""Faults that every engine has now and then."""
Hostile = Literal[
    "ids-beyond",
    "ids-negative",
    "ids-2^32",
    "ids-2^80",
    "ids-too-many",
    "other-id",
    "other-prompt",
    "cached-too-many",
    "usage-2^80",
    "usage-negative",
    "logprob-above-zero",
    "logprob-missing",
    "logprob-zero-probability",
    "stop-unasked",
    "finish-unknown",
    "finish-null",
    "html",
    "error-with-200",
    "deep",
    "bad-utf8",
    "huge",
    "inflated",
    "400",
    "400-queue",
    "400-deep",
    "401",
    "404",
    "redirect",
    "echo",
]
HOSTILE: tuple[Hostile, ...] = get_args(Hostile)
"""Replies of servers that went wrong, over HTTP only; see `mock_hostile`."""
Fault = Common | Hostile


@dataclass(frozen=True)
class FaultPlan:
    """Which faults happen, and how often.

    Attributes:
        rates: share of tries that fail, by fault; together at most 1.
        most: a request fails at most so often; then it is served.
        retry_after: seconds that a 429 asks to wait.
        seed: of the draws.
        sort: `generate` or `score`: only these go wrong; None: both.

    Raises:
        ValueError: the rates sum to more than 1 or name no fault.
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    most: int = 1_000_000
    retry_after: float = 1.0
    seed: int = 0
    sort: Literal["generate", "score"] | None = None

    def __post_init__(self) -> None:
        unknown = set(self.rates) - {*FAULTS, *HOSTILE}
        if unknown:
            raise ValueError(
                f"rates: no fault is called {sorted(unknown)}; there are {FAULTS} and {HOSTILE}"
            )
        if not 0 <= sum(self.rates.values()) <= 1:
            raise ValueError(f"rates: sum to {sum(self.rates.values())}, not to [0, 1]")

    def draw(self, key: str, tried: int) -> Fault | None:
        """The fault of one try of a request, or None.

        Args:
            key: names the request.
            tried: number of earlier tries.
        """
        if not self.rates or tried >= self.most:
            return None
        if self.sort is not None and not key.startswith(self.sort):
            return None
        draw = random.Random(f"{self.seed}/{key}/{tried}").random()
        for fault, rate in self.rates.items():
            draw -= rate
            if draw < 0:
                return fault
        return None


@dataclass(frozen=True)
class ServedTry:
    """One try as the engine saw it.

    Attributes:
        key: names the request (`request_key`).
        fault: the fault that was made; None if it was served.
        at: the engine's clock.
        prompt: length of the context in tokens.
    """

    key: str
    fault: Fault | None
    at: float
    prompt: int = 0


def request_key(request_hash: str) -> str:
    """The part of a request that an engine knows: sort, context and a generation's seed.

    Args:
        request_hash: as in a call's record.
    """
    parts = request_hash.split(":")
    return ":".join(parts[:2] if parts[0] == "score" else [*parts[:2], parts[4]])
