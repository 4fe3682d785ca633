"""Run directories, logs and locks are the user's alone, and no link is followed."""

import contextlib
import os
import stat

import pytest

from atts_harness.errors import RunDirError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.private import append_to, make_folder
from atts_harness.records import RunRecord
from atts_harness.running.logs import log_to
from atts_harness.testing.mock_runs import make_groups


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_directory_is_nobody_elses_business(tmp_path):
    before = os.umask(0)
    try:
        path = tmp_path / "run"
        directory = RunDirectory(path)
        journal = directory.journal(RunRecord(), planned(make_groups(1, 1)))
        with log_to(path / "run.log"):
            files = {file.name: mode(file) for file in path.iterdir()}
        journal.close()
        directory.close()
    finally:
        os.umask(before)
    assert mode(path) == 0o700
    assert {"lock", "run.log", "journal.sqlite3"} <= files.keys()
    assert set(files.values()) == {0o600}


@pytest.mark.parametrize("name", ["lock", "journal.sqlite3"])
def test_a_link_in_a_run_directory_is_not_followed(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = tmp_path / "run"
    path.mkdir()
    (path / name).symlink_to(victim)

    def begin():
        with contextlib.closing(RunDirectory(path)) as directory:
            directory.journal(RunRecord(), planned(make_groups(1, 1)))

    with pytest.raises(RunDirError):
        begin()
    assert victim.read_text() == "mine"


def test_the_run_directory_itself_may_be_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    RunDirectory(tmp_path / "run").close()
    assert (tmp_path / "elsewhere" / "lock").exists()


def test_a_log_that_is_a_link_a_pipe_or_a_folder_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(OSError, match=name):
            os.close(append_to(tmp_path / name))
    assert not (tmp_path / "victim").exists()
    (tmp_path / "logs").symlink_to(tmp_path / "folder")
    with pytest.raises(OSError, match="symbolic link"):
        make_folder(tmp_path / "logs")
