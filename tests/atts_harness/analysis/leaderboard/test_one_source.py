"""A row is of one run and one set of samples: nothing is put together, dropped or invented."""

import json
import shutil

import pytest

from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.journal.reader import open_run
from atts_harness.results.golds import PROMPTS

from .conftest import always, board, edit, rewrite, rows_of

DATE = "2026-01-02T03-04-05.000000"

LATER = "2026-01-03T03-04-05.000000"


def limit_to(folder, problems, statistics=True):
    """Results as `--limit` writes them of a run directory that holds more."""
    log = next(folder.glob("samples_*.jsonl"))
    rewrite(log, rows_of(log)[:problems])
    edit(folder, lambda told: told["n-samples"]["t"].update(effective=problems))


def finish(folder, samples):
    """Let a further session of the run have finished, with so many samples asked for."""
    with open_run(folder) as run:
        record, ids = run.record, list(run.planned())[:samples]
    record.tasks["t"]["samples"] = samples
    directory = RunDirectory(folder)
    directory.journal(record, {id_: Planned(f"prompt {id_.doc}") for id_ in ids}).close()
    directory.ended("finished", {})
    directory.close()


def test_costs_are_of_the_problems_that_the_accuracy_is_of(make_run):
    whole = board(make_run("target-only", always, name="all", problems=3)).rows[0]
    folder = make_run("target-only", always, problems=12)
    limit_to(folder, 3)
    (row,) = board(folder).rows
    assert (row.problems, row.samples) == (3, 12)
    assert row.calls["target/takeover"].calls == 12
    assert row.speed.makespan == whole.speed.makespan
    assert "36 more samples of this task" in " ".join(row.notes)


def test_without_a_log_costs_are_the_results_own(make_run):
    folder = make_run("target-only", problems=12, log=False)
    small = make_run("target-only", name="small", problems=3, log=False, journal=False)
    told = json.loads(next(small.glob("results_*.json")).read_text())

    def fewer(results):
        results["n-samples"] = told["n-samples"]
        results["config"]["atts"]["statistics"] = told["config"]["atts"]["statistics"]

    edit(folder, fewer)
    (row,) = board(folder).rows
    assert row.samples == row.calls["target/takeover"].calls == 12
    assert "costs are of the results alone" in " ".join(row.notes)


def test_another_runs_samples_are_not_put_beside_a_run(make_run):
    folder = make_run("target-only", problems=3)
    other = make_run("target-only", name="other", problems=6)
    shutil.copy(next(other.glob("samples_*")), next(folder.glob("samples_*")))
    edit(folder, lambda told: told["n-samples"]["t"].update(effective=6))
    (refusal,) = board(folder).refused
    assert "they are of another run" in refusal.reason


@pytest.mark.parametrize("journal", [True, False])
def test_a_log_that_was_cut_is_refused_and_by_force_counts_as_wrong(make_run, journal):
    folder = make_run("target-only", always, problems=6, journal=journal)
    log = next(folder.glob("samples_*.jsonl"))
    rewrite(log, rows_of(log)[:4])
    (refusal,) = board(folder).refused
    assert "holds 16 of 24 samples that the results count" in refusal.reason
    found = board(folder, force=True)
    (row,) = found.rows
    assert (row.problems, row.samples, row.missing) == (6, 24, 8)
    assert row.pass_1.value == pytest.approx(4 / 6)
    assert "8 of 24 samples are missing" in " ".join(found.tables[0].marks[row.id])


def test_a_repeat_that_is_not_in_the_log_is_missed(make_run):
    folder = make_run("target-only", always)
    log = next(folder.glob("samples_*.jsonl"))
    rows = rows_of(log)
    rows[2]["resps"][0].pop()
    rows[2]["graded"].pop()
    rewrite(log, rows)
    assert "holds 23 of 24 samples" in board(folder).refused[0].reason
    (row,) = board(folder, force=True).rows
    assert (row.samples, row.missing) == (24, 1)
    assert row.pass_1.value == pytest.approx(23 / 24)
    assert row.maj_at == {}  # a vote of three is not a vote of four


def test_a_document_that_is_there_twice_is_refused(make_run):
    folder = make_run("target-only", always)
    log = next(folder.glob("samples_*.jsonl"))
    rows = rows_of(log)
    rewrite(log, [*rows, rows[0]])
    assert "document 0 is there twice" in board(folder).refused[0].reason


def test_a_filter_that_lost_documents_is_refused(make_run):
    folder = make_run("target-only", always)
    log = next(folder.glob("samples_*.jsonl"))
    rows = rows_of(log)
    rewrite(log, [*rows, *({**row, "filter": "strict"} for row in rows[:-1])])
    assert "6 documents under filter none and 5 under strict: the log was cut" in (
        board(folder).refused[0].reason
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(system_instruction="Think."),
        lambda told: told.update(chat_template="{{x}}"),
        lambda told: told.update({"n-shot": {"t": 5}}),
        lambda told: told["configs"]["t"].update(num_fewshot=5),
        lambda told: told["config"].update(gen_kwargs={"temperature": 1}),
        lambda told: told["config"].update(random_seed=7),
        lambda told: told.update(fewshot_as_multiturn=True),
    ],
    ids=["system", "template", "shots", "few-shot", "gen_kwargs", "seed", "multiturn"],
)
def test_runs_that_differ_are_never_one(make_run, change):
    """An ablation in the same folder lost the row that it was to be held against."""
    folder = make_run("target-only", always, journal=False)
    edit(folder, lambda told: told["config"].pop("atts"))
    for file in list(folder.iterdir()):
        shutil.copy(file, file.with_name(file.name.replace(DATE, LATER)))
    later = folder / f"results_{LATER}.json"
    told = json.loads(later.read_text())
    change(told)
    later.write_text(json.dumps(told))
    found = board(folder)
    assert {row.source.results.rpartition("_")[2] for row in found.rows} == {
        f"{DATE}.json",
        f"{LATER}.json",
    }


