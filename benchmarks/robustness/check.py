"""Reads mutated files of one format and sorts what came of it."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from atts_harness.errors import AttsError
from benchmarks.robustness.formats import Format

SECONDS = 20
"""A file may take; more is taken for a hang."""


class HangError(Exception):
    """A file took too long."""


@dataclass
class Outcome:
    """What came of the mutated files of a format.

    Attributes:
        refused: ended in an error of ours.
        same: read as the sound file.
        warned: read as something else, with a warning.
        other: read as something else, without a word; a fault where the format is sealed.
        faults: what must not be: seed and what happened.
        slowest: processor seconds of the slowest file.
    """

    refused: int = 0
    same: int = 0
    warned: int = 0
    other: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0


class _Words(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def check(format_: Format, folder: Path, seeds: range) -> Outcome:
    """Mutate a sound file for every seed and read it.

    Args:
        format_: of the files.
        folder: an empty one.
        seeds: one file each.
    """
    sound = folder / "sound"
    sound.mkdir(parents=True)
    place = format_.make(sound).relative_to(sound)
    usual = _value(format_, _copy(sound, folder) / place)
    outcome = Outcome()
    with _listening() as words:
        for seed in seeds:
            path = _copy(sound, folder) / place
            format_.changed(path, seed)
            before, began = words.count, time.process_time()
            try:
                with _limited():
                    value = _value(format_, path)
                    beside = format_.beside is None or format_.beside(path)
            except AttsError as error:
                outcome.refused += 1
                if not str(error).strip():
                    outcome.faults.append(f"seed {seed}: an error without words")
            except Exception:
                last = traceback.format_exc().strip().splitlines()
                outcome.faults.append(f"seed {seed}: {last[-1]} ({last[-3].strip()[:160]})")
            else:
                if value == usual:
                    outcome.same += 1
                elif words.count > before:
                    outcome.warned += 1
                else:
                    outcome.other += 1
                    if format_.sealed:
                        outcome.faults.append(f"seed {seed}: another value without a word")
                if not beside:
                    outcome.faults.append(f"seed {seed}: what lies beside it was not read")
            outcome.slowest = max(outcome.slowest, time.process_time() - began)
    return outcome


def _value(format_: Format, path: Path) -> str:
    return repr(format_.read(path))


def _copy(sound: Path, folder: Path) -> Path:
    copy = folder / "mutated"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sound, copy)
    return copy


@contextlib.contextmanager
def _listening() -> Iterator[_Words]:
    logger, words = logging.getLogger("atts_harness"), _Words()
    logger.addHandler(words)
    try:
        yield words
    finally:
        logger.removeHandler(words)


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise HangError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
