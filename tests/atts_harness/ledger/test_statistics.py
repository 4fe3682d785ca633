"""What the samples of a task amount to."""

import msgspec
import pytest

from atts_harness.analysis.statistics import clustered_ratio
from atts_harness.ledger.statistics import TaskCount, by_task
from atts_harness.records import (
    NOT_EXTRACTED,
    CallTotals,
    DecisionRecord,
    SampleId,
    SampleRecord,
)
from atts_harness.results.statistics import TakeoverStatistics, TaskStatistics


def sample(doc, *reasons, task="t", **more):
    id_ = SampleId(task, doc, 0)
    decisions = [
        DecisionRecord(sample=id_, turn=n, takeover=takeover, reason=reason)
        for n, (takeover, reason) in enumerate(reasons)
    ]
    totals = CallTotals(calls=2, completion_tokens=10, computed_tokens=30)
    values = {
        "calls": {"target/takeover": totals, "extractor/judge": CallTotals(calls=1)},
        "kept_tokens": {"draft": 4, "target": 3},
        "turns": len(reasons),
        "started": float(doc),
        "ended": doc + 5.0,
    }
    return SampleRecord(
        id=id_, strategy="atts", text="", finish="eos", decisions=decisions, **(values | more)
    )


def test_the_sums_of_a_task():
    records = [
        sample(0, (True, "p-value"), (False, "p-value"), (True, "score-failed")),
        sample(1, (True, "empty-draft"), (False, "policy")),
        sample(0, (True, "p-value"), task="other"),
    ]
    found = by_task(records, {"t": 0.4})
    assert found.keys() == {"t", "other"}
    mine = found["t"]
    assert (mine.problems, mine.samples, mine.finish, mine.seconds) == (2, 2, {"eos": 2}, 6.0)
    assert mine.tokens_per_sample.target_written == 10
    assert mine.tokens_per_sample.target_computed == 30
    assert mine.tokens_per_sample.kept == 7
    assert mine.llm_extraction is None
    rates = mine.takeover
    assert (rates.nominal_rate, rates.realised_rate) == (0.4, 1 / 3)
    assert rates.counted_apart == {"empty-draft": 1, "score-failed": 1}
    assert found["other"].takeover.nominal_rate is None


def test_the_realised_rate_has_an_interval_over_problems():
    reasons = [(True, "p-value"), (False, "p-value"), (True, "score-failed")]
    alike, different = [reasons[0]] * 4, [reasons[1]] * 3 + reasons
    records = [sample(0, *alike), sample(1, *different), sample(2, *different), sample(0, *alike)]
    rates = by_task(records, {})["t"].takeover
    judged = [d for record in records for d in record.decisions if d.judged]
    expected = clustered_ratio(
        [float(d.takeover) for d in judged], [1.0] * len(judged), [d.sample.doc for d in judged]
    )
    assert rates.realised_rate == expected.value
    assert rates.realised_interval == pytest.approx((expected.low, expected.high))
    assert rates.realised_stderr == pytest.approx(expected.stderr)
    assert (rates.judged_problems, rates.judged_turns) == (3, len(judged))


def test_one_problem_has_a_rate_and_no_interval():
    rates = by_task([sample(0, (True, "p-value"), (False, "p-value"))], {})["t"].takeover
    assert (rates.realised_rate, rates.judged_problems) == (0.5, 1)
    assert (rates.realised_interval, rates.realised_stderr) == (None, None)


def test_they_come_back_from_json_as_they_were():
    records = [sample(0, (True, "p-value"), notes={NOT_EXTRACTED: "BackendError: down"})]
    records.append(sample(1, (False, "p-value")))
    found = by_task(records, {})["t"]
    assert found.llm_extraction.failed == 1
    assert found.llm_extraction.why == {"BackendError": 1}
    assert msgspec.json.decode(msgspec.json.encode(found), type=TaskStatistics) == found


def test_no_samples_have_no_statistics():
    with pytest.raises(ValueError, match="no samples"):
        TaskCount().statistics()


def test_the_rates_differ_where_scores_failed():
    rates = TakeoverStatistics(
        realised_rate=0.2,
        judged_turns=10,
        takeovers=2,
        counted_apart={"score-failed": 5, "empty-draft": 5},
    )
    assert rates.taken_over_rate == 12 / 20
    assert rates.drawn_rate == 7 / 15
    assert rates.shares_apart == {"score-failed": 0.25, "empty-draft": 0.25}
    assert TakeoverStatistics().taken_over_rate is None
    assert TakeoverStatistics(counted_apart={"empty-draft": 3}).drawn_rate is None
