"""Run directories that cannot be used: in use, full, without permission, of something else."""

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from atts_harness.errors import RunDirError
from atts_harness.journal import schema
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.reader import open_run

from .conftest import child, results, run_in


def test_two_runs_in_one_directory_at_once_are_refused(tmp_path):
    held = RunDirectory(tmp_path)
    with pytest.raises(RunDirError, match="another run in this process is using"):
        RunDirectory(tmp_path)
    script = (
        "import sys; from pathlib import Path\n"
        "from atts_harness.errors import RunDirError\n"
        "from atts_harness.journal.directory import RunDirectory\n"
        "try: RunDirectory(Path(sys.argv[1]))\n"
        "except RunDirError as error: print(error); sys.exit(3)\n"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert other.returncode == 3, other.stderr
    assert f"process {os.getpid()}" in other.stdout
    held.close()
    RunDirectory(tmp_path).close()


def test_a_directory_of_another_version_is_refused(tmp_path):
    run_in(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / schema.JOURNAL)) as connection:
        connection.execute("PRAGMA user_version = 99999")
    for use in (lambda: RunDirectory(tmp_path), lambda: open_run(tmp_path)):
        with pytest.raises(RunDirError, match="schema version 99999"):
            use()
    RunDirectory(tmp_path, resume=False).close()


@pytest.mark.parametrize("content", [b"something else entirely, and long enough" * 100, None])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / schema.JOURNAL
    if content is None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE mine (a)")
        content = path.read_bytes()
    else:
        path.write_bytes(content)
    with pytest.raises(RunDirError, match=r"not a (readable )?journal"):
        RunDirectory(tmp_path)
    assert path.read_bytes() == content


def test_a_path_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirError, match="run_dir: "):
        RunDirectory(tmp_path / "file")


def test_a_full_disk_is_a_clear_error_and_corrupts_nothing(tmp_path):
    whole, _ = run_in(tmp_path / "whole")
    limit = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    process = child(tmp_path / "full", limit)
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    last = errors.strip().splitlines()[-1]
    assert "RunDirError: run_dir: " in last
    assert "what was committed is kept" in last
    records, _ = run_in(tmp_path / "full")
    assert results(records) == results(whole)


def test_a_directory_without_permission_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o755)
    run_in(tmp_path / "mine")
    (tmp_path / "mine").chmod(0o755)  # it is the user's alone; here others may read it
    for file in (tmp_path / "mine").iterdir():
        file.chmod(0o644)
    inside = Path(tempfile.gettempdir())
    for folder in (tmp_path, *(one for one in tmp_path.parents if inside in one.parents)):
        folder.chmod(0o755)
    become = "os.setuid(65534)\n" if os.getuid() == 0 else ""
    if not become:
        (tmp_path / "mine").chmod(0o555)
        (tmp_path / "mine" / schema.JOURNAL).chmod(0o444)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from atts_harness.errors import RunDirError\n"
        "from atts_harness.journal.directory import RunDirectory\n"
        "from atts_harness.journal.reader import open_run\n"
        f"{become}"
        "for name in ('mine', 'new'):\n"
        "    try: RunDirectory(Path(sys.argv[1], name)); print('opened')\n"
        "    except RunDirError as error: print(error)\n"
        "run = open_run(Path(sys.argv[1], 'mine')); print(len(list(run.samples())))\n"
        "try: open_run(Path(sys.argv[1], 'hidden', 'mine')); print('opened')\n"
        "except RunDirError as error: print(error)\n"
    )
    (tmp_path / "hidden").mkdir(mode=0o000)
    if not become:
        tmp_path.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        tmp_path.chmod(0o755)
        (tmp_path / "hidden").chmod(0o755)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert lines.pop().endswith("hidden/mine: no permission to look into it")
    assert "no permission to write" in lines[0]
    assert "no permission to write" in lines[1]
    assert lines[2] == "12"  # reading needs no permission to write


@pytest.mark.parametrize("there", ["nothing", "empty", "unborn"])
def test_what_is_no_run_is_not_opened(tmp_path, there):
    path = tmp_path / "run"
    if there != "nothing":
        path.mkdir()
    if there == "unborn":
        sqlite3.connect(path / schema.JOURNAL).close()
    with pytest.raises(RunDirError, match=r"not a run directory|ended before it began"):
        open_run(path)
