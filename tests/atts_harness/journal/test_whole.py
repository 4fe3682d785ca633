"""A journal that lost whole rows is refused: its tables and indexes have to fit together."""

import sqlite3

import pytest

from atts_harness.errors import RunDirError
from atts_harness.journal.reader import open_run
from benchmarks.robustness.formats import FORMATS

(JOURNAL,) = [format_ for format_ in FORMATS if format_.name == "journal"]


def test_a_row_that_only_an_index_knows_is_noticed(tmp_path):
    """As when the page of a table is damaged where it counts its rows."""
    path = JOURNAL.make(tmp_path)
    with open_run(path.parent) as run:
        assert len(list(run.samples())) == 4
    data = bytearray(path.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    with sqlite3.connect(path) as known:
        (root,) = known.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'samples'"
        ).fetchone()
    known.close()
    count = slice((root - 1) * size + 3, (root - 1) * size + 5)  # of rows, or of pages with rows
    data[count] = (int.from_bytes(data[count], "big") - 1).to_bytes(2, "big")
    path.write_bytes(data)
    with pytest.raises(RunDirError, match="the database is damaged"):
        open_run(path.parent)
