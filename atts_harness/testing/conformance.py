"""The conformance suite: what every backend must do, the same for every engine.

    results = await run_conformance(backend, TransformersReference(folder))
    assert not [r for r in results if r.status == "failed"], describe(results)

A case compares the backend with a plain forward pass of the same model folder, or with itself.
Served in float32, per-token log-probabilities agree within 1e-3. Cases that need a look into the
engine take it from `Hooks`, and are skipped without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from atts_harness.backend import Backend
from atts_harness.errors import SettingError
from atts_harness.testing import conformance_generate, conformance_score, conformance_service
from atts_harness.testing.conformance_case import (
    TOLERANCE,
    Bench,
    Case,
    CaseFailedError,
    CaseResult,
    CaseSkippedError,
    Hooks,
    Reference,
    Status,
    require,
)

__all__ = [
    "Bench",
    "Case",
    "CaseFailedError",
    "CaseResult",
    "CaseSkippedError",
    "Hooks",
    "Reference",
    "all_cases",
    "describe",
    "require",
    "run_conformance",
]

CASE_SECONDS = 300.0


def all_cases() -> dict[str, Case]:
    """Every case by name, in the order they are run."""
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
        hooks: look into the engine.
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
