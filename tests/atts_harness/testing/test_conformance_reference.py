"""The reference of the conformance suite keeps what cases ask for again, and not the whole run."""

import pytest

from atts_harness.testing import conformance_reference
from atts_harness.testing.conformance_folder import write_model_folder
from atts_harness.testing.conformance_reference import TransformersReference


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return TransformersReference(
        str(write_model_folder(tmp_path_factory.mktemp("m"), max_length=64))
    )


def test_tables_are_kept_up_to_a_size_and_the_last_one_always(reference, monkeypatch):
    table = reference._table((1, 2, 3, 4))
    monkeypatch.setattr(conformance_reference, "CACHE_BYTES", 2 * table.nbytes)
    assert reference._table((1, 2, 3, 4)) is table
    reference._table((2, 2, 3, 4))
    assert len(reference._tables) == 2
    reference._table((3, 2, 3, 4))
    assert [key[0] for key in reference._tables] == [2, 3]  # the oldest went
    again = reference._table((1, 2, 3, 4))
    assert again is not table
    assert again.equal(table)
    monkeypatch.setattr(conformance_reference, "CACHE_BYTES", 0)
    whole = reference._table((4, 3, 2, 1))
    assert list(reference._tables.values()) == [whole]
