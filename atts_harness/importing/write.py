"""Writes a published run as a run directory, with its questions and golds beside it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from atts_harness._version import __version__
from atts_harness.errors import SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.hashing import documents_hash, prompt_hash
from atts_harness.journal.plan import Planned
from atts_harness.message import Message
from atts_harness.records import DecisionRecord, RunRecord, SampleId, SampleRecord
from atts_harness.results.foreign import ForeignQuestion, ForeignRun
from atts_harness.results.golds import PROMPTS
from atts_harness.results.runs import DOCUMENTS


@dataclass(frozen=True)
class ImportResult:
    """What an import wrote.

    Attributes:
        questions: how many.
        samples: recorded ones.
        missing: samples that the folder lacks.
        decisions: takeover decisions.
        golds: questions with a gold.
    """

    questions: int
    samples: int
    missing: int
    decisions: int
    golds: int


def write_run(
    run: ForeignRun, out: Path, *, task: str, program: str, golds: Mapping[str, str] | None = None
) -> ImportResult:
    """Write a published run into a new run directory; on failure the directory is removed.

    Args:
        run: the run.
        out: where.
        task: what its task is called.
        program: that wrote the run; it is recorded in the directory.
        golds: right answers by the words of the question (`question_words`), for runs without any.

    Raises:
        SettingError: `out` exists already, or `golds` lacks a question.
        RunDirError: the directory cannot be written.
    """
    if out.exists():
        raise SettingError(f"--out {out}: exists already; give a new folder, or remove it")
    questions = list(run.questions)
    if not any(question.samples for question in questions):
        raise SettingError("the folder holds no samples")
    rows = _documents(questions, golds)
    scratch = out.with_name(f"{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        written = asyncio.run(_journal(run, questions, scratch, task, program))
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        (scratch / DOCUMENTS).write_bytes(lines)
        scratch.rename(out)
    except OSError as error:
        raise SettingError(f"--out {out}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(written, golds=sum("gold" in row for row in rows))


def question_words(text: str) -> str:
    """A question's words, for comparison without regard to white space."""
    return " ".join(text.split())


def _documents(
    questions: list[ForeignQuestion], golds: Mapping[str, str] | None
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for question in questions:
        row: dict[str, object] = {"question": question.text, PROMPTS: [_prompt(question)]}
        gold = question.gold
        if golds is not None:
            gold = golds.get(question_words(question.text))
            if gold is None:
                raise SettingError(
                    f"--golds: has no question {question.text[:60]!r}; give the answers of the "
                    "data set that was run"
                )
        if gold is not None:
            row["gold"] = gold
        rows.append(row)
    return rows


def _prompt(question: ForeignQuestion) -> str:
    return prompt_hash([Message("user", question.text)])


async def _journal(
    run: ForeignRun, questions: list[ForeignQuestion], folder: Path, task: str, program: str
) -> ImportResult:
    plan = {
        SampleId(task, doc, repeat): Planned(_prompt(question))
        for doc, question in enumerate(questions)
        for repeat in range(max(question.repeats, max(question.samples, default=-1) + 1))
    }
    entry = {
        "problems": len(questions),
        "samples": len(plan),
        "documents": documents_hash([_prompt(question) for question in questions]),
        "options": dict(run.options),
        "nominal_rate": run.options.get("rate"),
    }
    record = RunRecord(
        harness=__version__,
        strategy=run.strategy,
        options=dict(run.options),
        tasks={task: entry},
        imported=program,
    )
    directory = RunDirectory(folder)
    samples = decisions = 0
    try:
        journal = directory.journal(record, plan, command="")
        try:
            for question in questions:
                commits = []
                for sample in question.samples.values():
                    renumbered = _numbered(sample, decisions)
                    for decision in renumbered.decisions:
                        journal.record_decision(decision)
                    decisions += len(renumbered.decisions)
                    samples += 1
                    commits.append(journal.record_sample(renumbered))
                await asyncio.gather(*commits)
        finally:
            journal.close()
        missing = len(plan) - samples
        directory.ended("finished", {"samples": samples, "missing": missing})
    finally:
        directory.close()
    return ImportResult(len(questions), samples, missing, decisions, 0)


def _numbered(sample: SampleRecord, before: int) -> SampleRecord:
    """The sample, its decisions numbered after those before it, as the journal's order needs."""
    numbered: list[DecisionRecord] = [
        msgspec.structs.replace(decision, sequence=before + place)
        for place, decision in enumerate(sample.decisions, 1)
    ]
    return msgspec.structs.replace(sample, decisions=numbered)
