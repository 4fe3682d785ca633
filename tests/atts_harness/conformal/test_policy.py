import itertools
import logging
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.conformal import CalibrationOptions, bank_of, make_policy
from atts_harness.errors import MalformedReplyError, SettingError
from atts_harness.records import DecisionRecord, SampleId
from atts_harness.strategy import RunInfo, TakeoverPolicy

COVERAGES = ("marginal", "turn", "conditional", "conditional+turn")
BANK = bank_of(
    [
        (doc, turn, 0.1 * doc + 0.01 * n + turn)
        for doc in range(4)
        for turn in (0, 1, 2)
        for n in range(6)
    ],
    evaluation_questions=True,
)


def record_of(verdict, score, sample, turn, uniform):
    return DecisionRecord(
        sample=sample,
        turn=turn,
        takeover=verdict.takeover,
        reason="p-value",
        nonconformity=score,
        uniform=uniform,
        p_value=verdict.p_value,
        threshold=verdict.threshold,
        bank_size=verdict.bank_size,
        bank=verdict.bank,
    )


def options_of(source, coverage, control, pvalue="pooled"):
    return CalibrationOptions(calibration=source, coverage=coverage, control=control, pvalue=pvalue)


def policy_of(options):
    return make_policy(options, bank=BANK if options.calibration == "file" else None)


EVERY_KIND = [
    options_of(source, coverage, control, pvalue)
    for source, coverage, control, pvalue in itertools.product(
        ("online", "presample", "file"),
        COVERAGES,
        ("fixed", "adaptive"),
        ("pooled", "hierarchical"),
    )
    if not (pvalue == "hierarchical" and coverage.startswith("conditional"))
]


@pytest.mark.parametrize(
    "options", EVERY_KIND, ids=lambda o: f"{o.calibration}-{o.coverage}-{o.control}-{o.pvalue}"
)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), stop=st.integers(0, 96))
def test_state_is_the_fold_of_the_decisions(options, seed, stop):
    """Killed after `stop` decisions and resumed, the run goes on as if it had not been."""
    rng = random.Random(seed)
    turns = [(doc, turn, repeat) for doc in range(4) for turn in range(3) for repeat in range(8)]
    scores = {key: rng.choice((rng.random(), 0.5)) for key in turns}
    draws = {key: rng.random() for key in turns}
    drafts = {doc: {n: scores[doc, 0, n] for n in range(8)} for doc in range(4)}

    def go_on(policy, todo, records):
        for doc, turn, repeat in todo:
            if policy.presamples and turn == 0:
                policy.offer("t", doc, drafts[doc])  # each sample offers what was gathered
            sample, key = SampleId("t", doc, repeat), (doc, turn, repeat)
            verdict = policy.decide(scores[key], sample, turn, draws[key])
            records.append(record_of(verdict, scores[key], sample, turn, draws[key]))
        return records

    whole = go_on(policy_of(options), turns, [])
    resumed = policy_of(options)
    for record in whole[:stop]:
        resumed.fold(record)
    assert go_on(resumed, turns[stop:], whole[:stop]) == whole


def test_policies_follow_the_contract():
    policy = make_policy(CalibrationOptions())
    assert isinstance(policy, TakeoverPolicy)
    assert policy.needs_scores
    assert not policy.presamples
    assert make_policy(CalibrationOptions(calibration="presample")).presamples


def test_records_no_policy_decided_change_nothing():
    policy = make_policy(CalibrationOptions(control="adaptive"))
    sample = SampleId("t", 0, 0)
    policy.fold(DecisionRecord(sample=sample, turn=0, takeover=True, reason="score-failed"))
    policy.fold(DecisionRecord(sample=sample, turn=0, takeover=True, reason="empty-draft"))
    verdict = policy.decide(1.0, sample, 0, 0.25)
    assert (verdict.bank_size, verdict.p_value, verdict.threshold) == (0, 0.75, pytest.approx(0.4))


