"""Reads result folders of the published SpecReason code: PROBLEM/REPEAT.pickle, a list of steps.

Pickles can run code when they are loaded. These hold lists, dictionaries, numbers and texts only,
so a reader that knows no classes and no functions is enough; a pickle that asks for one is refused.

A copy of the code (in the ATTS repository) writes a dictionary with the question, its right answer
and the steps under `reasoning_steps`.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec

from atts_harness.errors import SettingError
from atts_harness.files import read_file
from atts_harness.records import DecisionRecord, SampleId, SampleRecord, SegmentRecord
from atts_harness.results.foreign import ForeignQuestion, ForeignRun, PublishedFormat

MOST_BYTES = 1 << 26
JOIN = "\n\n"


Count = Annotated[int, msgspec.Meta(ge=0)]


class _Step(msgspec.Struct):
    small_model_step: str | None = None
    base_model_step: str | None = None
    num_output_tokens_small: Count | None = None
    num_output_tokens_base: Count | None = None
    score: float | None = None
    justification: Any = None
    stop_reason: str | None = None


class _Sample(msgspec.Struct):
    reasoning_steps: list[_Step]
    problem_text: str | None = None
    ground_truth: str | int | float | None = None


class _CodeError(pickle.UnpicklingError):
    """A pickle asks for something that could be called."""


class _Plain(pickle.Unpickler):
    """Builds lists, dictionaries, texts and numbers; knows nothing that could be called."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        """Refuse every class and function."""
        raise _CodeError(f"asks for {module_name}.{global_name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        """Refuse references to the outside."""
        raise _CodeError("asks for an object of another program")


def recognises(folder: Path) -> bool:
    """Whether there are numbered folders with numbered pickles."""
    return next(_files(folder), None) is not None


def read(folder: Path, task: str) -> ForeignRun:
    """The run in a folder.

    Raises:
        SettingError: a file that is damaged, or a pickle that would run code.
    """
    questions: dict[int, dict[int, _Sample]] = {}
    for problem, repeat, path in _files(folder):
        samples = questions.setdefault(problem, {})
        if repeat in samples:
            raise SettingError(f"{path}: a second file of problem {problem}, repeat {repeat}")
        samples[repeat] = _load(path)
        first = next(iter(samples.values()))
        if (first.problem_text, first.ground_truth) != (
            samples[repeat].problem_text,
            samples[repeat].ground_truth,
        ):
            raise SettingError(
                f"{path}: its question or right answer is not that of the problem's other files; "
                "put each run into a folder of its own"
            )
    most = max((max(samples) + 1 for samples in questions.values()), default=0)
    return ForeignRun(
        "specreason",
        {},
        list(_questions(questions, task, most)),
        (
            "the files have neither its threshold nor seconds and tokens of judgements",
            *_absent(folder, questions),
        ),
    )


def _absent(folder: Path, questions: Collection[int]) -> Iterator[str]:
    """A note on problems without any file: a crash leaves none behind."""
    empty = {int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir()}
    lost = sorted((empty | set(range(min(questions), max(questions)))) - set(questions))
    if lost:
        numbers = ", ".join(map(str, lost[:10])) + (", ..." if len(lost) > 10 else "")
        yield f"problems without any file, which are left out: {len(lost)} ({numbers})"


def _files(folder: Path) -> Iterator[tuple[int, int, Path]]:
    for inner in sorted(folder.iterdir()):
        if inner.name.isdecimal() and inner.is_dir():
            for path in sorted(inner.glob("*.pickle")):
                if path.stem.isdecimal():
                    yield int(inner.name), int(path.stem), path


def _load(path: Path) -> _Sample:
    fault = f"{path}: not a sample of published SpecReason"
    try:
        content = _Plain(io.BytesIO(read_file(path, most=MOST_BYTES))).load()
        if isinstance(content, list):
            content = {"reasoning_steps": content}
        return msgspec.convert(content, _Sample, strict=False)
    except _CodeError as error:
        raise SettingError(
            f"{path}: this pickle would run code ({error}); it is not read"
        ) from error
    except SettingError:
        raise
    except Exception as error:  # a damaged pickle raises whatever it comes to
        raise SettingError(f"{fault}: {error or type(error).__name__}") from error


def _questions(
    questions: Mapping[int, Mapping[int, _Sample]], task: str, most: int
) -> Iterator[ForeignQuestion]:
    for doc, (problem, samples) in enumerate(sorted(questions.items())):
        first = next(iter(samples.values()))
        gold = first.ground_truth
        yield ForeignQuestion(
            first.problem_text or f"problem {problem}",
            None if gold is None else str(gold),
            {
                repeat: _record(loaded, SampleId(task, doc, repeat))
                for repeat, loaded in sorted(samples.items())
            },
            most,
        )


def _record(loaded: _Sample, id_: SampleId) -> SampleRecord:
    segments: list[SegmentRecord] = []
    decisions: list[DecisionRecord] = []
    judged: list[dict[str, Any]] = []
    kept_tokens = {"draft": 0, "target": 0}
    for n, step in enumerate(loaded.reasoning_steps):
        redone = step.base_model_step is not None
        if n:
            segments.append(_segment("strategy", "inserted", JOIN, 0, n))
        if step.small_model_step is not None:
            tokens = step.num_output_tokens_small or 0
            segments.append(
                _segment("draft", "draft", step.small_model_step, tokens, n, kept=not redone)
            )
            kept_tokens["draft"] += 0 if redone else tokens
        if step.base_model_step is not None:
            tokens = step.num_output_tokens_base or 0
            segments.append(_segment("target", "takeover", step.base_model_step, tokens, n))
            kept_tokens["target"] += tokens
        if step.score is not None:
            judged.append({"step": n, "score": step.score, "kept": not redone})
            decisions.append(DecisionRecord(sample=id_, turn=n, takeover=redone, reason="policy"))
    return SampleRecord(
        id=id_,
        strategy="specreason",
        text="".join(segment.text for segment in segments if segment.kept),
        finish="budget" if _stopped(loaded.reasoning_steps) == "budget" else "strategy",
        segments=segments,
        decisions=decisions,
        kept_tokens=kept_tokens,
        turns=len(loaded.reasoning_steps),
        notes={"judged": judged},
    )


def _stopped(steps: Sequence[_Step]) -> str | None:
    return steps[-1].stop_reason if steps else None


def _segment(
    author: str, kind: str, text: str, tokens: int, turn: int, *, kept: bool = True
) -> SegmentRecord:
    return SegmentRecord(
        author=author, text=text, tokens=tokens, turn=turn, kind=kind, ending="stop", kept=kept
    )


FORMAT = PublishedFormat(
    name="specreason",
    shape="PROBLEM/REPEAT.pickle, as the published SpecReason code writes them",
    recognises=recognises,
    read=read,
)
