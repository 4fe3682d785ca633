"""A vote that is killed goes on where it stopped, and ends as if nobody had killed it."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from pathlib import Path

import msgspec
import pytest
from atts_votes.adaptive_consistency import AdaptiveConsistency
from atts_votes.deepconf import DeepConf
from atts_votes.esc import ESC

from atts_harness.conformal.bank import Bank
from atts_harness.conformal.bankfile import write_bank
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
OVER_ATTS = {"rate": 0.3, "draft_tokens": 4, "calibration": "file", "coverage": "marginal"}
VOTES = {
    "adaptive-consistency": (AdaptiveConsistency, "draft-only", {}),
    "esc": (ESC, "draft-only", {"window": 2}),
    "deepconf": (DeepConf, "draft-only", CONFIDENT),
    "adaptive-consistency over atts": (AdaptiveConsistency, "atts", OVER_ATTS),
    "esc over atts": (ESC, "atts", OVER_ATTS | {"window": 3}),
    "deepconf over atts": (DeepConf, "atts", CONFIDENT | OVER_ATTS),
}


def committed_calls(path):
    """How many calls another thread, or an earlier process, has committed."""
    with contextlib.closing(sqlite3.connect(Path(path) / schema.JOURNAL)) as base:
        return base.execute("SELECT count(*) FROM calls").fetchone()[0]


def die(path):
    """Kill this process once a call is committed; the event loop stands still until then."""
    while not committed_calls(path):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


def groups_of(name, bank, path, left=None):
    """Three problems of eight samples; after `left` draws the process kills itself."""
    vote, inner, options = VOTES[name]
    kind = vote.made_for({"inner": inner})
    given = {"inner": inner, **options, **({"bank": bank} if inner == "atts" else {})}
    made = kind(struct_from(kind.Options, given), RunInfo())
    draw = made.draw

    async def killing(sample, ctx, cast):
        nonlocal left
        drawn = await draw(sample, ctx, cast)
        if left is not None:
            left -= 1
            if not left:
                die(path)
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


def scores(asked):
    """Unlike ones, by the context, so that the target takes some turns over."""
    return zlib.crc32(asked.text.encode()) % 100 / 100


def run_in(path, name, left=None):
    bank = Path(path).with_suffix(".bank.json")
    spread = tuple(n / 99 for n in range(99))
    write_bank(Bank(nonconformities=spread, turns=(0,) * 99, questions=tuple(range(99))), bank)
    groups = groups_of(name, str(bank), path, left)
    backends = {role: ScriptedBackend(says, scores, role) for role in groups[0].strategy.roles}
    with contextlib.closing(RunDirectory(Path(path))) as directory:
        journal = directory.journal(RunRecord(strategy=name), planned(groups))
        work = run_groups(groups, backends, RunOptions(metrics_interval=0), journal)
        records = asyncio.run(work)
        journal.close()
        directory.ended("finished", {})
    return records, [served for backend in backends.values() for served in backend.served]


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
    absent = "stopped" if name.startswith("deepconf") else "not-drawn"
    assert {record.finish for record in whole} == {"answer", absent}
    if name.endswith("over atts"):
        assert {d.takeover for record in whole for d in record.decisions} == {False, True}
    here = str(Path(__file__).parent)
    for left in (2, 5, 9):
        command = [sys.executable, "-c", CHILD, here, str(tmp_path / "killed"), name, str(left)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with open_run(tmp_path / "killed") as run:
        committed = len(list(run.calls()))
        finished = len(list(run.samples()))
    assert 0 < committed < len(reference)
    assert finished < len(whole)
    resumed, served = run_in(tmp_path / "killed", name)
    assert exact(resumed) == exact(whole)
    assert len(served) == len(reference) - committed
