"""How far a cell is, read from the journal that another process writes."""

import sqlite3

import pytest

from atts_harness.comparing.watch import RunWatch
from atts_harness.journal import schema
from atts_harness.journal.counts import Counts, counts


@pytest.fixture
def writer(tmp_path):
    """A journal with six samples asked for, open as a run has it; ends samples."""
    connection = sqlite3.connect(tmp_path / schema.JOURNAL, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    schema.create(connection)
    for doc in range(6):
        row = ("sums", doc, 0, "prompt", 8, None)
        connection.execute(schema.INSERT["planned"], schema.sealed(row))

    def end(*docs, failed=0):
        for doc in docs:
            row = ("sums", doc, 0, failed, 1.0, b"")
            connection.execute(schema.INSERT["samples"], schema.sealed(row))

    yield end
    connection.close()


def test_the_time_left_is_at_the_pace_of_this_start(writer, tmp_path):
    times = iter([10.0, 14.0, 16.0, 20.0])
    writer(0, 1)  # by an earlier start
    watch = RunWatch(tmp_path, now=lambda: next(times))
    assert watch.line() == "2/6 samples"
    writer(2)
    assert watch.line() == "3/6 samples, 0:12 left"
    writer(3, failed=1)
    assert watch.line() == "4/6 samples, 0:06 left, 1 failed"
    writer(4, 5)
    assert watch.line() == "6/6 samples, 1 failed"
    assert counts(tmp_path) == Counts(6, 6, 1)


def test_a_run_that_has_not_begun_and_one_that_cannot_be_read(tmp_path):
    assert RunWatch(tmp_path).line() == ""
    (tmp_path / schema.JOURNAL).write_bytes(b"no database at all, but as long as a header" * 20)
    assert RunWatch(tmp_path).line() == ""
