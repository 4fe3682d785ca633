import gzip
import io
import json
import math
import os
import random
from pathlib import Path

import msgspec
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from atts_harness.analysis.audit.audit import Audit, audit, ks_distance
from atts_harness.analysis.audit.caveats import caveats_of
from atts_harness.analysis.audit.command import audit_command
from atts_harness.analysis.audit.loading import audit_path, grades_of_logs
from atts_harness.analysis.audit.published import grades_of, records_of
from atts_harness.analysis.audit.signal import signal_quality
from atts_harness.analysis.audit.tables import render
from atts_harness.analysis.audit.turns import AuditedTurn, turns_of, turns_of_decisions
from atts_harness.errors import RunDirError, SettingError
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.journal.reader import nominal_rate
from atts_harness.records import (
    DecisionRecord,
    RunRecord,
    SampleId,
    SampleRecord,
    SegmentRecord,
)

SHARED = Path(os.environ.get("ATTS_SHARED_DIR", Path(__file__).parents[5] / "shared"))
TRACES = SHARED / "data" / "traces" / "atts_math500_ct0.jsonl.gz"
needs_traces = pytest.mark.skipif(
    not TRACES.is_file(), reason=f"no published traces at {TRACES} (set ATTS_SHARED_DIR)"
)


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


def sample_of(turns, doc=0, repeat=0):
    """A sample from (draft, took over, what the target wrote) triples."""
    id_ = SampleId("t", doc, repeat)
    segments, decisions = [], []
    for turn, (draft, takeover, written) in enumerate(turns):
        for author, kind, text in (("draft", "draft", draft), ("target", "takeover", written)):
            if text:
                segments.append(
                    SegmentRecord(
                        author=author, text=text, tokens=1, turn=turn, kind=kind, ending="length"
                    )
                )
        decisions.append(
            DecisionRecord(
                sample=id_,
                turn=turn,
                takeover=takeover,
                reason="p-value",
                nonconformity=1.0,
                p_value=0.1 if takeover else 0.9,
                threshold=0.4,
            )
        )
    return SampleRecord(
        id=id_, strategy="atts", text="", finish="answer", segments=segments, decisions=decisions
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


# --- what can be audited


def run_dir(tmp_path, samples, unfinished=()):
    folder = RunDirectory(tmp_path / "run")
    record = RunRecord(strategy="atts", tasks={"t": {"options": {"rate": 0.3}}})
    plan = {sample.id: Planned("hash") for sample in [*samples, *unfinished]}
    journal = folder.journal(record, plan)
    import asyncio

    async def write():
        sequence = 0
        for sample in [*samples, *unfinished]:
            for decision in sample.decisions:
                sequence += 1
                journal.record_decision(msgspec.structs.replace(decision, sequence=sequence))
        for sample in samples:
            await journal.record_sample(sample)

    asyncio.run(write())
    journal.close()
    folder.close()
    return tmp_path / "run"


def test_an_unfinished_run_is_audited_by_force_only_and_marked(tmp_path):
    finished = [sample_of([("a", True, "b"), (r"\boxed{1}", False, "")], doc) for doc in range(5)]
    unfinished = [sample_of([("a", True, "")], 7)]
    path = run_dir(tmp_path, finished, unfinished)
    with pytest.raises(RunDirError, match="incomplete: 1 of 6 samples are missing"):
        audit_path(path)
    (found,) = audit_path(path, force=True)
    assert found.unfinished == "1 of 6 samples are missing"
    with io.StringIO() as out:
        Console(file=out, width=120).print(render(found))
        assert "NOT FINISHED: 1 of 6 samples are missing" in out.getvalue()
    assert (found.task, found.nominal) == ("t", 0.3)
    assert (found.overall.scored, found.overall.takeovers) == (11, 6)
    assert found.effects.takeovers == 5  # what an unfinished sample wrote is not recorded yet
    with pytest.raises(SettingError, match="no decisions of task 'x'; there are: t"):
        audit_path(path, task="x", force=True)


def test_runs_without_decisions_are_told(tmp_path):
    sample = sample_of([])
    with pytest.raises(SettingError, match="made no takeover decisions"):
        audit_path(run_dir(tmp_path, [sample]))


def test_nominal_rate_of_a_run():
    record = RunRecord(
        options={"rate": 0.2}, tasks={"a": {"options": {"rate": 0.4, "budget": "6/16"}}}
    )
    assert nominal_rate(record, "a") == 6 / 16
    assert nominal_rate(record, "b") == 0.2
    assert nominal_rate(RunRecord(options={"turns": 3}), "b") is None


def logged(number, doc, *right):
    """A line of a sample log of ours."""
    grades = [{"right": one, "answer": "1", "answers": {}} for one in right]
    document = {"doc_id": doc, "gold": "1"}
    return {"doc_id": number, "doc": document, "graded": grades, "resps": [["text"] * len(right)]}


def test_grades_come_from_sample_logs(tmp_path):
    log = tmp_path / "samples_atts_math500_2026-01-02T03-04-05.jsonl"
    rows = [
        logged(0, 40, True, False),
        logged(1, 41, False),
    ]
    log.write_text("\n".join(map(json.dumps, rows)))
    assert dict(grades_of_logs([log])) == {
        SampleId("atts_math500", 40, 0): True,
        SampleId("atts_math500", 40, 1): False,
        SampleId("atts_math500", 41, 0): False,
    }


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("results.jsonl", "{}", "neither an lm-eval sample log nor published traces"),
        ("samples_t_1.jsonl", "{", "line 1 is not JSON"),
        (
            "samples_t_1.jsonl",
            '{"doc_id": 0, "doc": {"q": "?"}, "target": "1", "resps": [["1"]]}',
            "has no `graded` field",
        ),
    ],
)
def test_logs_that_hold_no_grades(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(SettingError, match=message):
        list(grades_of_logs([path]))


PUBLISHED = {
    "question_index": 3,
    "repeat": 1,
    "gold": "5",
    "answer": "5.0",
    "turns": [
        {"turn": 0, "draft": "We </think>", "ppl": math.e, "percentile": 0.7, "target": "yes"},
        {"turn": 1, "draft": "", "unknown": 1},
    ],
}


def test_published_traces_are_records(tmp_path):
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(PUBLISHED) + "\n\n").encode()))
    (record,) = records_of(path)
    assert record.id == SampleId("published", 3, 1)
    assert record.text == "We </think>\n\nyes\n\n"
    (decision,) = record.decisions
    assert (decision.nonconformity, decision.takeover) == (1.0, True)
    assert (decision.p_value, decision.threshold) == (pytest.approx(0.3), 0.4)
    assert grades_of(path) == {record.id: True}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "line 1: not a published trace"),
        (b"\x1f\x8bnot gzip", "not a published trace"),
        (
            b'{"question_index": 0, "repeat": 0, "turns": [{"turn": 0, "draft": "", "ppl": 0.0}]}',
            "a perplexity without a percentile",
        ),
    ],
)
def test_files_that_are_no_traces(content, message, tmp_path):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=message):
        records_of(path)


