import io
import random

import msgspec
import pytest
from rich.console import Console

from atts_harness.analysis.audit.audit import Audit, audit, ks_distance
from atts_harness.analysis.audit.caveats import caveats_of
from atts_harness.analysis.audit.signal import signal_quality
from atts_harness.analysis.audit.tables import render
from atts_harness.analysis.audit.turns import AuditedTurn, turns_of
from atts_harness.records import (
    RunRecord,
    SampleId,
)

from .conftest import sample_of


def decided(doc, repeat, turn, *, p=0.5, takeover=None, s=1.0, task="t", reason="p-value"):
    return AuditedTurn(
        sample=SampleId(task, doc, repeat),
        turn=turn,
        takeover=(p is not None and p <= 0.4) if takeover is None else takeover,
        reason=reason,
        score=s,
        p_value=p,
        threshold=0.4,
    )


def test_effects_of_takeovers_on_the_answer():
    sample = sample_of(
        [
            ("We think. ", True, "Go on. "),
            ("Still. ", True, ""),
            ("So </think>", False, ""),
            ("It is ", True, r"\boxed{4}. "),
            (r"Or \boxed{5}", True, r", no: \boxed{6}. "),
            (r"Thus \boxed{7}", True, " for sure. "),
            (r"Thus \boxed{ 7}", True, r" that is \boxed{7 }. "),
            (r"Thus \boxed{7}", True, ""),
        ]
    )
    turns = list(turns_of([sample]))
    assert [turn.effect for turn in turns] == [
        "open",
        "empty",
        None,
        "supplied",
        "changed",
        "kept",
        "kept",
        "empty",
    ]
    assert [turn.thinking for turn in turns] == [True] * 3 + [False] * 5
    assert [turn.answering for turn in turns] == [False] * 4 + [True] * 4
    effects = audit(turns, task="t").effects
    assert (effects.takeovers, effects.empty, effects.empty_after_answer) == (7, 2, 1)
    assert (effects.supplied, effects.changed, effects.kept, effects.open) == (1, 1, 2, 1)
    assert effects.new_answer.takeovers == 2
    assert (effects.answering, effects.answering_without_effect.takeovers) == (4, 3)


def test_a_draft_that_was_replaced_does_not_stand():
    sample = sample_of([(r"\boxed{1}", True, r"\boxed{2}")])
    sample.segments[0] = msgspec.structs.replace(sample.segments[0], kept=False)
    (turn,) = turns_of([sample])
    assert (turn.effect, turn.answering) == ("changed", True)


def test_rates_count_what_a_p_value_decided():
    turns = [decided(doc, 0, 0, p=p) for doc, p in enumerate((0.1, 0.2, 0.9, 0.8, 0.7))]
    turns += [decided(0, 0, 1, p=0.3), decided(1, 0, 1, p=0.6)]
    turns += [decided(2, 0, 1, p=None, takeover=True, s=None, reason="score-failed")]
    turns += [decided(9, 0, 0, p=0.1, task="another")]
    found = audit(turns, task="t", nominal=0.4)
    assert (found.samples, found.questions) == (5, 5)
    assert (found.overall.scored, found.overall.takeovers) == (7, 3)
    assert [(r.name, r.scored, r.takeovers, r.questions) for r in found.turns] == [
        ("turn 0", 5, 2, 5),
        ("turn 1", 2, 1, 2),
    ]
    assert found.turns[0].rate.value == 0.4
    assert found.turns[0].rate.low < 0.4 < found.turns[0].rate.high
    assert found.apart == {"score-failed": 1}
    assert found.thresholds == (0.4, pytest.approx(0.4), 0.4)
    assert found.problems.rates[0] == (0, 2, 1.0)
    assert found.phases == found.answering == ()


