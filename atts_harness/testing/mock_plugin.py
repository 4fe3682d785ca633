"""The mock engine as a backend by name, and `MockTurns` as a strategy: a plugin for tests.

from atts_harness.testing import mock_plugin
plugins.manager().register(mock_plugin)
settings = parse_settings({"strategy": "mock-turns", "backend": "mock", "mock_seconds": 0.1})
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from atts_harness.backend import Backend, BackendKind, BackendOptions, BackendSpec
from atts_harness.hookspecs import hookimpl
from atts_harness.strategy import Strategy
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockTurns


class MockEngineOptions(BackendOptions, frozen=True, kw_only=True):
    """Settings of a mock engine in this process."""

    url: str | None = "mock"  # a mock needs no model
    mock_slots: Annotated[int, msgspec.Meta(ge=1, description="requests at a time")] = 16
    mock_seconds: Annotated[float, msgspec.Meta(ge=0, description="seconds a request")] = 0.0
    mock_seed: Annotated[int, msgspec.Meta(description="of what it draws")] = 0
    mock_cache: Annotated[bool, msgspec.Meta(description="whether it caches prefixes")] = False


async def open_mock(spec: BackendSpec[MockEngineOptions]) -> Backend:
    """A backend with its own mock engine."""
    options = spec.options
    engine = MockEngine(
        slots=options.mock_slots,
        latency=fixed(options.mock_seconds),
        seed=options.mock_seed,
        cache=options.mock_cache,
    )
    return MockBackend(engine, spec.model or "mock")


@hookimpl
def atts_backends() -> Iterable[BackendKind[MockEngineOptions]]:
    """The mock engine."""
    return [BackendKind("mock", MockEngineOptions, open_mock, "a mock engine in this process")]


@hookimpl
def atts_strategies() -> Iterable[type[Strategy]]:
    """The strategy of the mock engine."""
    return [MockTurns]
