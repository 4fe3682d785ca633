"""What is simulated of the published pairs: strategies at operating points, samples and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.pays.pairs import GPUS

SAMPLES = (1, 4, 16, 64)
LIMITS = (32, 48, 64, 96, 128, 192)
"""Values of `live_samples` that are tried, besides none, where there are more samples in all."""
FEW = (128,)
"""Where no score reads the cache, a limit cannot keep it."""
OPEN: dict[str, Any] = dict.fromkeys(
    ("draft_concurrency", "score_concurrency", "takeover_concurrency"), 256
)
"""No limit but the engine's own 256 sequences, for every row alike."""
PUBLISHED = {"draft_concurrency": 16, "target_concurrency": 4}
ONE = ("h100",)


@dataclass(frozen=True)
class Kind:
    """A strategy at one operating point.

    Attributes:
        title: as tables show it.
        strategy: its name.
        options: its settings.
        samples: a question, one run each.
        cached: whether scores read the prefix cache.
        gpus: on which GPU types.
        limits: values of `live_samples` that are tried besides none, from the smallest up, until
            one costs much more than the best; a row with limits has a range as well.
    """

    title: str
    strategy: str
    options: Mapping[str, Any]
    samples: tuple[int, ...] = (16,)
    cached: bool = True
    gpus: tuple[str, ...] = GPUS
    limits: tuple[int, ...] = ()

    def limited(self, live: int) -> Kind:
        """With at most so many samples in progress; 0: without a limit."""
        return replace(self, options={**self.options, "live_samples": live}) if live else self


KINDS = (
    Kind("target-only", "target-only", OPEN, SAMPLES, limits=LIMITS),
    Kind("atts .4", "atts", OPEN | {"rate": 0.4}, SAMPLES, limits=LIMITS),
    Kind("atts .4, scores not cached", "atts", OPEN | {"rate": 0.4}, SAMPLES, False, limits=FEW),
    Kind("atts .2", "atts", OPEN | {"rate": 0.2}, SAMPLES, limits=LIMITS),
    Kind("atts .1", "atts", OPEN | {"rate": 0.1}, gpus=ONE),
    Kind("atts .4, in its place", "atts", OPEN | {"rate": 0.4, "on_reject": "replace"}, gpus=ONE),
    Kind("random takeover .4", "random-takeover", OPEN | {"rate": 0.4}, gpus=ONE),
    Kind("synchronous .4", "synchronous", OPEN | {"rate": 0.4}, gpus=ONE),
    Kind("target-only, one at a time", "target-only", {"live_samples": 1}, gpus=ONE),
    Kind("atts .4, one at a time", "atts", {"rate": 0.4, "live_samples": 1}, gpus=ONE),
    Kind("synchronous .4, published limits", "synchronous", PUBLISHED | {"rate": 0.4}, gpus=ONE),
    Kind("atts .4, published limits", "atts", PUBLISHED | {"rate": 0.4}, gpus=ONE),
)


def recorded(bank: Path | None) -> tuple[Kind, ...]:
    """ATTS with and without drafting ahead; with the run's own bank all decide as was recorded."""
    options = OPEN | {"rate": 0.4}
    if bank is not None:
        options |= {"bank": str(bank), "coverage": "marginal", "rule": "reference"}
    return tuple(
        Kind(title, "atts", options | {"draft_ahead": ahead}, (1, 16), cached)
        for ahead in (False, True)
        for cached in (True, False)
        for title in [name_of(ahead, cached)]
    )


def name_of(ahead: bool, cached: bool) -> str:
    """Title of a row of `recorded`."""
    return f"as recorded{', draft ahead' * ahead}{'' if cached else ', scores not cached'}"