def test_decisions_depend_on_the_one_before_in_the_same_sample():
    pattern = {0: [1, 1, 1], 1: [0, 0, 1], 2: [1, 0]}
    turns = [
        decided(doc, 0, turn, takeover=bool(taken))
        for doc, decisions in pattern.items()
        for turn, taken in enumerate(decisions)
    ]
    found = audit(turns, task="t").dependence
    assert found.pairs == 5
    assert (found.after_takeover.scored, found.after_takeover.takeovers) == (3, 2)
    assert (found.after_none.scored, found.after_none.takeovers) == (2, 1)


def test_ks_is_the_largest_gap():
    import numpy as np
    from scipy import stats

    rng = np.random.default_rng(5)
    for values in (rng.random(50), rng.random(31) ** 2, np.full(4, 0.3), np.array([0.9])):
        assert ks_distance(values) == pytest.approx(stats.kstest(values, "uniform").statistic)


def test_uniform_p_values_look_uniform_and_others_do_not():
    rng = random.Random(1)
    turns = [
        decided(doc, repeat, turn, p=rng.random() if turn == 0 else rng.random() ** 3)
        for doc in range(100)
        for repeat in range(4)
        for turn in range(2)
    ]
    by_name = {row.name: row for row in audit(turns, task="t").uniformity}
    assert by_name["turn 0"].ks.value < by_name["turn 0"].independent
    assert by_name["turn 1"].ks.low > 5 * by_name["turn 1"].independent
    assert sum(by_name["turn 1"].bins) == pytest.approx(1.0)
    assert by_name["turn 1"].bins[0] == pytest.approx(0.1 ** (1 / 3), abs=0.06)


def test_bands_cover_the_rate_of_clustered_decisions():
    """95 % intervals over questions, 200 simulated runs; intervals over turns would cover half."""
    rng, covered = random.Random(7), 0
    for _ in range(200):
        turns = []
        for doc in range(40):
            level = rng.betavariate(0.6, 0.9)  # the mean is 0.4
            turns += [decided(doc, n, 0, takeover=rng.random() < level) for n in range(16)]
        rate = audit_rate(turns)
        covered += rate.low <= 0.4 <= rate.high
    assert 0.90 <= covered / 200 <= 0.99


def audit_rate(turns):
    from atts_harness.analysis.audit.audit import rate_of

    return rate_of("all", turns).rate


def by_pairs(rows):
    """AUC by looking at every pair of a wrong and a right sample."""
    pairs = [(w, r) for w, wrong, _ in rows if wrong for r, also, _ in rows if not also]
    return sum((w > r) + 0.5 * (w == r) for w, r in pairs) / len(pairs)


def test_auc_pooled_and_within_question():
    rng = random.Random(3)
    rows = []
    for doc in range(12):
        level = doc / 4
        rows += [(round(level + rng.random(), 1), rng.random() < level / 3, doc) for _ in range(8)]
    turns = [decided(doc, n, 0, s=s) for n, (s, _, doc) in enumerate(rows)]
    turns += [decided(doc, n, 1, s=2 * s + 1) for n, (s, _, doc) in enumerate(rows)]
    right = {SampleId("t", doc, n): not wrong for n, (_, wrong, doc) in enumerate(rows)}
    first, mean, last = signal_quality(turns, right)
    assert (first.score, mean.score, last.score) == ("turn 0", "mean", "last")
    assert first.pooled == mean.pooled == last.pooled == pytest.approx(by_pairs(rows))
    assert first.pooled_low < first.pooled < first.pooled_high
    parts = [[row for row in rows if row[2] == doc] for doc in range(12)]
    mixed = [part for part in parts if len({wrong for _, wrong, _ in part}) == 2]
    weights = [sum(w for _, w, _ in p) * sum(not w for _, w, _ in p) for p in mixed]
    expected = sum(w * by_pairs(p) for w, p in zip(weights, mixed, strict=True)) / sum(weights)
    assert first.within == pytest.approx(expected)
    assert first.mixed_questions == len(mixed)
    assert first.pooled > first.within + 0.1  # a score of difficulty, not of the sample