def test_a_smoke_test_replaces_no_documents(make_run):
    folder = make_run("target-only", always, journal=False, problems=50)
    edit(folder, lambda told: told["config"].pop("atts"))
    for file in list(folder.iterdir()):
        shutil.copy(file, file.with_name(file.name.replace(DATE, LATER)))
    later = folder / f"samples_t_{LATER}.jsonl"
    rewrite(later, rows_of(later)[:2])
    told = json.loads((folder / f"results_{LATER}.json").read_text())
    told["n-samples"]["t"]["effective"] = 2
    told["config"]["limit"] = 2
    (folder / f"results_{LATER}.json").write_text(json.dumps(told))
    found = board(folder)
    assert sorted(row.problems for row in found.rows) == [2, 50]
    assert len(found.tables) == 2


def test_of_a_run_that_went_on_with_more_documents_the_larger_results_count(make_run):
    folder = make_run("target-only", always, problems=12)
    for file in folder.glob(f"*_{DATE}.*"):
        shutil.copy(file, file.with_name(file.name.replace(DATE, LATER)))
    limit_to(folder, 3)  # the older of the two, as glob finds them first
    found = board(folder)
    (row,) = found.rows
    assert row.problems == 12
    assert "results of 3 of its problems" in " ".join(row.notes)


def test_a_run_that_went_on_with_fewer_documents_can_be_reported(make_run):
    lost = [(d, r) for d in range(3, 6) for r in range(4) if (d, r) != (3, 0)]
    folder = make_run("target-only", always, missing=lost, results=False, log=False)

    def documents(task):
        return [{"prompt": "?", "answer": str(n), PROMPTS: [f"prompt {n}"]} for n in range(6)]

    (refusal,) = board(folder, documents=documents).refused
    assert "incomplete: 11 of 24 samples are missing" in refusal.reason
    finish(folder, samples=12)
    (row,) = board(folder, documents=documents).rows
    assert (row.problems, row.samples, row.missing) == (3, 12, 0)
    assert row.pass_1.value == 1.0
    assert row.calls["target/takeover"].calls == 12
    assert "3 problems that an earlier session asked for" in " ".join(row.notes)


def test_a_run_that_was_cut_short_again_is_still_unfinished(make_run):
    lost = [(d, r) for d in range(2, 6) for r in range(4)]
    folder = make_run("target-only", always, missing=lost, results=False, log=False)
    finish(folder, samples=12)  # of which four are not there
    (refusal,) = board(folder).refused
    assert "incomplete: 16 of 24" in refusal.reason


def test_force_marks_an_unfinished_run(make_run):
    folder = make_run("target-only", always, missing=[(0, 1)])
    make_run("draft-only", name="whole")
    found = board(folder.parent, force=True)
    (table,) = found.tables
    marked = {found.row(id_).strategy: words for id_, words in table.marks.items()}
    words = "not finished: 1 of 24 samples are missing and count as wrong"
    assert marked == {"target-only": (words,), "oracle": (f"made of target-only: {words}",)}


def test_missing_samples_count_where_nothing_is_known_of_their_question(make_run):
    lost = [(5, r) for r in range(4)]
    folder = make_run("target-only", always, missing=lost)
    log = next(folder.glob("samples_*.jsonl"))
    rewrite(log, rows_of(log)[:5])
    (row,) = board(folder, force=True).rows
    assert (row.problems, row.samples, row.missing) == (6, 24, 4)
    assert row.pass_1.value == pytest.approx(5 / 6)


def test_an_unfinished_run_without_a_log_has_no_accuracy(make_run):
    folder = make_run("target-only", missing=[(0, 0)], log=False)
    (row,) = board(folder, force=True).rows
    assert row.pass_1 is None
    assert row.missing == 1


def test_another_try_of_a_run_with_other_concurrency_is_the_same_run(make_run):
    folder = make_run("target-only", always)
    for file in folder.glob(f"*_{DATE}.*"):
        shutil.copy(file, file.with_name(file.name.replace(DATE, LATER)))
    later = folder / f"results_{LATER}.json"
    told = json.loads(later.read_text())
    told["config"]["model_args"] = {"retry_failed": True, "draft_concurrency": 4}
    later.write_text(json.dumps(told))
    (row,) = board(folder).rows
    assert row.source.results.endswith(f"{LATER}.json")
    assert "1 older results of the same run left out" in row.notes


def test_results_of_other_documents_of_one_run_are_rows_of_their_own(make_run):
    """As `--samples` makes them: as many, and others."""
    folder = make_run("target-only", always, problems=6)
    for file in folder.glob(f"*_{DATE}.*"):
        shutil.copy(file, file.with_name(file.name.replace(DATE, LATER)))
    for date, docs in ((DATE, (0, 1)), (LATER, (2, 3))):
        log = folder / f"samples_t_{date}.jsonl"
        rewrite(log, [row for row in rows_of(log) if row["doc_id"] in docs])
        file = folder / f"results_{date}.json"
        told = json.loads(file.read_text())
        told["n-samples"]["t"]["effective"] = 2
        file.write_text(json.dumps(told))
    assert [row.problems for row in board(folder).rows] == [2, 2]
