"""Where a realised rate is read from."""

import asyncio
import json

import pytest
from atts_controls.realised import realised_rates

from atts_harness.errors import SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.records import DecisionRecord, RunRecord, SampleId


def record(tmp_path, *decisions):
    """A run directory with decisions: (task, takeover, reason)."""
    samples = [SampleId(task, n, 0) for n, (task, *_) in enumerate(decisions)]

    async def write():
        directory = RunDirectory(tmp_path / "run")
        journal = directory.journal(RunRecord(), dict.fromkeys(samples, ""))
        for n, (_, takeover, reason) in enumerate(decisions):
            journal.record_decision(
                DecisionRecord(
                    sample=samples[n], turn=0, takeover=takeover, reason=reason, sequence=n + 1
                )
            )
        journal.close()
        directory.close()

    asyncio.run(write())
    return str(tmp_path / "run")


def test_of_a_run_directory_the_judged_turns_count(tmp_path):
    path = record(
        tmp_path,
        ("a", True, "p-value"),
        ("a", False, "p-value"),
        ("a", False, "p-value"),
        ("a", False, "p-value"),
        ("a", True, "score-failed"),
        ("a", True, "empty-draft"),
        ("b", True, "policy"),
    )
    assert realised_rates(path) == {"a": 0.25, "b": 1.0}


def test_a_run_that_judged_no_turn_has_no_rate(tmp_path):
    path = record(tmp_path, ("a", True, "empty-draft"))
    with pytest.raises(SettingError, match="judged no turn"):
        realised_rates(path)


def test_of_a_results_file_what_it_says(tmp_path):
    statistics = {
        "a": {"takeover": {"realised_rate": 0.3, "takeovers": 3}, "samples": 2},
        "b": {"takeover": {"realised_rate": None}},
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"config": {"atts": {"statistics": statistics}}}))
    assert realised_rates(str(path)) == {"a": 0.3}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"config": {"model": "hf"}}'])
def test_any_other_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(SettingError, match="no results file of a run of this harness") as raised:
        realised_rates(str(path))
    assert "\n" not in str(raised.value)


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(SettingError, match="neither a run directory nor a results file"):
        realised_rates(str(tmp_path))


def test_another_database_is_refused(tmp_path):
    (tmp_path / "journal.sqlite3").write_bytes(b"not a database at all, but long enough" * 40)
    with pytest.raises(SettingError, match="cannot be read"):
        realised_rates(str(tmp_path))
