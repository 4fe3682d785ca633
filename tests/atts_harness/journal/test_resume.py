"""Run directories: continuing, refusing, starting afresh, and surviving what can happen."""

import asyncio
import dataclasses
import json

import msgspec
import pytest
import typer.testing

from atts_harness.atts import ATTS
from atts_harness.backend import Sampling
from atts_harness.cli import build_app
from atts_harness.errors import JournalMismatchError, RunDirError
from atts_harness.journal.reader import open_run
from atts_harness.ledger.recorded import ledger_of, sample_rows
from atts_harness.records import SampleId
from atts_harness.strategy import Group, Sample
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_faults import FaultPlan
from atts_harness.testing.mock_runs import MockTurns, make_groups, sample_ids

from .conftest import OPTIONS, RECORD, banked, results, run_in


class Dies(MockTurns):
    """Raises after so many samples have begun."""

    def __init__(self, options, after):
        super().__init__(options)
        self.left = after

    async def run(self, sample, ctx):
        self.left -= 1
        outcome = await super().run(sample, ctx)
        if self.left < 0:
            await asyncio.sleep(0.05)
            raise RuntimeError("power cut")
        return outcome


class Changed(MockTurns):
    """Does something else than its options say, as a changed program would."""

    def __init__(self, options, changes):
        super().__init__(options)
        self.changes = changes

    async def run(self, sample, ctx):
        self.options = msgspec.structs.replace(self.options, **self.changes)
        return await super().run(sample, ctx)


def test_a_finished_run_is_not_done_again(tmp_path):
    first, _ = run_in(tmp_path)
    again, engine = run_in(tmp_path)
    assert engine.log == []
    assert msgspec.to_builtins(again) == msgspec.to_builtins(first)


@pytest.mark.parametrize("share", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, share):
    options = msgspec.structs.replace(OPTIONS, share=share)
    whole, reference = run_in(tmp_path / "whole", make_groups(4, 3, MockTurns(options)))
    with pytest.raises(RuntimeError, match="power cut"):
        run_in(tmp_path / "cut", make_groups(4, 3, Dies(options, 7)))
    before = open_run(tmp_path / "cut")
    done = {call.key for call in before.calls()}
    assert done
    before.close()
    resumed, engine = run_in(tmp_path / "cut", make_groups(4, 3, MockTurns(options)))
    assert results(resumed) == results(whole)
    assert len(engine.log) == len(reference.log) - len(done)
    with open_run(tmp_path / "cut") as run:
        assert run.complete
        assert len({call.key for call in run.calls()}) == len(reference.log)
        assert [session.state for session in run.sessions()] == ["failed", "finished"]


def test_time_goes_on_where_it_stopped(tmp_path):
    with pytest.raises(RuntimeError):
        run_in(tmp_path, make_groups(4, 3, Dies(OPTIONS, 7)))
    with open_run(tmp_path) as run:
        elapsed = max(call.done for call in run.calls())
    run_in(tmp_path)
    with open_run(tmp_path) as run:
        later = [session.elapsed for session in run.sessions()]
        assert later[0] == 0.0
        assert later[1] >= elapsed
        assert max(sample.ended for sample in run.samples()) >= elapsed


def test_more_documents_can_be_added_to_a_run(tmp_path):
    run_in(tmp_path, make_groups(2, 3, MockTurns(OPTIONS)))
    records, _ = run_in(tmp_path, make_groups(3, 3, MockTurns(OPTIONS)))
    assert len(records) == 9
    fresh, _ = run_in(tmp_path / "fresh", make_groups(3, 3, MockTurns(OPTIONS)))
    assert results(records) == results(fresh)
    with open_run(tmp_path) as run:
        assert len(run.planned()) == 9
        assert run.complete


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": {"seed": 7, "retries": 5}}, "settings.seed was 1234, now 7"),
        ({"roles": {"draft": {"model": "other"}}}, "models.draft.model was 'd', now 'other'"),
        ({"strategy": "other"}, "strategy was 'mock-turns', now 'other'"),
        ({"options": {"rate": 0.2}}, "options.rate was None, now 0.2"),
        ({"replies": 2}, "version of replies was 1, now 2"),
    ],
)
def test_a_run_of_something_else_is_refused_and_the_difference_named(tmp_path, changed, named):
    run_in(tmp_path)
    with pytest.raises(JournalMismatchError) as caught:
        run_in(tmp_path, record=msgspec.structs.replace(RECORD, **changed))
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    again, engine = run_in(tmp_path)  # nothing was harmed
    assert engine.log == []
    assert len(again) == 12


