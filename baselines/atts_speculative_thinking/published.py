"""Reads result files of the published speculative-thinking code: JSON by the text of the question.

A question holds `responses`, by temperature a list of `{content, correctness, reason}`, and
`token_usages`, likewise with `completion_tokens`, `time_spend`, `correct_tokens` (takeovers that
were kept, with their nominal length) and `try_correct` (calls of the target).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file
from atts_harness.records import SampleId, SampleRecord
from atts_harness.results.foreign import ForeignQuestion, ForeignRun, PublishedFormat


class _Response(msgspec.Struct):
    content: str
    correctness: bool | None = None


class _Usage(msgspec.Struct):
    completion_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    time_spend: Annotated[float, msgspec.Meta(ge=0)] | None = None
    correct_tokens: Any = None
    try_correct: int | None = None


class _Question(msgspec.Struct):
    responses: dict[str, list[_Response]]
    token_usages: dict[str, list[_Usage]] = {}


class _Shape(msgspec.Struct):
    responses: dict[str, list[msgspec.Raw]]


def recognises(folder: Path) -> bool:
    """Whether a JSON file of the folder holds questions with responses."""
    return any(_is_one(path) for path in _files(folder)[:3])


def read(folder: Path, task: str) -> ForeignRun:
    """The run in a folder.

    Raises:
        SettingError: a damaged file; several of them, or several temperatures, which are runs of
            their own.
    """
    files = [path for path in _files(folder) if _is_one(path)]
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise SettingError(f"{folder}: several runs ({names}); put each into a folder of its own")
    fault = f"{files[0]}: not a run of published speculative thinking"
    loaded: dict[str, _Question] = decode(read_file(files[0]), dict[str, _Question], fault)
    heats = sorted({heat for question in loaded.values() for heat in question.responses})
    if len(heats) != 1:
        raise SettingError(
            f"{files[0]}: {len(heats)} temperatures ({', '.join(heats)}); only a file of one run "
            "can be imported"
        )
    return ForeignRun(
        "speculative-thinking",
        {},
        list(_questions(files[0], loaded, heats[0], task)),
        (
            "its texts do not say who wrote what, and may begin with the prompt; samples that ran "
            "out of time are not in the file",
        ),
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def _is_one(path: Path) -> bool:
    try:
        shapes: dict[str, _Shape] = decode(read_file(path), dict[str, _Shape], str(path))
    except SettingError:
        return False
    return bool(shapes)


def _questions(
    path: Path, loaded: Mapping[str, _Question], heat: str, task: str
) -> Iterator[ForeignQuestion]:
    most = max(
        (
            len(question.responses[heat])
            for question in loaded.values()
            if heat in question.responses
        ),
        default=0,
    )
    for doc, (text, question) in enumerate(loaded.items()):
        responses = question.responses.get(heat, [])
        usages = question.token_usages.get(heat, [])
        if usages and len(usages) != len(responses):
            raise SettingError(
                f"{path}: {len(responses)} responses and {len(usages)} token_usages of "
                f"{text[:60]!r}; which belong together is not recorded"
            )
        samples = {}
        for repeat, response in enumerate(responses):
            usage = usages[repeat] if repeat < len(usages) else _Usage()
            samples[repeat] = SampleRecord(
                id=SampleId(task, doc, repeat),
                strategy="speculative-thinking",
                text=response.content,
                finish="strategy",
                kept_tokens={"strategy": usage.completion_tokens},
                ended=usage.time_spend or 0.0,
                notes={
                    "correct_tokens": usage.correct_tokens,
                    "try_correct": usage.try_correct,
                    "correctness": response.correctness,
                },
            )
        yield ForeignQuestion(text, None, samples, most)


FORMAT = PublishedFormat(
    name="speculative-thinking",
    shape="one JSON file with responses and token_usages by question",
    recognises=recognises,
    read=read,
)
