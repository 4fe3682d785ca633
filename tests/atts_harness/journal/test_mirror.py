"""Journals that a keeper on another machine has a copy of: what is committed is there."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from atts_harness.errors import JournalLostError, RunDirError, SettingError
from atts_harness.journal import keeper as keeping
from atts_harness.journal import mirror, schema, wire
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.keeper import Keeper
from atts_harness.journal.mirror import MirrorLostError, MirrorRefusedError, TcpMirror
from atts_harness.journal.plan import planned
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.settings import RunOptions
from atts_harness.testing.mock_engine import MockBackend, MockEngine
from atts_harness.testing.mock_latency import fixed
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

RECORD = RunRecord(
    strategy="mock-turns", settings={"seed": 1234, "retries": 5}, roles={"draft": {"model": "d"}}
)


def run_in(path, *, documents=4, seconds=0.0, engine=None, resume=True):
    """One session in a run directory; how many calls reached the engine."""
    groups = make_groups(
        documents, 3, MockTurns(MockOptions(turns=4, draft_tokens=12, target_tokens=12))
    )
    engine = engine or MockEngine(cache=False, latency=fixed(seconds))
    backend = MockBackend(engine)
    with contextlib.closing(RunDirectory(path, resume=resume)) as directory:
        journal = directory.journal(RECORD, planned(groups), command="run it")
        state = "failed"
        try:
            work = run_groups(
                groups,
                {"draft": backend, "target": backend},
                RunOptions(metrics_interval=0, live_samples=4),
                journal,
            )
            asyncio.run(work)
            state = "finished"
        finally:
            journal.close()
            with contextlib.suppress(RunDirError):  # another error is on its way
                directory.ended(state, {})
    return len(engine.log)


def tables(run_dir):
    """Everything that a journal holds, by table."""
    with contextlib.closing(sqlite3.connect(run_dir / schema.JOURNAL)) as connection:
        return {
            t: sorted(map(repr, connection.execute(f"SELECT * FROM {t}"))) for t in schema.COLUMNS
        }


@pytest.fixture
def said():
    return []


@pytest.fixture
def keeper(said):
    found = Keeper("127.0.0.1", said.append)
    yield found
    found.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Folders of two machines; `tell` sets what a command would be told."""
    (tmp_path / "copy").mkdir()

    class Place:
        copy = tmp_path / "copy" / "cell"
        node = tmp_path / "node"

        def tell(self, address):
            for name, value in mirror.environment(address).items():
                monkeypatch.setenv(name, value)

        def attempt(self, keeper):
            shutil.rmtree(self.node, ignore_errors=True)
            address = keeper.begin(self.copy, str(self.node))
            self.tell(address)
            return address

    return Place()


def test_a_copy_holds_what_the_journal_holds(keeper, place):
    place.attempt(keeper)
    calls = run_in(place.node)
    keeper.end(place.copy)
    assert tables(place.copy) == tables(place.node)
    assert len(tables(place.copy)["samples"]) == 12
    # Another attempt, whose machine has nothing: no call is made again.
    assert place.attempt(keeper).epoch == 2
    assert run_in(place.node) == 0
    keeper.end(place.copy)
    assert tables(place.copy) == tables(place.node)
    assert [row.split(",")[4] for row in tables(place.copy)["sessions"]] == [" 'finished'"] * 2
    # And more documents go on from there.
    place.attempt(keeper)
    assert 0 < run_in(place.node, documents=6) < calls


def test_other_run_directories_of_a_command_have_no_mirror(keeper, place, tmp_path):
    place.attempt(keeper)
    run_in(tmp_path / "other")
    assert tables(place.copy)["samples"] == []


