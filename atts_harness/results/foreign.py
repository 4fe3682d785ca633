"""Types for readers of published result folders, which the hook `atts_published` announces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atts_harness.records import SampleRecord

__all__ = ["ForeignQuestion", "ForeignRun", "PublishedFormat"]


@dataclass(frozen=True)
class ForeignQuestion:
    """One question of a published run.

    Attributes:
        text: as it was asked; questions are matched with golds by it.
        gold: the right answer; None where the folder does not hold it.
        samples: by repeat. Their ids say task, number of the question and repeat.
        repeats: samples it should have; missing ones are reported and recorded as missing.
    """

    text: str
    gold: str | None
    samples: Mapping[int, SampleRecord]
    repeats: int


@dataclass(frozen=True)
class ForeignRun:
    """A published run.

    Attributes:
        strategy: this project's strategy that it corresponds to.
        options: of that strategy, as far as the folder records them.
        questions: in order; a question's number is its place here.
        notes: what a reader has to know, a line each.
    """

    strategy: str
    options: Mapping[str, Any]
    questions: Iterable[ForeignQuestion]
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class PublishedFormat:
    """A shape of result folders that published code leaves.

    Attributes:
        name: of the program.
        shape: what such a folder looks like, in a few words, for messages.
        recognises: whether a folder is one. Must not read all of it.
        read: reads one, for a task of this name. Raises SettingError if a file is damaged.
    """

    name: str
    shape: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, str], ForeignRun]
