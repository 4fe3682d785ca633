"""A vote that is killed goes on where it stopped, and ends as if nobody had killed it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from atts_votes.adaptive_consistency import AdaptiveConsistency
from atts_votes.deepconf import DeepConf
from atts_votes.esc import ESC

from atts_harness.journal import schema
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.journal.reader import open_run
from atts_harness.records import RunRecord, SampleId
from atts_harness.running.batch import run_groups
from atts_harness.settings import RunOptions, struct_from
from atts_harness.strategy import Group, Problem, RunInfo, Sample
from atts_harness.testing.scripted import Says, ScriptedBackend
from atts_harness.transcript import Message, Prompt

CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
import test_resume
test_resume.run_in(sys.argv[2], sys.argv[3], left=int(sys.argv[4]))
"""
CONFIDENT = {"warmup": 3, "group_tokens": 8, "keep": 50.0, "draft_tokens": 4}
VOTES = {
    "adaptive-consistency": (AdaptiveConsistency, {}),
    "esc": (ESC, {"window": 2}),
    "deepconf": (DeepConf, CONFIDENT),
}


def groups_of(name, left=None):
    """Three problems of eight samples; after `left` draws the process kills itself."""
    vote, options = VOTES[name]
    kind = vote.made_for({"inner": "draft-only"})
    made = kind(struct_from(kind.Options, {"inner": "draft-only", **options}), RunInfo())
    draw = made.draw

    async def killing(sample, ctx, cast):
        nonlocal left
        drawn = await draw(sample, ctx, cast)
        if left is not None:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return drawn

    made.draw = killing
    groups = []
    for doc in range(3):
        prompt = Prompt((Message("user", f"Q{doc}"),))
        problem = Problem(
            "t", doc, prompt, answered=lambda text: "}" in text, kind="maths", prompt_hash=str(doc)
        )
        samples = tuple(Sample(SampleId("t", doc, n), problem) for n in range(8))
        groups.append(Group(problem, samples, made))
    return groups


def says(asked):
    """Two answers, by the request's seed; with candidates for whoever looks at them."""
    text = rf"\boxed{{{asked.request.seed % 3 // 2}}}"
    sure = 1 + asked.request.seed % 5
    text = text[len(asked.text.rpartition("<|assistant|>")[2]) :]
    return Says(text, delay=0.005, top_logprobs=({"a": -0.1, "b": -float(sure)},) * len(text))


def run_in(path, name, left=None):
    groups = groups_of(name, left)
    backend = ScriptedBackend(says, role="draft")
    with contextlib.closing(RunDirectory(Path(path))) as directory:
        journal = directory.journal(RunRecord(strategy=name), planned(groups))
        work = run_groups(groups, {"draft": backend}, RunOptions(metrics_interval=0), journal)
        records = asyncio.run(work)
        journal.close()
        directory.ended("finished", {})
    return records, backend


def exact(records):
    """Records as bytes, less what the clock says and the order of decisions among samples."""
    for record in records:
        record.started = record.ended = record.waited_seconds = 0.0
        record.decisions = [msgspec.structs.replace(d, sequence=0) for d in record.decisions]
        for totals in record.calls.values():
            totals.queued_seconds = totals.engine_seconds = 0.0
    return [schema.encode(record) for record in records]


@pytest.mark.parametrize("name", sorted(VOTES))
def test_a_killed_vote_ends_as_a_whole_one_byte_for_byte(tmp_path, name):
    whole, reference = run_in(tmp_path / "whole", name)
    absent = "stopped" if name == "deepconf" else "not-drawn"
    assert {record.finish for record in whole} == {"answer", absent}
    here = str(Path(__file__).parent)
    for left in (2, 5, 9):
        command = [sys.executable, "-c", CHILD, here, str(tmp_path / "killed"), name, str(left)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with open_run(tmp_path / "killed") as run:
        committed = len(list(run.calls()))
        finished = len(list(run.samples()))
    assert 0 < committed < len(reference.served)
    assert finished < len(whole)
    resumed, engine = run_in(tmp_path / "killed", name)
    assert exact(resumed) == exact(whole)
    assert len(engine.served) == len(reference.served) - committed
