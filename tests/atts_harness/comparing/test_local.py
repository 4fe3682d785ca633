"""One command: its log, its end, and its failure in a line."""

import signal
import subprocess
import sys
import time

import pytest

from atts_harness.comparing.causes import LONGEST_CAUSE, cause
from atts_harness.comparing.local import Process


def python(code, log, **env):
    return Process([sys.executable, "-S", "-c", code], log, env)


def test_a_command_and_its_log(tmp_path):
    log = tmp_path / "cells" / "a" / "log.txt"
    assert ended(python("import os; print(os.environ['TOLD'])", log, TOLD="once")) == 0
    assert ended(python("raise SystemExit(3)", log)) == 3
    lines = log.read_text().splitlines()
    assert (lines[0][:2], lines[-1][:2]) == ("$ ", "$ ")
    assert "once" in lines  # a second start writes on


@pytest.mark.parametrize(
    ("printed", "status", "told"),
    [
        ("lm_eval: error: rate: no number\nbye", 1, "rate: no number"),
        ("atts: error: url: nobody\n", 1, "url: nobody"),
        (
            "atts: 4/4 samples\nlm_eval: 1 of 4 samples failed (exit status 3)\nbye",
            3,
            "1 of 4 samples failed (exit status 3)",
        ),
        ("Traceback\n  File x\npkg.mod.SomeError: it broke\n", 1, "pkg.mod.SomeError: it broke"),
        ("some\nwords\n\n", 2, "words"),
        ("", 2, "ended with status 2 and printed nothing"),
        ("", -9, "ended by SIGKILL"),
        ("working\n", -9, "ended by SIGKILL: working"),
        ("ValueError: " + "x" * 999, 1, "ValueError: " + "x" * (LONGEST_CAUSE - 13) + "…"),
    ],
)
def test_a_failure_in_a_line(tmp_path, printed, status, told):
    log = tmp_path / "log.txt"
    log.write_text("ValueError: of an earlier start\n$ the command\n" + printed)
    assert cause(log, status) == told


def test_a_log_that_is_not_there(tmp_path):
    assert cause(tmp_path / "none", 1) == "ended with status 1 and printed nothing"


def ended(process):
    while (status := process.poll()) is None:
        time.sleep(0.01)
    return status


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


def test_a_command_is_wound_down_by_one_signal(tmp_path):
    code = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit(130))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)"
    )
    process = python(code, tmp_path / "log")
    wait_for(tmp_path / "ready")
    process.wind_down()
    assert ended(process) == 130
    process.wind_down()  # nobody is there any more: nothing happens


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told on Linux only")
def test_a_command_does_not_outlive_us(tmp_path):
    """Killed hard, `atts compare` cannot stop its cell; the cell winds itself down."""
    inner = (
        "import pathlib, signal, sys, time\n"
        "def end(*_): pathlib.Path('ended').touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)"
    )
    outer = (
        "import pathlib, sys\n"
        "from atts_harness.comparing.local import Process\n"
        f"Process([sys.executable, '-S', '-c', {inner!r}], pathlib.Path('log')).popen.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", outer], cwd=tmp_path)
    wait_for(tmp_path / "ready")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(tmp_path / "ended")
