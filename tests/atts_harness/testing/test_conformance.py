"""The suite passes a right backend, and each of its cases fails a backend that is wrong there."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from atts_harness.backend import (
    Backend,
    BackendSpec,
    Capabilities,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.errors import SettingError
from atts_harness.testing.conformance import Hooks, all_cases, describe, run_conformance

pytest.importorskip("torch")
pytest.importorskip("transformers")
from atts_transformers.backend import open_backend
from atts_transformers.options import TransformersOptions

from atts_harness.testing.conformance_folder import write_model_folder
from atts_harness.testing.conformance_reference import TransformersReference

from .wrong_backends import IgnoresSampling, LooksForCallers, NeverReadsCache, Wrong
from .wrong_identities import ALL_FAULTS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def reference(folder: Path) -> TransformersReference:
    return TransformersReference(str(folder))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Any]:
    backend = await open_backend(
        BackendSpec("transformers", str(folder), TransformersOptions(threads=1))
    )
    try:
        yield backend
    finally:
        await backend.aclose()


def hooks_for(backend: Any) -> Hooks:
    async def running() -> int:
        return int(backend.running)

    async def start_out_of_range() -> object:
        return await backend.score(ScoreRequest(ids=(1, 2), start=5))

    return Hooks(running=running, refusals={"start": start_out_of_range})


def test_right_backend_passes_every_case(folder: Path, reference: TransformersReference) -> None:
    async def run() -> None:
        async with opened(folder) as backend:
            results = await run_conformance(backend, reference, hooks=hooks_for(backend))
            assert [r.name for r in results] == list(all_cases())
            assert {r.status for r in results} == {"passed"}, describe(results)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "cases"), ALL_FAULTS, ids=[fault.__name__ for fault, _ in ALL_FAULTS]
)
def test_wrong_backend_fails(
    fault: Callable[[Any], Backend],
    cases: tuple[str, ...],
    folder: Path,
    reference: TransformersReference,
) -> None:
    async def run() -> None:
        async with opened(folder) as inner:
            backend = fault(inner)
            results = await run_conformance(
                backend, reference, hooks=hooks_for(backend), only=cases
            )
            assert {r.name for r in results if r.status == "failed"} == set(cases), describe(
                results
            )
            assert all(r.detail for r in results)

    asyncio.run(run())


def test_every_case_has_a_backend_that_fails_it() -> None:
    assert {name for _, cases in ALL_FAULTS for name in cases} == set(all_cases())


def test_an_engine_that_looks_for_dropped_connections_has_its_time(
    folder: Path, reference: TransformersReference
) -> None:
    async def run() -> None:
        async with opened(folder) as inner:
            backend = LooksForCallers(inner)
            hooks = dataclasses.replace(hooks_for(backend), notices_within=60.0)
            results = await run_conformance(
                backend, reference, hooks=hooks, only=["cancellation_frees"]
            )
            assert [r.status for r in results] == ["passed"], describe(results)

    asyncio.run(run())


def test_cases_that_do_not_apply_are_skipped(
    folder: Path, reference: TransformersReference
) -> None:
    class DraftOnly(Wrong):
        @property
        def capabilities(self) -> Capabilities:
            return Capabilities(scores=False, scores_read_cache=False, seeds=False, top_logprobs=0)

        async def score(self, request: ScoreRequest) -> ScoreReply:
            raise AssertionError("a backend that cannot score was asked to")

    async def run() -> dict[str, str]:
        async with opened(folder) as inner:
            results = await run_conformance(DraftOnly(inner), reference)
            assert not [r for r in results if r.status == "failed"], describe(results)
            assert all(r.detail for r in results if r.status == "skipped")
            return {r.name: r.status for r in results}

    status = asyncio.run(run())
    skipped = {name for name, found in status.items() if found == "skipped"}
    assert skipped == {
        *(name for name in all_cases() if name.startswith("score_")),
        *("seeds", "top_logprobs", "cancellation_frees", "refusals_are_typed"),
    }


def test_a_model_without_likelier_tokens_says_nothing_of_filters(folder: Path) -> None:
    class Flat:
        def logprobs(self, ids: Sequence[int]) -> list[float]:
            return [-5.0] * (len(ids) - 1)

        best = logprobs

        def alternatives(self, ids: Sequence[int], count: int) -> dict[int, float]:
            return dict.fromkeys(range(count), -5.0)

    async def run() -> None:
        async with opened(folder) as inner:
            results = await run_conformance(
                IgnoresSampling(inner), Flat(), only=["narrow_sampling_is_greedy", "filters_hold"]
            )
            assert [r.status for r in results] == ["skipped", "skipped"], describe(results)
            assert all("`top_k`" in r.detail for r in results)

    asyncio.run(run())


def test_a_missing_cache_is_reported_with_what_to_declare(
    folder: Path, reference: TransformersReference
) -> None:
    async def run() -> None:
        async with opened(folder) as inner:
            (result,) = await run_conformance(
                NeverReadsCache(inner), reference, only=["score_reads_cache"]
            )
            assert result.detail.endswith("says so by Capabilities(scores_read_cache=False)")

    asyncio.run(run())


def test_a_case_that_hangs_has_failed(folder: Path, reference: TransformersReference) -> None:
    class Hangs(Wrong):
        async def score(self, request: ScoreRequest) -> ScoreReply:
            await asyncio.Event().wait()
            raise AssertionError

    async def run() -> None:
        async with opened(folder) as inner:
            (result,) = await run_conformance(
                Hangs(inner), reference, only=["score_usage"], case_seconds=0.05
            )
            assert result.status == "failed"
            assert "no end" in result.detail

    asyncio.run(run())


def test_unknown_case_is_named(reference: TransformersReference) -> None:
    unused: Awaitable[Any] = run_conformance(Wrong(None), reference, only=["score_speed"])
    with pytest.raises(SettingError, match="score_speed"):
        asyncio.run(unused)  # type: ignore[arg-type]