def test_signal_without_wrong_answers_is_no_number():
    turns = [decided(doc, 0, 0, s=float(doc)) for doc in range(4)]
    (first, *_) = signal_quality(turns, {turn.sample: True for turn in turns})
    assert (first.pooled, first.within, first.wrong, first.right) == (None, None, 0, 4)
    assert signal_quality(turns, {}) == ()


def test_audit_is_plain_data_and_renders():
    turns = [
        decided(doc, n, t, p=(doc + n + t) / 30)
        for doc in range(8)
        for n in range(4)
        for t in range(9)
    ]
    right = {turn.sample: turn.sample.repeat > 1 for turn in turns}
    found = audit(turns, task="t", nominal=0.4, right=right)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Audit) == found
    from rich.console import Console

    console = Console(width=80)
    with console.capture() as captured:
        console.print(render(found))
    text = captured.get()
    assert "nominal rate 0.4" in text
    assert "turns 5–9" in text
    assert max(map(len, text.splitlines())) <= 80


def test_decisions_that_are_all_alike_are_not_certain():
    rate = audit([decided(doc, 0, 0, p=0.9) for doc in range(5)], task="t").overall.rate
    assert (rate.value, rate.low) == (0.0, 0.0)
    assert rate.high > 0.5


def test_the_rate_of_questions_stands_beside_that_of_turns():
    turns = [decided(0, 0, n, p=0.1, takeover=True) for n in range(9)]
    turns += [decided(doc, 0, 0, p=0.9) for doc in (1, 2)]
    overall = audit(turns, task="t").overall
    assert overall.rate.value == pytest.approx(9 / 11)
    assert overall.by_question.value == pytest.approx(1 / 3)
    assert overall.by_question.low < 1 / 3 < overall.by_question.high


def run_record(**options):
    return RunRecord(tasks={"t": {"options": options}})


def test_a_bank_that_was_filled_online_is_named():
    turns = [decided(0, 0, 0, p=0.1)]
    (note,) = caveats_of(run_record(calibration="online"), "t", turns)
    assert "exchangeable order" in note
    assert caveats_of(run_record(calibration="auto"), "t", turns)
    assert not caveats_of(run_record(calibration="file", bank="b.json"), "t", turns)
    assert not caveats_of(run_record(calibration="auto", bank="b.json"), "t", turns)


def test_a_budget_that_ties_kept_from_being_exact_is_named():
    options = {"calibration": "presample", "coverage": "conditional", "budget": "2/4"}
    exact = [decided(0, r, 0, p=0.1, takeover=r < 2, s=float(r)) for r in range(4)]
    short = [decided(1, r, 0, p=0.1, takeover=r < 1, s=1.0) for r in range(4)]
    (note,) = caveats_of(run_record(**options), "t", [*exact, *short])
    assert "1 of 2 questions with 4 scored first drafts gave exactly 2" in note
    assert "1 did not, 1 of these with tied scores (ties=conservative)" in note


def test_audit_of_one_question_has_no_interval():
    found = audit([decided(0, n, 0, p=n / 10) for n in range(10)], task="t", nominal=0.4)
    assert found.overall.rate.low is None
    assert render(found)


@pytest.mark.parametrize("turns", [[0, 2], [0], [1, 3, 4], [2, 5]])
def test_no_row_of_the_audit_is_swallowed(turns):
    """The first two groups were left out unread, whatever they held."""
    decided = [
        AuditedTurn(SampleId("t", doc, 0), turn, doc % 2 == 0, "p-value", 1.0, 0.5, 0.3)
        for doc in range(4)
        for turn in turns
    ]
    found = audit(decided, task="t")
    with io.StringIO() as out:
        Console(file=out, width=120).print(render(found))
        shown = out.getvalue()
    for rate in (*found.turns, *found.groups, *found.phases, *found.answering):
        assert rate.name in shown
