"""A run that is killed at any moment loses and repeats nothing that was committed."""

import contextlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from atts_harness.conformal.bank import Bank
from atts_harness.conformal.bankfile import write_bank
from atts_harness.errors import RunDirError
from atts_harness.journal import schema
from atts_harness.journal.reader import open_run

from .conftest import child, results, run_in, with_bank


def test_killed_at_random_moments_a_run_loses_and_repeats_nothing(tmp_path):
    whole, reference = run_in(tmp_path / "whole")
    rng = random.Random(5)
    committed = set()
    for _ in range(3):
        process = child(tmp_path / "killed")
        process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (tmp_path / "killed" / schema.JOURNAL).exists():
            with contextlib.suppress(RunDirError), open_run(tmp_path / "killed") as run:
                now = {call.key for call in run.calls()}
                assert committed <= now
                committed = now
    records, engine = run_in(tmp_path / "killed")
    assert results(records) == results(whole)
    assert len(engine.log) == len(reference.log) - len(committed)
    with open_run(tmp_path / "killed") as run:
        assert run.complete
        assert len(list(run.calls())) == len(reference.log)


CHILD_WITH_A_BANK = """
import sys
sys.path.insert(0, sys.argv[3])
import conftest as runs
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_latency import fixed
groups = runs.with_bank(sys.argv[2], runs.Killed)
runs.run_in(sys.argv[1], groups, MockEngine(latency=fixed(0.02), cache=False))
"""


def exact(records):
    """Records as bytes, less what the clock says and the order in which decisions were made."""
    for record in records:
        record.started = record.ended = record.waited_seconds = 0.0
        record.decisions = [msgspec.structs.replace(d, sequence=0) for d in record.decisions]
        for totals in record.calls.values():
            totals.queued_seconds = totals.engine_seconds = 0.0
    return [schema.encode(record) for record in records]


def test_with_a_bank_of_a_file_a_killed_run_equals_a_whole_one_byte_for_byte(tmp_path):
    path = str(tmp_path / "bank.json")
    scores = tuple(n / 100 for n in range(99))
    write_bank(Bank(nonconformities=scores, turns=(0,) * 99, questions=tuple(range(99))), path)
    whole, reference = run_in(tmp_path / "whole", with_bank(path))
    here = str(Path(__file__).parent)
    for _ in range(4):
        command = [sys.executable, "-c", CHILD_WITH_A_BANK, str(tmp_path / "killed"), path, here]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with open_run(tmp_path / "killed") as run:
        committed = list(run.calls())
        finished = list(run.samples())
    assert 0 < len(committed) < len(reference.log)
    assert len(finished) < len(whole)
    resumed, engine = run_in(tmp_path / "killed", with_bank(path))
    assert exact(resumed) == exact(whole)
    assert len(engine.log) == len(reference.log) - len(committed)
    taken = [d.takeover for record in whole for d in record.decisions]
    assert any(taken)
    assert not all(taken)
