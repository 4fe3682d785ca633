"""A progress bar over samples, in the style of lm-eval's other models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from atts_harness import plugins
from atts_harness.hookspecs import hookimpl
from atts_harness.records import SampleRecord


class _Bar:
    """An observer of finished samples."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._failed = 0

    @hookimpl
    def atts_sample_finished(self, record: SampleRecord) -> None:
        """Move on by one."""
        if record.failed is not None:
            self._failed += 1
            self._bar.set_postfix(failed=self._failed)
        self._bar.update()


@contextmanager
def showing_progress(samples: int, disable: bool = False) -> Iterator[None]:
    """Show how many of `samples` are finished while the block runs."""
    manager = plugins.manager()
    with tqdm(total=samples, desc="Samples", disable=disable) as bar:
        watcher = _Bar(bar)
        manager.register(watcher)
        try:
            yield
        finally:
            manager.unregister(watcher)
