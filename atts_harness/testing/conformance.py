"""The conformance suite: what every backend has to do, engine by engine the same.

    results = await run_conformance(backend, TransformersReference(folder))
    assert not [r for r in results if r.status == "failed"], describe(results)

A case compares the backend with a plain forward pass of the same model folder, or with itself.
Served in float32, per-token log-probabilities agree within 1e-3. Cases that need a look into the
engine take it from `Hooks`, and are skipped without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from atts_harness.backend import Backend
from atts_harness.errors import SettingError
from atts_harness.transcript import Message

Status = Literal["passed", "failed", "skipped"]
TOLERANCE = 1e-3
CASE_SECONDS = 300.0


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
    """

    running: Callable[[], Awaitable[int]] | None = None
    refusals: Mapping[str, Callable[[], Awaitable[object]]] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseResult:
    """How a case went; `detail` says why it failed or was skipped."""

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
    """What a case works with.

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

    def require_close(self, got: Sequence[float], expected: Sequence[float], what: str) -> None:
        """Fail unless both have the same length and agree entry by entry."""
        require(len(got) == len(expected), f"{what}: {len(got)} values, expected {len(expected)}")
        for place, (a, b) in enumerate(zip(got, expected, strict=True)):
            # Written so that NaN fails.
            require(
                abs(a - b) <= self.tolerance,
                f"{what}: value {place} is {a:.6f}, the reference says {b:.6f}",
            )

    def require_greedy(self, context: Sequence[int], ids: Sequence[int], what: str) -> None:
        """Fail unless each of `ids` is a most probable continuation; near ties count as equal."""
        whole = [*context, *ids]
        start = len(context) - 1
        scores, best = self.reference.logprobs(whole)[start:], self.reference.best(whole)[start:]
        for place, (score, top) in enumerate(zip(scores, best, strict=True)):
            require(
                top - score <= 2 * self.tolerance,
                f"{what}: token {place} (id {ids[place]}) has log-probability {score:.4f}, the "
                f"best one {top:.4f}: this does not continue the given ids",
            )


Case = Callable[[Bench], Awaitable[None]]


def all_cases() -> dict[str, Case]:
    """Every case by name, in the order they are run."""
    from atts_harness.testing import conformance_generate, conformance_score, conformance_service

    return {
        **conformance_score.CASES,
        **conformance_generate.CASES,
        **conformance_service.CASES,
    }


async def run_conformance(
    backend: Backend,
    reference: Reference,
    *,
    hooks: Hooks | None = None,
    tolerance: float = TOLERANCE,
    only: Iterable[str] | None = None,
    case_seconds: float = CASE_SECONDS,
) -> list[CaseResult]:
    """Run the suite against an opened backend.

    Args:
        backend: under test; stays open.
        reference: the same model, computed plainly.
        hooks: a look into the engine.
        tolerance: of a log-probability.
        only: names of the cases to run, all by default.
        case_seconds: time limit of a case; one that takes longer has failed.

    Returns:
        One result for each case, in order. An unexpected exception is a failure.

    Raises:
        SettingError: `only` names a case that does not exist.
    """
    cases = all_cases()
    names = list(cases) if only is None else list(only)
    if unknown := [name for name in names if name not in cases]:
        raise SettingError(f"only: no such case: {', '.join(unknown)}")
    bench = Bench(backend, reference, hooks or Hooks(), tolerance)
    return [await _run(name, cases[name], bench, case_seconds) for name in names]


async def _run(name: str, case: Case, bench: Bench, seconds: float) -> CaseResult:
    began = time.perf_counter()
    status: Status = "passed"
    detail = ""
    try:
        async with asyncio.timeout(seconds):
            await case(bench)
    except CaseSkippedError as reason:
        status, detail = "skipped", str(reason)
    except TimeoutError:
        status, detail = "failed", f"no end within {seconds:.0f} s"
    except Exception as error:  # whatever a backend raises is a finding
        status = "failed"
        detail = (
            str(error) if isinstance(error, CaseFailedError) else f"{type(error).__name__}: {error}"
        )
    return CaseResult(name, status, detail, time.perf_counter() - began)


def describe(results: Iterable[CaseResult]) -> str:
    """One line for each case, for a terminal or an assertion message."""
    return "\n".join(
        f"{r.status:7} {r.name} ({r.seconds:.1f} s){': ' + r.detail if r.detail else ''}"
        for r in results
    )
