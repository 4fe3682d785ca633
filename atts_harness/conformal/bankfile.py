"""Banks on disk: JSON or `.npz`, with the provenance of their scores. Never pickles."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from atts_harness.conformal.provenance import Provenance
from atts_harness.errors import SettingError

FORMAT: Literal["atts-bank"] = "atts-bank"
VERSION = 1


class Bank(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of one task, column by column, and what they depend on.

    Attributes:
        nonconformities: s, in nats per token; `inf` is allowed, NaN is not.
        turns: the turn of each score; all 0 for a first-turn bank.
        questions: the document id of each score.
        provenance: what the scores depend on.
        rate: the rate of takeovers that the scored turns went through; None if unknown. Later
            turns depend on it.
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


def validated(bank: Bank, where: str) -> Bank:
    """The bank, if its scores can be ranked against.

    Raises:
        SettingError: no scores, NaN or -inf, columns of different lengths, a negative turn.
    """
    count = len(bank)
    if not count:
        raise SettingError(f"bank={where}: holds no scores")
    if len(bank.turns) != count or len(bank.questions) != count:
        raise SettingError(
            f"bank={where}: {count} nonconformities, {len(bank.turns)} turns and "
            f"{len(bank.questions)} questions: one each is needed"
        )
    bad = [i for i, s in enumerate(bank.nonconformities) if math.isnan(s) or s == -math.inf]
    if bad:
        raise SettingError(
            f"bank={where}: {len(bad)} of {count} scores are NaN or -inf, the first at index "
            f"{bad[0]}: these are failed scores, leave them out"
        )
    if min(bank.turns) < 0:
        raise SettingError(f"bank={where}: a turn is negative")
    return bank


class _Columns(msgspec.Struct, kw_only=True):
    turn: tuple[int, ...]
    question: tuple[int, ...]
    # JSON has no infinity; msgspec writes null for it, which would lose the sign.
    nonconformity: tuple[float | Literal["inf"], ...]


class _Document(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: Literal["atts-bank"]
    version: int
    provenance: Provenance
    rate: float | None = None
    split: str | None = None
    evaluation_questions: bool = False
    origin: str = ""
    scores: _Columns


def write_bank(bank: Bank, path: Path | str) -> Path:
    """Write a bank; `.npz` by that suffix, else JSON.

    Raises:
        SettingError: a bank that could not be read back.
    """
    path = Path(path)
    validated(bank, str(path))
    scratch = path.with_name(path.name + ".part")
    if path.suffix == ".npz":
        _write_npz(bank, scratch)
    else:
        document = _Document(
            format=FORMAT,
            version=VERSION,
            provenance=bank.provenance,
            rate=bank.rate,
            split=bank.split,
            evaluation_questions=bank.evaluation_questions,
            origin=bank.origin,
            scores=_Columns(
                turn=bank.turns,
                question=bank.questions,
                nonconformity=tuple("inf" if math.isinf(s) else s for s in bank.nonconformities),
            ),
        )
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1))
    scratch.replace(path)
    return path


def read_bank(path: Path | str) -> Bank:
    """Read a bank: ours (JSON, `.npz`) or a published one.

    Published marginal banks are `.npy` arrays of first-turn perplexities. Published per-question
    banks are pickles; they are refused with the two lines that turn them into JSON.

    Raises:
        SettingError: missing, empty, not a bank, NaN inside, a pickle.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError(f"bank={path}: no such file; `atts calibrate` makes one")
    head = path.open("rb").read(6)
    if not head:
        raise SettingError(f"bank={path}: the file is empty")
    if head.startswith(b"\x93NUMPY"):
        from atts_harness.conformal.published import read_npy

        bank = read_npy(path)
    elif head.startswith(b"PK"):
        bank = _read_npz(path)
    elif head.startswith(b"\x80") or path.suffix in (".pkl", ".pickle"):
        from atts_harness.conformal.published import refuse_pickle

        raise refuse_pickle(path)
    else:
        bank = _read_json(path)
    return validated(bank, str(path))


def _read_json(path: Path) -> Bank:
    data = path.read_bytes()
    try:
        if b'"format"' not in data[:4096]:
            from atts_harness.conformal.published import from_questions

            return from_questions(msgspec.json.decode(data, type=dict[str, list[float]]), path)
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"bank={path}: not a bank: {error}") from error
    return _bank(document, path)


def _bank(document: _Document, path: Path) -> Bank:
    if document.version != VERSION:
        raise SettingError(
            f"bank={path}: version {document.version}, this release reads {VERSION}: make it "
            "again with `atts calibrate`"
        )
    return Bank(
        nonconformities=tuple(float(s) for s in document.scores.nonconformity),
        turns=document.scores.turn,
        questions=document.scores.question,
        provenance=document.provenance,
        rate=document.rate,
        split=document.split,
        evaluation_questions=document.evaluation_questions,
        origin=document.origin,
    )


def _write_npz(bank: Bank, path: Path) -> None:
    import numpy as np

    about: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "provenance": bank.provenance,
        "rate": bank.rate,
        "split": bank.split,
        "evaluation_questions": bank.evaluation_questions,
        "origin": bank.origin,
    }
    with path.open("wb") as file:  # a name would get a second suffix
        np.savez_compressed(
            file,
            nonconformity=np.array(bank.nonconformities, dtype=np.float64),
            turn=np.array(bank.turns, dtype=np.int64),
            question=np.array(bank.questions, dtype=np.int64),
            about=np.frombuffer(msgspec.json.encode(about), dtype=np.uint8),
        )


def _read_npz(path: Path) -> Bank:
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = msgspec.json.decode(arrays["about"].tobytes())
            nonconformity, turn, question = (
                arrays[name].tolist() for name in ("nonconformity", "turn", "question")
            )
        columns = {"nonconformity": ["inf" if _infinite(s) else s for s in nonconformity]}
        columns |= {"turn": turn, "question": question}
        document = msgspec.convert({**about, "scores": columns}, _Document)
    except (
        KeyError,
        ValueError,
        TypeError,
        OSError,
        zipfile.BadZipFile,
        msgspec.MsgspecError,
    ) as error:
        raise SettingError(f"bank={path}: not a bank: {error}") from error
    return _bank(document, path)


def _infinite(value: object) -> bool:
    return isinstance(value, float) and value == math.inf


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
