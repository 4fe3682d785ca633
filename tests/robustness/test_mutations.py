"""A part of `python -m benchmarks.robustness.mutations`, which reads 2,000 files a format."""

import dataclasses
import json

import pytest

from atts_harness.testing.mutations import mutate_database
from benchmarks.robustness.check import check
from benchmarks.robustness.formats import FORMATS

FILES = 250
FEWER = {"report beside another": 100}
BY_NAME = {format_.name: format_ for format_ in FORMATS}
# A page of the database that is damaged may lose a row as a whole, which no checksum of a row sees:
# of its bytes it is only asked that they end in no error of others.
JOURNAL = BY_NAME["journal"]
CHECKED = {
    **BY_NAME,
    "journal": dataclasses.replace(JOURNAL, sealed=False),
    "journal, value by value": dataclasses.replace(JOURNAL, mutate=mutate_database),
}


@pytest.mark.parametrize("name", CHECKED)
def test_mutated_files_are_refused_or_read_and_never_a_traceback(name, tmp_path):
    count = FEWER.get(name, FILES)
    found = check(CHECKED[name], tmp_path / "files", range(count))
    assert not found.faults
    assert found.refused + found.same + found.warned + found.other == count


def test_the_check_sees_what_it_looks_for(tmp_path):
    """A reader that passes other errors on, or another number, is found out."""
    sound = BY_NAME["published bank by question"]
    plain = dataclasses.replace(sound, read=lambda path: json.loads(path.read_bytes()))
    assert any("Error" in fault for fault in check(plain, tmp_path / "a", range(40)).faults)
    silent = dataclasses.replace(sound, sealed=True)
    assert any("without a word" in f for f in check(silent, tmp_path / "b", range(40)).faults)