def test_how_fast_and_how_patiently_a_run_goes_may_change(tmp_path):
    run_in(tmp_path)
    other = {"seed": 1234, "retries": 0, "draft_concurrency": 3, "run_dir": "elsewhere"}
    _, engine = run_in(tmp_path, record=msgspec.structs.replace(RECORD, settings=other))
    assert engine.log == []


def test_a_changed_task_is_refused_and_the_difference_named(tmp_path):
    def record(**task):
        return msgspec.structs.replace(RECORD, tasks={"mock": {"problems": 4, **task}})

    run_in(tmp_path, record=record(max_tokens=100))
    with pytest.raises(JournalMismatchError, match="task mock: max_tokens was 100, now 50"):
        run_in(tmp_path, record=record(max_tokens=50))


def test_a_changed_prompt_is_refused(tmp_path):
    run_in(tmp_path, make_groups(2, 1, MockTurns(OPTIONS)))
    changed = make_groups(2, 1, MockTurns(OPTIONS))
    object.__setattr__(changed[1].problem, "prompt_hash", "another")
    with pytest.raises(JournalMismatchError, match="mock, document 1: the prompt differs"):
        run_in(tmp_path, changed)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"draft_tokens": 11}, r"in: max_tokens \(12 then, 11 now\)"),
        ({}, "in: context"),
    ],
)
def test_a_request_that_differs_from_the_recorded_one_is_refused(tmp_path, options, named):
    with pytest.raises(RuntimeError):
        run_in(tmp_path, make_groups(1, 2, Dies(OPTIONS, 0)))
    other = Changed(OPTIONS, options)
    prompt = "Question {doc}?" if options else "Another question?"
    groups = make_groups(1, 2, other)
    if not options:
        groups = make_groups(1, 2, other, prompt=prompt)
    with pytest.raises(JournalMismatchError, match=named):
        run_in(tmp_path, groups)


def test_resume_false_starts_afresh_and_keeps_the_old_journal(tmp_path):
    run_in(tmp_path)
    other = msgspec.structs.replace(RECORD, settings={"seed": 7})
    _, engine = run_in(tmp_path, record=other, resume=False)
    assert engine.log
    assert (tmp_path / "journal-1.sqlite3").exists()
    _, engine = run_in(tmp_path, record=other)
    assert engine.log == []


def test_failed_samples_stay_failed_unless_they_are_to_be_tried_again(tmp_path):
    broken = MockEngine(faults=FaultPlan({"truncated": 0.5}, seed=3))
    records, _ = run_in(tmp_path, engine=broken, retries=0)
    failed = [record.id for record in records if record.failed]
    assert 0 < len(failed) < 12
    again, engine = run_in(tmp_path)
    assert engine.log == []
    assert [record.id for record in again if record.failed] == failed
    with open_run(tmp_path) as run:
        assert run.failed() == failed
    fixed, engine = run_in(tmp_path, retry_failed=True)
    assert engine.log
    assert not any(record.failed for record in fixed)


def test_an_incomplete_run_says_what_is_missing_and_how_to_go_on(tmp_path):
    with pytest.raises(RuntimeError):
        run_in(tmp_path, make_groups(4, 3, Dies(OPTIONS, 7)))
    with open_run(tmp_path) as run:
        missing = run.missing()
        assert missing
        assert not run.complete
        assert set(missing) | {s.id for s in run.samples()} == set(sample_ids(make_groups(4, 3)))
        first = missing[0]
        with pytest.raises(RunDirError) as caught:
            run.require_complete()
    text = str(caught.value)
    assert f"{len(missing)} of 12 samples are missing" in text
    assert f"{first.task}/{first.doc}/{first.repeat}" in text
    assert "to continue: run it" in text