def test_command(tmp_path):
    app = typer.Typer()
    app.callback()(lambda: None)
    audit_command(app)
    path = run_dir(tmp_path, [sample_of([("a", True, "b")], doc) for doc in range(3)])
    shown = CliRunner().invoke(app, ["audit", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "nominal rate 0.3" in shown.output
    (data,) = json.loads(CliRunner().invoke(app, ["audit", str(path), "--json"]).output)
    assert data["overall"]["takeovers"] == 3
    assert data["turns"][0]["name"] == "turn 0"


@needs_traces
def test_the_published_run():
    """Figures that were computed from the same files by other code."""
    found = audit(turns_of(records_of(TRACES)), task="published", nominal=0.4)
    rates = [round(row.rate.value, 2) for row in found.turns]
    assert rates == [
        0.40, 0.30, 0.39, 0.45, 0.48, 0.47, 0.48, 0.49, 0.47, 0.45, 0.41, 0.48, 0.56, 0.51, 0.61,
    ]  # fmt: skip
    assert round(found.overall.rate.value, 3) == 0.413
    assert [round(row.rate.value, 2) for row in found.phases] == [0.44, 0.18]
    assert [round(row.rate.value, 2) for row in found.answering] == [0.25, 0.45]
    ks = {row.name: round(row.ks.value, 2) for row in found.uniformity}
    assert (ks["turn 0"], ks["turn 1"]) == (0.03, 0.32)
    dependence = found.dependence
    assert round(dependence.after_takeover.rate.value, 2) == 0.61
    assert round(dependence.after_none.rate.value, 2) == 0.29
    assert (found.effects.takeovers, found.effects.empty) == (2507, 247)
    assert found.effects.empty_after_answer == 244
    assert (found.problems.never, found.problems.always) == (0.15, 0.14)
    assert len(list(turns_of_decisions([]))) == 0


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