def test_strata_have_names_and_are_kept_apart():
    names = {}
    for coverage in COVERAGES:
        policy = make_policy(CalibrationOptions(coverage=coverage))
        places = [("a", 12, 3), ("a", 12, 4), ("a", 13, 3), ("b", 12, 3)]
        seen = [policy.decide(1.0, SampleId(t, d, 0), n, 0.5) for t, d, n in places]
        names[coverage] = [(v.bank, v.bank_size) for v in seen]
    assert names == {
        "marginal": [("marginal", 0), ("marginal", 1), ("marginal", 2), ("marginal", 0)],
        "turn": [("turn 3", 0), ("turn 4", 0), ("turn 3", 1), ("turn 3", 0)],
        "conditional": [
            ("question 12", 0),
            ("question 12", 1),
            ("question 13", 0),
            ("question 12", 0),
        ],
        "conditional+turn": [
            ("question 12/turn 3", 0),
            ("question 12/turn 4", 0),
            ("question 13/turn 3", 0),
            ("question 12/turn 3", 0),
        ],
    }


def test_presamples_judge_later_turns_only_without_coverage_by_turn():
    sizes = {}
    for coverage in COVERAGES:
        policy = make_policy(CalibrationOptions(coverage=coverage, calibration="presample"))
        policy.offer("t", 0, {0: 1.0, 1: 2.0, 2: 3.0})
        policy.offer("t", 1, {0: 1.0, 1: 2.0})
        sizes[coverage] = [
            policy.decide(1.5, SampleId("t", 1, 0), turn, 0.5).bank_size for turn in (0, 1, 1)
        ]
    assert sizes == {
        "marginal": [4, 5, 5],
        "turn": [4, 0, 1],
        "conditional": [1, 2, 2],
        "conditional+turn": [1, 0, 1],
    }


def test_a_turn_without_a_bank_of_its_own_asks_the_last_one_that_has(caplog):
    rows = [(q, 0, 1.0) for q in range(30)] + [(q, 1, 2.0) for q in range(25)] + [(0, 2, 3.0)]
    with caplog.at_level(logging.WARNING, "atts_harness.conformal"):
        policy = make_policy(CalibrationOptions(rate=0.05), bank=bank_of(rows))
        seen = [policy.decide(2.5, SampleId("t", 9, 0), turn, 0.0) for turn in range(5)]
    assert [(v.bank, v.bank_size) for v in seen] == [
        ("turn 0", 30),
        ("turn 1", 25),
        ("turn 2 by turn 1", 25),
        ("turn 3 by turn 1", 25),
        ("turn 4 by turn 1", 25),
    ]
    assert "'turn 2' with 1: at least 19 scores are needed" in caplog.text


def test_too_few_siblings_are_warned_of_once(caplog):
    options = CalibrationOptions(calibration="presample", coverage="conditional", rate=0.1)
    policy = make_policy(options)
    with caplog.at_level(logging.WARNING, "atts_harness.conformal"):
        policy.offer("t", 0, dict.fromkeys(range(4), 1.0))
        policy.offer("t", 1, dict.fromkeys(range(4), 1.0))
    assert caplog.text.count("4 first drafts of a problem are its bank") == 1
    assert "at least 10 are needed" in caplog.text


@pytest.mark.parametrize("score", [float("inf"), 0.0, 700.0])
def test_extreme_scores_rank_like_others(score):
    policy = make_policy(CalibrationOptions(ties="conservative", coverage="marginal"))
    for n, known in enumerate((1.0, 2.0, float("inf"))):
        policy.decide(known, SampleId("t", 0, n), 0, 0.0)
    verdict = policy.decide(score, SampleId("t", 0, 9), 0, 0.0)
    assert verdict.p_value == (1 + sum(known >= score for known in (1.0, 2.0, float("inf")))) / 4


