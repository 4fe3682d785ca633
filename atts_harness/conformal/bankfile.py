"""Banks on disk: JSON or `.npz`, with the provenance of their scores. Never pickles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from atts_harness import neutral
from atts_harness.conformal.arrays import MOST_BYTES, MOST_SCORES, read_npz, refuse_pickle
from atts_harness.conformal.bank import Bank, digest_of, validated
from atts_harness.conformal.provenance import Provenance
from atts_harness.conformal.published import ROUNDING, from_questions, read_npy
from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file

logger = neutral.logger("atts_harness.conformal")

FORMAT: Literal["atts-bank"] = "atts-bank"
VERSION = 1
_PERPLEXITIES = (None, "perplexity", "draft-perplexity")

_Turn = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]
_Question = Annotated[int, msgspec.Meta(ge=-(1 << 62), lt=1 << 62)]
_LENGTH = msgspec.Meta(max_length=MOST_SCORES)


class _Columns(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    turn: Annotated[tuple[_Turn, ...], _LENGTH]
    question: Annotated[tuple[_Question, ...], _LENGTH]
    # JSON has no infinity; msgspec writes null for it, which would lose the sign.
    nonconformity: Annotated[tuple[float | Literal["inf"], ...], _LENGTH]


class _About(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything but the scores.

    Attributes:
        digest: of the bank; None in banks of early releases.
    """

    format: Literal["atts-bank"]
    version: int
    provenance: Provenance
    rate: float | None = None
    split: str | None = None
    evaluation_questions: bool = False
    origin: str = ""
    digest: str | None = None


class _Document(_About, kw_only=True, forbid_unknown_fields=True):
    scores: _Columns


def write_bank(bank: Bank, path: Path | str) -> Path:
    """Write a bank; `.npz` by that suffix, else JSON.

    Raises:
        SettingError: the bank could not be read back.
    """
    path = Path(path)
    validated(bank, str(path))
    if len(bank) > MOST_SCORES:
        raise SettingError(f"bank={path}: {len(bank)} scores; a bank may have {MOST_SCORES}")
    scratch = path.with_name(path.name + ".part")
    about = {
        "format": FORMAT,
        "version": VERSION,
        "provenance": bank.provenance,
        "rate": bank.rate,
        "split": bank.split,
        "evaluation_questions": bank.evaluation_questions,
        "origin": bank.origin,
        "digest": digest_of(bank),
    }
    try:
        if path.suffix == ".npz":
            _write_npz(bank, about, scratch)
        else:
            columns = _Columns(
                turn=bank.turns,
                question=bank.questions,
                nonconformity=tuple("inf" if math.isinf(s) else s for s in bank.nonconformities),
            )
            content = msgspec.json.encode({**about, "scores": columns})
            scratch.write_bytes(msgspec.json.format(content, indent=1))
        scratch.replace(path)
    except OSError as error:
        raise SettingError(f"bank={path}: cannot be written: {error.strerror}") from error
    return path


def read_bank(path: Path | str) -> Bank:
    """Read a bank: ours (JSON, `.npz`) or a published one.

    Published marginal banks are `.npy` arrays of first-turn perplexities. Published per-question
    banks are pickles; they are refused with the two lines that turn them into JSON.

    Raises:
        SettingError: missing, empty, too large, damaged, not a bank, NaN or a perplexity below 1
            inside, a pickle.
    """
    path = Path(path)
    if not path.exists():
        raise SettingError(f"bank={path}: no such file; `atts calibrate` makes one")
    content = read_file(path, f"bank={path}", MOST_BYTES)
    if not content:
        raise SettingError(f"bank={path}: the file is empty")
    if content.startswith(b"\x93NUMPY"):
        bank = read_npy(content, path)
    elif content.startswith(b"PK"):
        bank = _bank(*read_npz(content, _About, path), path)
    elif content.startswith(b"\x80") or path.suffix in (".pkl", ".pickle"):
        raise refuse_pickle(path)
    else:
        bank = _read_json(content, path)
    least = min(validated(bank, str(path)).nonconformities)
    if bank.provenance.signal in _PERPLEXITIES and least < -ROUNDING:
        raise SettingError(
            f"bank={path}: a nonconformity of {least:g}, which is a perplexity below 1 and none: "
            "are these log-probabilities? A nonconformity is minus their mean"
        )
    return bank


def _read_json(content: bytes, path: Path) -> Bank:
    refusal = f"bank={path}: not a bank"
    if b'"format"' not in content[:4096]:
        return from_questions(decode(content, dict[str, list[float]], refusal), path)
    document: _Document = decode(content, _Document, refusal)
    scores = document.scores
    columns = {
        "nonconformity": [float(s) for s in scores.nonconformity],
        "turn": scores.turn,
        "question": scores.question,
    }
    return _bank(document, columns, path)


def _bank(about: _About, columns: Mapping[str, Sequence[Any]], path: Path) -> Bank:
    if about.version != VERSION:
        raise SettingError(
            f"bank={path}: version {about.version}, this release reads {VERSION}: make it "
            "again with `atts calibrate`"
        )
    bank = Bank(
        nonconformities=tuple(columns["nonconformity"]),
        turns=tuple(columns["turn"]),
        questions=tuple(columns["question"]),
        provenance=about.provenance,
        rate=about.rate,
        split=about.split,
        evaluation_questions=about.evaluation_questions,
        origin=about.origin,
    )
    if about.digest is None:
        logger.warning(
            "bank=%s has no digest (early releases wrote none), so damage would not be noticed; "
            "`atts calibrate` makes one that has",
            path,
        )
    elif about.digest != digest_of(bank):
        raise SettingError(
            f"bank={path}: damaged, or edited since it was written: make it again with `atts "
            "calibrate` (or take its `digest` out, if you changed it on purpose)"
        )
    return bank


def _write_npz(bank: Bank, about: Mapping[str, Any], path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:  # a name would get a second suffix
        np.savez_compressed(
            file,
            nonconformity=np.array(bank.nonconformities, dtype=np.float64),
            turn=np.array(bank.turns, dtype=np.int64),
            question=np.array(bank.questions, dtype=np.int64),
            about=np.frombuffer(msgspec.json.encode(about), dtype=np.uint8),
        )
