"""Seeds: a function of what a call is for, never of when it happens."""

from __future__ import annotations

import hashlib

from atts_harness.records import SampleId

SEED_BITS = 31  # every engine takes a signed 32-bit seed


def _digest(*parts: object) -> int:
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())


def call_seed(
    run_seed: int, sample: SampleId, role: str, kind: str, turn: int, attempt: int = 0
) -> int:
    """Seed of one call, in [0, 2^31).

    The strategy's name is not in it, so strategies share what can be shared: the first draft of
    a sample is the same under all of them.
    """
    parts = (run_seed, sample.task, sample.doc, sample.repeat, role, kind, turn, attempt)
    return _digest(*parts) >> (64 - SEED_BITS)


def uniform(run_seed: int, sample: SampleId, purpose: str, turn: int, attempt: int = 0) -> float:
    """A draw in [0, 1) with 53 random bits."""
    parts = (run_seed, sample.task, sample.doc, sample.repeat, "uniform", purpose, turn, attempt)
    return (_digest(*parts) >> 11) / (1 << 53)
