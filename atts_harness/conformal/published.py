"""Banks in the published formats, so that published runs can be repeated."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from atts_harness.conformal.bankfile import Bank, bank_of
from atts_harness.conformal.provenance import Provenance
from atts_harness.errors import SettingError

_NAME = re.compile(
    r"_s(?P<samples>\d+)_t(?P<tokens>\d+)_temp(?P<temperature>[\d.]+?)(?:_ct(?P<chat>[01]))?$"
)
"""Tail of a published name: ppls_TASK_TARGET_DRAFT_s16_t500_temp0.8_ct0."""


def read_npy(path: Path) -> Bank:
    """A published marginal bank: first-turn perplexities, question by question.

    The array does not say where its questions begin; its name may say how many samples each has
    (`_s16`), and with which temperature, token limit and template it was made. Models are
    abbreviated there, so they are not known.

    Raises:
        SettingError: an array of objects (a pickle), of another shape, with perplexities <= 0.
    """
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickle" in str(error).lower():
            raise refuse_pickle(path) from error
        raise SettingError(f"bank={path}: not an array: {error}") from error
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise SettingError(
            f"bank={path}: an array of shape {array.shape} and type {array.dtype}; a bank is one "
            "row of perplexities"
        )
    named = _NAME.search(path.stem)
    samples = int(named["samples"]) if named else 1
    scores = [_nonconformity(value, path) for value in array.tolist()]
    provenance = Provenance()
    if named:
        provenance = Provenance(
            draft_tokens=int(named["tokens"]),
            draft_temperature=float(named["temperature"]),
            score_template={"1": "chat", "0": "raw", None: None}[named["chat"]],
        )
    return bank_of(
        ((i // samples, 0, s) for i, s in enumerate(scores)),
        provenance=provenance,
        origin="published array of first-turn perplexities",
    )


def from_questions(perplexities: Mapping[str, Iterable[float]], path: Path) -> Bank:
    """A published per-question bank, converted: {question index: first-turn perplexities}.

    Raises:
        SettingError: a key that is no index, perplexities <= 0.
    """
    rows: list[tuple[int, int, float]] = []
    for question, values in perplexities.items():
        if not question.isdigit():
            raise SettingError(f"bank={path}: question {question!r} is not an index")
        rows.extend((int(question), 0, _nonconformity(value, path)) for value in values)
    return bank_of(
        rows, evaluation_questions=True, origin="published first-turn perplexities by question"
    )


def refuse_pickle(path: Path) -> SettingError:
    """The error for a pickle, with the two lines that convert it."""
    return SettingError(
        f"bank={path}: a pickle, which could run any code when read. If you trust it, convert it:\n"
        f"  import json, numpy; bank = numpy.load({str(path)!r}, allow_pickle=True)\n"
        f"  json.dump({{int(q): [float(p) for p in v] for q, v in getattr(bank, 'item', "
        f"lambda: bank)().items()}}, open({str(path.with_suffix('.json'))!r}, 'w'))"
    )


def _nonconformity(perplexity: float, path: Path) -> float:
    if not perplexity > 0 and not math.isnan(perplexity):
        raise SettingError(
            f"bank={path}: perplexity {perplexity}; the published code writes 0 where a score "
            "failed: leave those out"
        )
    return math.log(perplexity)
