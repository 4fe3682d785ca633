"""A gate at which the samples of one problem wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from atts_harness.errors import StrategyError

T = TypeVar("T")


class Gate:
    """Lets the live samples of one group share values; shrinks as members finish."""

    def __init__(self, repeats: Sequence[int]) -> None:
        self._live = set(repeats)
        self._values: dict[str, dict[int, Any]] = {}
        self._complete: dict[str, asyncio.Event] = {}

    async def gather(self, repeat: int, key: str, value: T) -> Mapping[int, T]:
        """Give a value and wait until every live sample has given one."""
        values = self._values.setdefault(key, {})
        complete = self._complete.setdefault(key, asyncio.Event())
        if repeat in values:
            raise StrategyError(
                f"gather: sample {repeat} comes to {key!r} twice; give each gathering a key of its "
                "own, such as the turn's number"
            )
        values[repeat] = value
        self._check(key)
        await complete.wait()
        return dict(sorted(values.items()))

    def leave(self, repeat: int) -> None:
        """Note that a sample has ended, so that others stop waiting for it."""
        self._live.discard(repeat)
        for key in self._values:
            self._check(key)

    def _check(self, key: str) -> None:
        if self._live <= self._values[key].keys():
            self._complete[key].set()