def test_what_an_earlier_attempt_writes_is_refused(keeper, place, said):
    first = keeper.begin(place.copy, str(place.node))
    old = TcpMirror(first)
    insert = schema.INSERT["metrics"]
    old.commit([(insert, schema.sealed((1.0, "draft", b"first")))])
    second = keeper.begin(place.copy, str(place.node))
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(MirrorRefusedError, match="attempt 1 was given up, and attempt 2"):
        old.commit([(insert, schema.sealed((2.0, "draft", b"late")))])
    with pytest.raises(MirrorRefusedError, match="attempt 1 was given up"):  # by a new link, too
        TcpMirror(first).commit([(insert, schema.sealed((3.0, "draft", b"late")))])
    with pytest.raises(MirrorRefusedError, match="attempt 1 was given up"):
        TcpMirror(first).fetch(place.copy / "x.sqlite3")
    new = TcpMirror(second)
    new.commit([(insert, schema.sealed((4.0, "draft", b"second")))])
    keeper.end(place.copy)
    with pytest.raises(MirrorRefusedError, match="attempt 2 is over"):
        new.commit([(insert, schema.sealed((5.0, "draft", b"late")))])
    rows = tables(place.copy)["metrics"]
    assert len(rows) == 2
    assert not any("late" in row for row in rows)
    assert len(said) == 4
    assert said[0].startswith(f"{place.copy}: refused what was written late: attempt 1")


def meanwhile(place, change):
    """An engine at whose 20th call something happens, once calls were committed."""
    engine = MockEngine(cache=False, latency=fixed(0.0))
    serve, changes = engine.serve, [change]

    def wait_for_commit():
        while not tables(place.copy)["calls"]:
            time.sleep(0.01)

    async def changing(request):
        if len(engine.log) >= 20 and changes:
            now = changes.pop()
            await asyncio.to_thread(wait_for_commit)
            now()
        return await serve(request)

    engine.serve = changing
    return engine


def delete(folder):
    """As another program sees it, all of it is gone at once."""
    shutil.rmtree(folder.rename(folder.with_name("deleted")))


@pytest.mark.parametrize("deleted", [False, True])
def test_a_run_whose_place_was_taken_ends(keeper, place, said, deleted):
    first = place.attempt(keeper)

    def taken():
        keeper.begin(place.copy, str(place.node))
        if deleted:
            delete(place.node)

    # Over, and in a moment given up for the other.
    with pytest.raises(MirrorRefusedError, match=r"attempt 1 (is over|was given up)"):
        run_in(place.node, engine=meanwhile(place, taken))
    assert first.epoch == 1
    assert f"{place.copy}: refused what was written late: attempt 1" in said[0]
    assert not place.node.with_name("node-saved").exists()
    kept = tables(place.copy)
    assert len(kept["samples"]) < 12
    # What the copy has is a state in which the run was: it goes on from there.
    place.tell(keeper.begin(place.copy, str(place.node)))
    run_in(place.node)
    keeper.end(place.copy)
    assert set(kept["calls"]) <= set(tables(place.copy)["calls"])


def test_a_node_whose_folder_is_deleted_has_everything_at_the_keeper(keeper, place):
    place.attempt(keeper)
    before = set()

    def deleted():
        before.update(tables(place.copy)["calls"])
        delete(place.node)

    with pytest.raises(JournalLostError, match=r"removed or renamed .*: the same command goes on"):
        run_in(place.node, engine=meanwhile(place, deleted))
    assert not place.node.with_name("node-saved").exists()
    kept = set(tables(place.copy)["calls"])
    assert before < kept  # with those that were committed once the folder was gone
    place.attempt(keeper)
    run_in(place.node)
    keeper.end(place.copy)
    assert kept <= set(tables(place.copy)["calls"])


def test_epochs_outlive_the_keeper(place, said):
    for epoch in (1, 2, 3):
        with contextlib.closing(Keeper("127.0.0.1", said.append)) as keeper:
            assert keeper.begin(place.copy, "run").epoch == epoch
    (place.copy / keeping.EPOCH).write_text("nonsense")
    with (
        contextlib.closing(Keeper("127.0.0.1", said.append)) as keeper,
        pytest.raises(RunDirError, match=r"epoch: .*move it away"),
    ):
        keeper.begin(place.copy, "run")


