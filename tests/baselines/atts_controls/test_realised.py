"""Where a realised rate is read from."""

import asyncio
import json

import pytest
from atts_controls.realised import realised_rates

from atts_harness.errors import SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.records import DecisionRecord, RunRecord, SampleId, SampleRecord


def record(tmp_path, *decisions, finished=None):
    """A run directory with decisions: (task, takeover, reason)."""
    samples = [SampleId(task, n, 0) for n, (task, *_) in enumerate(decisions)]

    async def write():
        directory = RunDirectory(tmp_path / "run")
        journal = directory.journal(RunRecord(), dict.fromkeys(samples, Planned("")))
        for n, id_ in enumerate(samples[:finished]):
            await journal.record_sample(
                SampleRecord(id=id_, strategy="atts", text="", finish="eos", ended=float(n))
            )
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


def test_of_a_run_directory_every_draft_that_was_taken_over_counts(tmp_path):
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
    assert realised_rates(path) == {"a": 0.4, "b": 1.0}


def test_a_run_that_decided_no_turn_has_no_rate(tmp_path):
    with pytest.raises(SettingError, match="decided no turn"):
        realised_rates(record(tmp_path, ("a", True, "empty-draft")))


def test_a_run_whose_scores_all_failed_took_over_every_turn(tmp_path):
    path = record(tmp_path, ("a", True, "score-failed"), ("a", True, "score-failed"))
    assert realised_rates(path) == {"a": 1.0}


def test_a_run_that_is_not_finished_has_no_rate_yet(tmp_path):
    path = record(tmp_path, ("a", True, "p-value"), ("a", False, "p-value"), finished=1)
    with pytest.raises(SettingError, match="incomplete: 1 of 2 samples are missing"):
        realised_rates(path)


def test_of_a_results_file_what_it_says(tmp_path):
    statistics = {
        "a": {
            "takeover": {
                "realised_rate": 0.25,
                "judged_turns": 4,
                "takeovers": 1,
                "counted_apart": {"score-failed": 1, "empty-draft": 1},
            },
            "samples": 2,
        },
        "b": {"takeover": {"realised_rate": None, "judged_turns": 0, "takeovers": 0}},
    }
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"config": {"atts": {"statistics": statistics}}}))
    assert realised_rates(str(path)) == {"a": 0.4}


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"config": {"model": "hf"}}'])
def test_any_other_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(SettingError, match="not a results file of a run of this harness") as raised:
        realised_rates(str(path))
    assert "\n" not in str(raised.value)


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(SettingError, match="not a run directory"):
        realised_rates(str(tmp_path))
    with pytest.raises(SettingError, match="neither a run directory nor a results file"):
        realised_rates(str(tmp_path / "nothing"))


def test_another_database_is_refused(tmp_path):
    (tmp_path / "journal.sqlite3").write_bytes(b"not a database at all, but long enough" * 40)
    with pytest.raises(SettingError, match="not a readable journal"):
        realised_rates(str(tmp_path))


def test_nan_elsewhere_in_a_results_file_does_no_harm(tmp_path):
    path = tmp_path / "results.json"
    takeover = '{"judged_turns": 4, "takeovers": 1}'
    path.write_text(
        '{"results": {"a": {"x": NaN}}, '
        f'"config": {{"atts": {{"statistics": {{"a": {{"takeover": {takeover}}}}}}}}}}}'
    )
    assert realised_rates(str(path)) == {"a": 0.25}
