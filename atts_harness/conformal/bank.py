"""A bank: the scores of one task, and what they depend on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from atts_harness.conformal.provenance import Provenance
from atts_harness.errors import SettingError


class Bank(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Scores of one task, column by column, and what they depend on.

    Attributes:
        nonconformities: s, in nats per token; `inf` is allowed, NaN is not.
        turns: the turn of each score; all 0 for a first-turn bank.
        questions: the document id of each score.
        provenance: what the scores depend on.
        rate: the takeover rate of the run that the scores are from; None if unknown. Later
            turns' scores depend on it.
        split: where the questions are from (`train`, `evaluation`, ...); None if unknown.
        evaluation_questions: True if the document ids are those of the evaluation; only then can
            a problem find its own scores (coverage `conditional`).
        origin: how it was made, in words.
    """

    nonconformities: tuple[float, ...]
    turns: tuple[int, ...]
    questions: tuple[int, ...]
    provenance: Provenance = Provenance()
    rate: float | None = None
    split: str | None = None
    evaluation_questions: bool = False
    origin: str = ""

    def __len__(self) -> int:
        """How many scores."""
        return len(self.nonconformities)


def validated(bank: Bank, source: str) -> Bank:
    """The bank, if its scores can be ranked against.

    Raises:
        SettingError: no scores, NaN or -inf, columns of different lengths, a negative turn, a rate
            outside of [0, 1].
    """
    count = len(bank)
    if not count:
        raise SettingError(f"bank={source}: holds no scores")
    if len(bank.turns) != count or len(bank.questions) != count:
        raise SettingError(
            f"bank={source}: {count} nonconformities, {len(bank.turns)} turns and "
            f"{len(bank.questions)} questions: one each is needed"
        )
    bad = [i for i, s in enumerate(bank.nonconformities) if math.isnan(s) or s == -math.inf]
    if bad:
        raise SettingError(
            f"bank={source}: {len(bad)} of {count} scores are NaN or -inf, the first at index "
            f"{bad[0]}: these are failed scores, leave them out"
        )
    if bank.rate is not None and not 0 <= bank.rate <= 1:
        raise SettingError(f"bank={source}: rate={bank.rate:g}; a rate lies in [0, 1]")
    if min(bank.turns) < 0:
        raise SettingError(f"bank={source}: a turn is negative")
    return bank


def digest_of(bank: Bank) -> str:
    """A digest of a bank's whole content; the same for every file format."""
    # A default is left out where it is the very same object, so a copy makes equal banks equal.
    copy = msgspec.structs.replace(bank, provenance=msgspec.structs.replace(bank.provenance))
    return hashlib.sha256(msgspec.json.encode(copy)).hexdigest()[:16]


def bank_of(
    scores: Iterable[tuple[int, int, float]],
    *,
    provenance: Provenance | None = None,
    **about: Any,
) -> Bank:
    """A bank of (question, turn, nonconformity) triples; see `Bank` for what else it may say."""
    rows = sorted(scores)
    return Bank(
        questions=tuple(q for q, _, _ in rows),
        turns=tuple(t for _, t, _ in rows),
        nonconformities=tuple(s for _, _, s in rows),
        provenance=provenance or Provenance(),
        **about,
    )
