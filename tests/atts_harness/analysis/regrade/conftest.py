"""Traces and sample logs to grade again."""

import asyncio

import pytest
from typer import Typer

from atts_harness.analysis.regrade.command import regrade_command
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.hashing import prompt_hash
from atts_harness.journal.plan import Planned
from atts_harness.records import RunRecord, SampleId, SampleRecord
from atts_harness.results.find import saved_tasks
from atts_harness.results.values import SavedTask
from atts_harness.transcript import Message


def read(path, documents=None):
    """The saved tasks at a path, read to their ends."""
    return [SavedTask(saved.task, list(saved).__iter__) for saved in saved_tasks(path, documents)]


def command(documents=None):
    app = Typer()
    app.callback()(lambda: None)
    regrade_command(app, documents)
    return app


@pytest.fixture
def folder(tmp_path):
    """A run directory: two questions, two repeats each, one of them without a sample."""
    directory = RunDirectory(tmp_path / "run")
    words = {0: "What is 7?", 1: "What is 8?"}
    plan = {
        SampleId("t", doc, repeat): Planned(prompt_hash([Message("user", text)]))
        for doc, text in words.items()
        for repeat in range(2)
    }
    journal = directory.journal(RunRecord(strategy="s"), plan)

    async def record():
        texts = {(0, 0): r"\boxed{7}", (0, 1): "cut", (1, 1): r"\boxed{8}"}
        for (doc, repeat), text in texts.items():
            await journal.record_sample(
                SampleRecord(
                    id=SampleId("t", doc, repeat),
                    strategy="s",
                    text=text,
                    finish="eos",
                    truncated=text == "cut",
                )
            )

    asyncio.run(record())
    journal.close()
    directory.close()
    return tmp_path / "run"
