"""Every gold of the five maths sets, rewritten and crossed."""

import pytest

BENCHMARKS = "benchmarks"


@pytest.fixture(scope="module")
def found(golds_benchmark, shared):
    return golds_benchmark.golds(shared / BENCHMARKS)


def test_rewritten_golds_are_right(golds_benchmark, found):
    assert len(found) == 1274
    count, missed = golds_benchmark.rewritten(found)
    assert count > 20_000
    assert missed == []
    # The two malformed golds of OlympiadBench can be read all the same.
    assert {"olympiadbench/2349", "olympiadbench/1970"} <= found.keys()
    assert not {key for key, _, _ in missed} & {"olympiadbench/2349", "olympiadbench/1970"}


def test_golds_of_other_questions_are_wrong(golds_benchmark, found):
    # The benchmark takes twenty others; four keep the suite quick.
    count, accepted = golds_benchmark.crossed(found, others=4)
    assert count == 4 * len(found)
    assert accepted == []


def test_golds_with_a_changed_digit_are_wrong(golds_benchmark, found):
    count, accepted = golds_benchmark.spoilt(found)
    assert count > 1_200
    assert accepted == []