def test_a_link_that_breaks_is_made_again_and_nothing_is_written_twice(keeper, place, monkeypatch):
    monkeypatch.setattr(mirror, "PAUSE_SECONDS", 0.01)
    ours = TcpMirror(keeper.begin(place.copy, "run"))
    receive, lost = wire.receive, [True]

    def receive_and_lose(link, kind):
        found = receive(link, kind)
        if kind is wire.KeeperAnswer and ours._number == 1 and lost and lost.pop():
            raise ConnectionError("cut")  # the keeper has committed, and we do not know
        return found

    row = (schema.INSERT["metrics"], schema.sealed((1.0, "draft", b"once")))
    ours._connect(fetch=False)
    monkeypatch.setattr(mirror.wire, "receive", receive_and_lose)
    ours.commit([row])
    ours.commit([(row[0], schema.sealed((2.0, "draft", b"twice")))])
    ours.close()
    keeper.end(place.copy)
    assert lost == []
    assert len(tables(place.copy)["metrics"]) == 2


def test_a_keeper_that_is_gone_ends_the_run_at_once(place, monkeypatch, said):
    monkeypatch.setattr(mirror, "PATIENCE_SECONDS", 1e9)
    keeper = Keeper("127.0.0.1", said.append)
    address = place.attempt(keeper)
    ours = TcpMirror(address)
    ours._connect(fetch=False)
    keeper.close()
    with pytest.raises(MirrorLostError, match=r"keeper of its journal at 127.0.0.1:\d+ cannot be"):
        ours.commit([(schema.INSERT["metrics"], schema.sealed((1.0, "draft", b"")))])
    with pytest.raises(MirrorLostError, match="cannot be reached"):
        run_in(place.node)


def test_who_has_no_key_writes_nothing(keeper, place):
    address = keeper.begin(place.copy, "run")
    stranger = mirror.Address(
        run_dir="run", host=address.host, port=address.port, key="x", run=address.run, epoch=1
    )
    with pytest.raises(MirrorRefusedError, match="another key"):
        TcpMirror(stranger).commit([("DELETE FROM run", ())])
    # Somebody who says nothing, or something else, holds nobody up.
    with socket.create_connection((address.host, address.port)) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\n\r\n")
        TcpMirror(address).commit([("DELETE FROM metrics", ())])


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE calls",
        "ATTACH '/tmp/x' AS x",
        "UPDATE run SET crc = 1",
        "PRAGMA user_version = 3",
    ],
)
def test_a_run_changes_rows_and_nothing_else(keeper, place, statement):
    with pytest.raises(MirrorRefusedError, match="not authorized"):
        TcpMirror(keeper.begin(place.copy, "run")).commit([(statement, ())])


def test_a_mirrored_run_is_not_started_afresh(keeper, place):
    place.attempt(keeper)
    with pytest.raises(SettingError, match="resume: false cannot be used"):
        run_in(place.node, resume=False)


def test_a_variable_that_says_nothing(place, monkeypatch):
    monkeypatch.setenv(mirror.VARIABLE, "yes")
    with pytest.raises(RunDirError, match=r"^ATTS_JOURNAL_MIRROR: .*unset it"):
        run_in(place.node)


SCRIPT = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("here", sys.argv[1])
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
here.run_in(pathlib.Path(sys.argv[2]), documents=40, seconds=0.02)
"""


def test_a_machine_dies_and_its_orphan_writes_on(keeper, place, said):
    """Stopped in the middle, taken for dead, and let go on beside the attempt in its place."""
    address = keeper.begin(place.copy, str(place.node))
    command = [sys.executable, "-c", SCRIPT, __file__, str(place.node)]
    environment = {**os.environ, **mirror.environment(address)}
    orphan = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        while not (found := tables(place.copy))["samples"]:
            assert orphan.poll() is None
            time.sleep(0.02)
        os.kill(orphan.pid, signal.SIGSTOP)
        other = place.node.with_name("other")
        place.tell(keeper.begin(place.copy, str(other)))
        kept = tables(place.copy)
        os.kill(orphan.pid, signal.SIGCONT)
        run_in(other, documents=40)
        _, told = orphan.communicate(timeout=30)
    finally:
        orphan.kill()
        orphan.wait()
    assert orphan.returncode == 1
    assert "attempt 1 was given up, and attempt 2 has taken its place" in told
    assert any("refused what was written late" in line for line in said)
    keeper.end(place.copy)
    whole = tables(place.copy)
    assert whole == tables(other)
    assert len(whole["samples"]) == 120
    # Nothing that was committed was made again: a record has the time at which it was made.
    assert set(found["calls"]) <= set(kept["calls"]) <= set(whole["calls"])
