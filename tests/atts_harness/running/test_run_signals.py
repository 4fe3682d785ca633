"""Signals that wind a run down, or end it at once."""

import contextlib
import signal
import subprocess
import sys
import time

import pytest

from atts_harness.errors import (
    RunDirError,
)
from atts_harness.journal.reader import open_run

SCRIPT = """
import sys
from atts_harness import plugins
from atts_harness.errors import RunIncompleteError
from atts_harness.running.harness import Harness
from atts_harness.running.observers import Observers
from atts_harness.settings import parse_settings
from atts_harness.testing import mock_plugin
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups
plugins.manager().register(mock_plugin)
settings = parse_settings({"strategy": "mock-turns", "backend": "mock", "draft": "d",
    "target": "t", "progress": "off", "run_dir": sys.argv[1], "mock_seconds": sys.argv[2]})
said = []
def say(record=None):
    if not said:
        said.append(print("running", flush=True))
if float(sys.argv[2]) > 5:
    say()
try:
    with Harness(settings) as harness:
        groups = make_groups(40, 4, MockTurns(MockOptions(turns=9, ending=0.0)))
        harness.run(groups, Observers(call=[say]))
except RunIncompleteError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
except KeyboardInterrupt:
    sys.exit(99)
"""


def start(path, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n", process.communicate()
    return process


def wait_for_calls(path):
    """Until the run has begun: its signals are handled from then on."""
    while True:
        with contextlib.suppress(RunDirError), open_run(path) as run:
            if run.sessions():
                break
        time.sleep(0.05)
    time.sleep(0.5)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_one_signal_winds_the_run_down_and_it_can_be_continued(tmp_path, number, status):
    process = start(tmp_path, 0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == status, said
    assert f"{number.name}: no new calls" in said
    assert "to continue: python" in said
    assert "of 160 samples are finished" in said
    with open_run(tmp_path) as run:
        assert run.sessions()[-1].state == "interrupted"
        assert len(run.missing()) > 0
        assert len(list(run.calls())) > 0


def test_a_signal_does_not_wait_for_calls_that_take_for_ever(tmp_path):
    process = start(tmp_path, 1000)
    wait_for_calls(tmp_path)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said


def test_a_second_signal_ends_the_run_at_once(tmp_path):
    process = start(tmp_path, 1000)
    wait_for_calls(tmp_path)
    process.send_signal(signal.SIGINT)
    while "no new calls" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 99
    with open_run(tmp_path) as run:
        assert run.sessions()[-1].state == "interrupted"
