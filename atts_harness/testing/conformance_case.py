"""What conformance cases work with: a bench, hooks, and errors for a backend that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from atts_harness.backend import Backend
from atts_harness.transcript import Message

Status = Literal["passed", "failed", "skipped"]
TOLERANCE = 1e-3


class Reference(Protocol):
    """A plain forward pass over whole contexts."""

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of every id after the first: `len(ids) - 1` values."""
        ...

    def best(self, ids: Sequence[int]) -> list[float]:
        """Highest log-probability at every position but the last, aligned with `logprobs`."""
        ...

    def alternatives(self, ids: Sequence[int], count: int) -> dict[int, float]:
        """The `count` most probable ids after `ids`, with their log-probabilities."""
        ...


@dataclass(frozen=True)
class Hooks:
    """A look into the engine, where there is one.

    Attributes:
        running: how many requests the engine computes now.
        refusals: for each shape of error body, a call that provokes it. It has to raise an error
            of `atts_harness.errors`.
        notices_within: seconds after which the engine looks for dropped connections, if that is
            the only way in which it learns of a cancelled request.
    """

    running: Callable[[], Awaitable[int]] | None = None
    refusals: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)
    notices_within: float = 0.0


@dataclass(frozen=True)
class CaseResult:
    """The result of a case; `detail` says why it failed or was skipped."""

    name: str
    status: Status
    detail: str = ""
    seconds: float = 0.0


class CaseFailedError(AssertionError):
    """The backend does not do what the case asks for."""


class CaseSkippedError(Exception):
    """The case does not apply to this backend; says why."""


def require(condition: bool, message: str) -> None:
    """Fail the case with `message` unless `condition`."""
    if not condition:
        raise CaseFailedError(message)


@dataclass(frozen=True)
class Bench:
    """The things that a case works with.

    Attributes:
        backend: under test.
        reference: the same model, computed plainly.
        hooks: a look into the engine.
        tolerance: of a log-probability (natural logarithm).
    """

    backend: Backend
    reference: Reference
    hooks: Hooks = Hooks()
    tolerance: float = TOLERANCE

    def context(self, problem: str = "Compute 17 + 5 - 8 * 2 (left to right).") -> tuple[int, ...]:
        """Ids of a chat message up to where the assistant writes."""
        return self.backend.tokenizer.render([Message("user", problem)])

    def partial(
        self, text: str = "17 + 5 = 22, so 22 - 8 * 2 + 9.\n\n22 - 8 = 1"
    ) -> tuple[int, ...]:
        """A context whose assistant turn has begun; it ends inside a word or number."""
        return self.context() + self.backend.tokenizer.encode(text)

    def long_context(self) -> tuple[int, ...]:
        """A context of about half the window, at most 600 tokens."""
        text = " ".join(f"{n} + {n % 7} = {n + n % 7}," for n in range(400))
        size = min(600, self.backend.max_length // 2)
        return (self.context() + self.backend.tokenizer.encode(text))[:size]

    def require_close(self, got: Sequence[float], expected: Sequence[float], label: str) -> None:
        """Fail unless both have the same length and agree entry by entry."""
        require(len(got) == len(expected), f"{label}: {len(got)} values, expected {len(expected)}")
        for index, (a, b) in enumerate(zip(got, expected, strict=True)):
            # Written so that NaN fails.
            require(
                abs(a - b) <= self.tolerance,
                f"{label}: value {index} is {a:.6f}, the reference says {b:.6f}",
            )

    def require_greedy(self, context: Sequence[int], ids: Sequence[int], label: str) -> None:
        """Fail unless each of `ids` is a most probable continuation; near ties count as equal."""
        whole = [*context, *ids]
        start = len(context) - 1
        scores, best = self.reference.logprobs(whole)[start:], self.reference.best(whole)[start:]
        for index, (score, top) in enumerate(zip(scores, best, strict=True)):
            require(
                top - score <= 2 * self.tolerance,
                f"{label}: token {index} (id {ids[index]}) has log-probability {score:.4f}, the "
                f"best one {top:.4f}: this does not continue the given ids",
            )


Case = Callable[[Bench], Awaitable[None]]
