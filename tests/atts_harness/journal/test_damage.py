"""Damage is one line that names the record and what to do; a journal that is gone is noticed."""

import contextlib
import random
import shutil
import sqlite3
import sys
from pathlib import Path

import msgspec
import pytest
import typer.testing

from atts_harness import plugins
from atts_harness.cli import build_app
from atts_harness.conformal.calibrate import bank_from_run
from atts_harness.errors import DamagedJournalError, JournalError, JournalLostError, RunDirError
from atts_harness.journal import schema
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.reader import open_run
from atts_harness.journal.sqlite import SqliteJournal
from atts_harness.ledger.recorded import call_rows, ledger_of
from atts_harness.testing import mock_plugin

sys.path.append(str(Path(__file__).parents[2] / "fixtures"))
import unfinished

pytestmark = pytest.mark.usefixtures("mock_installed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run."""
    manager = plugins.manager()
    manager.register(mock_plugin)
    folder = tmp_path_factory.mktemp("finished") / "run"
    unfinished.go_on(folder)
    manager.unregister(mock_plugin)
    with contextlib.closing(sqlite3.connect(folder / schema.JOURNAL)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def changed(folder, table, column, new, where="1"):
    """Change a value behind the journal's back."""
    with contextlib.closing(sqlite3.connect(folder / schema.JOURNAL)) as connection:
        sql = f"SELECT rowid, {column} FROM {table} WHERE {where}"
        if table == "planned":
            (old,) = connection.execute(f"SELECT {column} FROM planned WHERE {where}").fetchone()
            connection.execute(f"UPDATE planned SET {column} = ? WHERE {where}", (new(old),))
        else:
            rowid, old = connection.execute(sql).fetchone()
            update = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
            connection.execute(update, (new(old), rowid))
        connection.commit()


def flipped(blob):
    """One bit of it the other way round, where it does not break the encoding."""
    at = blob.index(b"Question") if b"Question" in blob else len(blob) - 1
    return blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]


def read_all(folder):
    with open_run(folder) as run:
        run.sessions()
        run.planned()
        list(run.samples())
        list(run.calls())
        list(run.decisions())
        list(run.metrics())


FIRST = "doc = 1 AND repeat = 0"
DAMAGE = [
    ("samples", "record", flipped, FIRST, "sample of mock/1/0"),
    ("samples", "failed", lambda old: 1 - old, FIRST, "sample of mock/1/0"),
    ("samples", "repeat", lambda old: 7, FIRST, "sample of mock/1/7"),
    (
        "calls",
        "record",
        flipped,
        f"{FIRST} AND role = 'draft'",
        r"call of mock/1/0 turn \d \(draft",
    ),
    ("calls", "done", lambda old: old + 1, FIRST, "call of mock/1/0"),
    ("decisions", "record", flipped, FIRST, r"decision of mock/1/0 turn \d"),
    ("decisions", "turn", lambda old: 9, FIRST, "decision of mock/1/0 turn 9"),
    ("planned", "prompt", lambda old: "0" * 16, FIRST, "what was asked for of mock/1/0"),
    ("planned", "budget", lambda old: old ^ 1, FIRST, "what was asked for of mock/1/0"),
    ("metrics", "figures", lambda old: old[:-1] + bytes([old[-1] ^ 1]), "1", "engine figures"),
    ("sessions", "state", lambda old: "running", "1", "session 1"),
    ("run", "record", flipped, "1", "what was run"),
]


@pytest.mark.parametrize(("table", "column", "new", "where", "named"), DAMAGE)
def test_one_changed_value_is_noticed_and_named(run, table, column, new, where, named):
    changed(run, table, column, new, where)
    with pytest.raises(DamagedJournalError, match=f"a record is damaged: {named}") as raised:
        read_all(run)
    assert "\n" not in str(raised.value)
    assert f"`atts repair {run}`" in str(raised.value)


READERS = [
    lambda folder: ledger_of(open_run(folder)),
    lambda folder: list(call_rows(open_run(folder))),
    lambda folder: bank_from_run(folder),
    lambda folder: list(open_run(folder).sample_figures()),
    lambda folder: list(open_run(folder).call_figures()),
    unfinished.go_on,
]


@pytest.mark.parametrize("read", READERS)
def test_every_reader_and_the_writer_say_it_in_one_line(run, read):
    changed(run, "calls", "record", flipped)
    changed(run, "samples", "record", flipped)
    changed(run, "decisions", "record", flipped)
    with pytest.raises(JournalError, match="a record is damaged") as raised:
        read(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("table", ["samples", "calls", "decisions", "planned", "metrics"])
def test_a_repaired_run_goes_on_and_ends_as_if_nothing_had_been(finished, run, table):
    column = {"planned": "prompt", "metrics": "figures"}.get(table, "record")
    new = flipped if column == "record" else lambda old: old[:-1] + type(old)(old[:1])
    changed(run, table, column, new, "1" if table == "metrics" else FIRST)
    app = build_app()
    done = typer.testing.CliRunner().invoke(app, ["repair", str(run)])
    assert done.exit_code == 0, done.output
    assert "1 damaged records" in " ".join(done.output.split())
    records = unfinished.go_on(run)
    with open_run(finished) as whole:
        assert [r.text for r in records] == [r.text for r in whole.samples()]
    read_all(run)


def test_a_name_in_a_damaged_record_is_text(run):
    changed(run, "calls", "task", lambda old: "mock\x1b[2J", FIRST)
    done = typer.testing.CliRunner().invoke(build_app(), ["repair", str(run)])
    assert "call of mock␛[2J/1/0" in done.output
    assert "\x1b" not in done.output


def test_damage_of_the_runs_own_record_cannot_be_repaired(run):
    changed(run, "run", "record", flipped)
    directory = RunDirectory(run)
    with contextlib.closing(directory), pytest.raises(RunDirError, match="resume=false"):
        directory.repair()


def test_no_flipped_bit_of_the_file_changes_a_number_without_a_word(finished, tmp_path):
    """Whatever bit flips: an error of ours, or the same records as before."""

    def records(folder):
        with open_run(folder) as run:
            return (
                [msgspec.to_builtins(r) for r in (*run.samples(), *run.decisions())],
                [msgspec.to_builtins(r) for r in run.calls()],
                run.missing(),
            )

    before = records(finished)
    content = (finished / schema.JOURNAL).read_bytes()
    rng = random.Random(3)
    refused = 0
    folder = tmp_path / "run"
    folder.mkdir()
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.randrange(100, len(damaged))] ^= 1 << rng.randrange(8)
        (folder / schema.JOURNAL).write_bytes(damaged)
        found, lines = None, []
        try:
            found = records(folder)
        except JournalError as error:
            lines = str(error).splitlines()
        assert (found == before and not lines) or len(lines) == 1
        refused += bool(lines)
    assert refused > 40


GONE = {
    "directory removed": lambda run: shutil.rmtree(run),
    "database removed": lambda run: (run / schema.JOURNAL).unlink(),
    "directory renamed": lambda run: run.rename(run.with_name("elsewhere")),
    "database renamed": lambda run: (run / schema.JOURNAL).rename(run / "other.sqlite3"),
    "another database in its place": lambda run: shutil.copy(
        run / schema.JOURNAL, run / "copy"
    ).replace(run / schema.JOURNAL),
}


@pytest.mark.parametrize("how", GONE)
def test_a_journal_that_goes_away_is_noticed_and_what_was_finished_handed_over(tmp_path, how):
    run = tmp_path / "run"

    def after(count):
        if count == 2:
            GONE[how](run)

    with pytest.raises(JournalLostError, match="was removed or renamed while the run") as raised:
        unfinished.go_on(run, after=after, live_samples=1, mock_seconds=0.02)
    assert "\n" not in str(raised.value)
    handed = raised.value.finished
    assert 2 <= len(handed) < unfinished.SAMPLES
    saved = tmp_path / "run-saved"
    assert f"go on with run_dir={saved}" in str(raised.value)
    with open_run(saved) as kept:
        texts = {record.id: record.text for record in kept.samples()}
    assert all(texts[record.id] == record.text for record in handed)
    assert len(unfinished.go_on(saved)) == unfinished.SAMPLES


def test_a_directory_that_goes_away_at_the_very_end_takes_no_result_with_it(tmp_path, monkeypatch):
    run = tmp_path / "run"
    close = SqliteJournal.close

    def removed(journal):
        close(journal)
        shutil.rmtree(run)

    monkeypatch.setattr(SqliteJournal, "close", removed)
    records = unfinished.go_on(run)
    assert len(records) == unfinished.SAMPLES
