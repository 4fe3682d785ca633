"""Banks in the published formats, so that published runs can be repeated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from atts_harness.conformal.arrays import read_array
from atts_harness.conformal.bank import Bank, bank_of
from atts_harness.conformal.provenance import Provenance
from atts_harness.errors import SettingError

_NAME = re.compile(
    r"_s(?P<samples>[0-9]+)_t(?P<tokens>[0-9]+)_temp(?P<temperature>[0-9.]+?)(?:_ct(?P<chat>[01]))?$"
)
"""Tail of a published name: ppls_TASK_TARGET_DRAFT_s16_t500_temp0.8_ct0."""

ROUNDING = 1e-3
"""How far rounding in half precision may bring the perplexity of a certain text below 1."""

_DIGITS = 18  # of a question's index


def read_npy(content: bytes, path: Path) -> Bank:
    """A published marginal bank: first-turn perplexities, question by question.

    The array does not say where its questions begin; its name may say how many samples each has
    (`_s16`), and with which temperature, token limit and template it was made. Models are
    abbreviated there, so they are not known.

    Args:
        content: of the file.
        path: the file.

    Raises:
        SettingError: an array of objects (a pickle), of another shape, with perplexities <= 0; a
            name that contradicts itself.
    """
    array = read_array(content, path)
    samples, provenance = _named(path)
    scores = [_nonconformity(float(value), path) for value in array.tolist()]
    return bank_of(
        ((i // samples, 0, s) for i, s in enumerate(scores)),
        provenance=provenance,
        origin="published array of first-turn perplexities",
    )


def _named(path: Path) -> tuple[int, Provenance]:
    """The number of samples a question, and the other fields, that a file's name gives."""
    named = _NAME.search(path.stem)
    if named is None:
        return 1, Provenance()
    try:
        samples = int(named["samples"])
        provenance = Provenance(
            draft_tokens=int(named["tokens"]),
            draft_temperature=float(named["temperature"]),
            score_template={"1": "chat", "0": "raw", None: None}[named["chat"]],
        )
    except ValueError as error:
        raise SettingError(f"bank={path}: its name cannot be read ({error}): rename it") from error
    if not samples:
        raise SettingError(f"bank={path}: its name says 0 samples a question (_s0): rename it")
    return samples, provenance


def from_questions(perplexities: Mapping[str, Iterable[float]], path: Path) -> Bank:
    """A published per-question bank, converted: {question index: first-turn perplexities}.

    Raises:
        SettingError: a key that is not an index, perplexities <= 0.
    """
    rows: list[tuple[int, int, float]] = []
    for question, values in perplexities.items():
        if not (question.isascii() and question.isdigit() and len(question) <= _DIGITS):
            raise SettingError(f"bank={path}: question {question!r} is not an index")
        rows.extend((int(question), 0, _nonconformity(value, path)) for value in values)
    return bank_of(
        rows, evaluation_questions=True, origin="published first-turn perplexities by question"
    )


def _nonconformity(perplexity: float, path: Path) -> float:
    if not perplexity > 0 and not math.isnan(perplexity):
        raise SettingError(
            f"bank={path}: perplexity {perplexity}; the published code writes 0 where a score "
            "failed: leave those out"
        )
    if perplexity < 1 - ROUNDING:
        raise SettingError(
            f"bank={path}: perplexity {perplexity:g}; none is below 1: are these losses or "
            "probabilities? Give perplexities, the exponential of the loss"
        )
    return math.log(perplexity)