def test_the_ledger_command_writes_a_line_a_call_and_a_line_a_sample(tmp_path, capsys):
    run_in(tmp_path)
    app = build_app()
    paths = tmp_path / "calls.jsonl", tmp_path / "samples.jsonl"
    given = [
        "ledger",
        str(tmp_path),
        "--calls-file",
        str(paths[0]),
        "--samples-file",
        str(paths[1]),
    ]
    shown = typer.testing.CliRunner().invoke(app, given)
    assert shown.exit_code == 0, shown.output
    assert "12 samples finished, 0 failed, 0 missing" in shown.output
    calls, samples = ([json.loads(line) for line in p.read_text().splitlines()] for p in paths)
    with open_run(tmp_path) as run:
        assert len(calls) == len(list(run.calls()))
        kept = sum(sum(sample.kept_tokens.values()) for sample in run.samples())
        ledger = ledger_of(run).summary()
        one = next(run.calls(SampleId("mock", 2, 1)))
    assert sum(row["kept_tokens"] for row in calls) == kept > 0
    assert sum(row["kept_tokens"] for row in samples) == kept
    assert sum(row["computed_tokens"] for row in samples) == sum(
        row["computed_tokens"] for row in calls
    )
    assert sum(account["kept_tokens"] for account in ledger["calls"].values()) == kept
    assert ledger["samples"]["finished"] == len(samples) == 12
    assert one.key.sample == SampleId("mock", 2, 1)
    plain = typer.testing.CliRunner().invoke(app, ["ledger", str(tmp_path), "--json"])
    assert json.loads(plain.output) == ledger
    table = (
        typer.testing.CliRunner().invoke(app, ["ledger", str(tmp_path)], terminal_width=80).output
    )
    assert "draft/draft" in table
    assert f"{ledger['calls']['draft/draft']['discarded_tokens']:,}" in table
    assert "…" not in table


def test_a_failed_samples_line_tells_its_error_and_how_many_calls_failed(tmp_path):
    run_in(tmp_path, engine=MockEngine(faults=FaultPlan({"truncated": 0.5}, seed=3)), retries=0)
    with open_run(tmp_path) as run:
        rows = list(sample_rows(run))
    failed = [row for row in rows if row["failed"] is not None]
    assert 0 < len(failed) < 12
    for row in failed:
        assert row["finish"] == "failed"
        assert row["failed"].startswith("MalformedReplyError: ")
        assert row["failed_calls"] >= 1


@pytest.mark.parametrize("control", ["fixed", "adaptive"])
def test_banks_and_controllers_come_back_as_they_were(tmp_path, control):
    class Cut(ATTS):
        left = 9

        async def run(self, sample, ctx):
            outcome = await super().run(sample, ctx)
            Cut.left -= 1
            if Cut.left < 0:
                await asyncio.sleep(0.05)
                raise RuntimeError("power cut")
            return outcome

    def strategy(kind):
        made = banked(calibration="online", control=control)
        made.__class__ = kind
        return made

    with pytest.raises(RuntimeError):
        run_in(tmp_path, make_groups(6, 4, strategy(Cut)), live_samples=4)
    with open_run(tmp_path) as run:
        before = list(run.decisions())
    records, _ = run_in(tmp_path, make_groups(6, 4, strategy(ATTS)))
    with open_run(tmp_path) as run:
        after = list(run.decisions())
    assert after[: len(before)] == before
    assert 10 < len(before) < len(after)
    # Every decision is what one policy that saw them all, in this order, would have said.
    policy = banked(calibration="online", control=control).policy
    for made in after:
        again = policy.decide(made.nonconformity, made.sample, made.turn, made.uniform)
        assert (again.takeover, again.p_value, again.threshold, again.bank_size) == (
            made.takeover,
            made.p_value,
            made.threshold,
            made.bank_size,
        )
    assert len(records) == 24


def changed_problem(**changes):
    groups = make_groups(3, 2, MockTurns(OPTIONS))
    last = groups[-1]
    problem = dataclasses.replace(last.problem, **changes)
    samples = tuple(Sample(s.id, problem) for s in last.samples)
    return [*groups[:-1], Group(problem, samples, last.strategy)]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_tokens": 99}, "the budget was 65536 tokens, now 99"),
        ({"until": ("stop",)}, "until differ from what was recorded"),
        ({"sampling": {"draft": Sampling(temperature=0.1)}}, "sampling differ"),
        ({"prompt_hash": "another"}, "the prompt differs"),
    ],
)
def test_what_one_problem_alone_is_asked_for_is_compared(tmp_path, changes, named):
    run_in(tmp_path, make_groups(3, 2, MockTurns(OPTIONS)))
    with pytest.raises(JournalMismatchError, match=f"mock, document 2: {named}"):
        run_in(tmp_path, changed_problem(**changes))
    _, engine = run_in(tmp_path, make_groups(3, 2, MockTurns(OPTIONS)))
    assert engine.log == []


def test_options_of_one_problem_are_compared(tmp_path):
    run_in(tmp_path, make_groups(3, 2, MockTurns(OPTIONS)))
    groups = make_groups(3, 2, MockTurns(OPTIONS))
    other = MockTurns(msgspec.structs.replace(OPTIONS, turns=2))
    groups[1] = dataclasses.replace(groups[1], strategy=other)
    with pytest.raises(JournalMismatchError, match="document 1: strategy and options differ"):
        run_in(tmp_path, groups)