def test_nan_is_no_score():
    with pytest.raises(MalformedReplyError, match="not a number"):
        make_policy(CalibrationOptions()).decide(float("nan"), SampleId("t", 0, 0), 0, 0.5)
    presample = make_policy(CalibrationOptions(calibration="presample"))
    with pytest.raises(MalformedReplyError, match="t/0/1"):
        presample.offer("t", 0, {0: 1.0, 1: float("nan")})


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("control", ["fixed", "adaptive"])
@pytest.mark.parametrize("ties", ["random", "conservative"])
def test_rates_zero_and_one_are_never_and_always(rate, control, ties):
    policy = make_policy(CalibrationOptions(rate=rate, control=control, ties=ties))
    rng = random.Random(0)
    taken = [
        policy.decide(rng.random(), SampleId("t", n, 0), 0, draw).takeover
        for n, draw in enumerate([0.0, 1 - 2**-53] + [rng.random() for _ in range(200)])
    ]
    assert set(taken) == {rate == 1.0}


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"rate": 1.2}, r"rate=1.2: must lie in \[0, 1\]"),
        ({"rate": float("nan")}, "rate=nan"),
        ({"budget": "17/16"}, "budget='17/16': must be B/m"),
        ({"budget": "6"}, "budget='6': must be B/m"),
        ({"budget": "x/16"}, "must be B/m"),
        ({"budget": "0/0"}, "must be B/m"),
        ({"budget": "6/16", "rate": 0.3}, "disagree"),
        ({"calibration": "file"}, "needs bank=PATH; `atts calibrate`"),
        ({"calibration": "online", "bank": "b.json"}, "not used by calibration=online"),
        ({"bank": "/nowhere/b.json"}, "/nowhere/b.json: no such file"),
        ({"pvalue": "hierarchical", "coverage": "conditional"}, "use coverage=turn"),
        ({"rule": "reference"}, "no percentile before the first score"),
        (
            {"rule": "reference", "calibration": "presample", "control": "adaptive"},
            "without pvalue=hierarchical and control=adaptive",
        ),
    ],
)
def test_settings_that_cannot_be_used(settings_, message):
    with pytest.raises(SettingError, match=message):
        make_policy(CalibrationOptions(**settings_), RunInfo(provenance={"task": "t"}))


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_rate_is_bounded_where_settings_are_parsed(rate):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"rate": rate}, CalibrationOptions)


def test_budget_is_a_rate():
    assert CalibrationOptions(budget="6/16").nominal == 6 / 16
    assert CalibrationOptions(budget="4/10", rate=0.4).nominal == 0.4
    policy = make_policy(CalibrationOptions(budget="3/8"))
    assert policy.decide(1.0, SampleId("t", 0, 0), 0, 0.5).threshold == 3 / 8


def test_a_bank_of_other_questions_covers_no_single_problem():
    bank = msgspec.structs.replace(BANK, evaluation_questions=False)
    policy = make_policy(CalibrationOptions(coverage="conditional"), bank=bank)
    with pytest.raises(SettingError, match="other questions than the evaluation's"):
        policy.decide(1.0, SampleId("t", 0, 0), 0, 0.5)


def test_a_problem_missing_in_the_bank():
    policy = make_policy(CalibrationOptions(coverage="conditional"), bank=BANK)
    with pytest.raises(SettingError, match="no scores for 'question 77'"):
        policy.decide(1.0, SampleId("t", 77, 0), 0, 0.5)


def test_first_drafts_do_not_judge_later_turns_unless_asked_to():
    first = bank_of([(q, 0, 1.0) for q in range(30)])
    with pytest.raises(SettingError, match="coverage=marginal as published"):
        make_policy(CalibrationOptions(), RunInfo(provenance={"task": "t"}), first)
    policy = make_policy(CalibrationOptions(coverage="marginal"), bank=first)
    assert policy.decide(2.0, SampleId("t", 0, 0), 5, 0.5).bank == "marginal"


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.4, 0.5, 0.7, 0.9])
def test_reference_is_the_percentile_rule_at_every_rank(rate):
    """Also where the percentile is just the threshold, for any rate."""
    size = 10
    bank = bank_of([(q, 0, float(q)) for q in range(size)])
    options = CalibrationOptions(rate=rate, rule="reference", coverage="marginal")
    policy = make_policy(options, bank=bank)
    for below in range(size + 1):
        verdict = policy.decide(below - 0.5, SampleId("t", 99, 0), 0, 0.0)
        assert verdict.takeover == (below / size >= round(1 - rate, 12))
        assert verdict.takeover == (verdict.p_value <= verdict.threshold)
