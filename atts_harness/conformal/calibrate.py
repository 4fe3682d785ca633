"""Banks from runs: every scored turn of a finished run is a calibration score of its turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from atts_harness import neutral
from atts_harness.conformal.bank import Bank, bank_of
from atts_harness.conformal.provenance import Provenance, of_run
from atts_harness.conformal.pvalues import scores_needed
from atts_harness.errors import SettingError
from atts_harness.records import DecisionRecord

if TYPE_CHECKING:
    from atts_harness.journal.reader import RecordedRun

logger = neutral.logger("atts_harness.conformal")


class TurnRow(msgspec.Struct, frozen=True, kw_only=True):
    """Summary of a bank's scores of one turn.

    Attributes:
        turn: counted from 0.
        scores: n.
        questions: Q, from which they come.
        least_rate: the smallest rate at which a rank alone can mean takeover: 1 / (n + 1).
    """

    turn: int
    scores: int
    questions: int
    least_rate: float


def bank_from_decisions(
    decisions: Iterable[DecisionRecord],
    *,
    task: str,
    provenance: Provenance | None = None,
    turns: int | None = None,
    **about: Any,
) -> Bank:
    """A bank of the scores that decisions were made on.

    Turns without a score (a failed one, an empty draft) are left out: they never become numbers.

    Args:
        decisions: of a run, in any order.
        task: only its decisions are taken.
        provenance: what the scores depend on.
        turns: take the first so many turns; None: all.
        about: further fields of the bank, see `Bank`.

    Raises:
        SettingError: there are no scores of the task.
    """
    mine = [d for d in decisions if d.sample.task == task and (turns is None or d.turn < turns)]
    rows = [(d.sample.doc, d.turn, d.nonconformity) for d in mine if d.nonconformity is not None]
    if not rows:
        problem = (
            "its turns were decided without scores" if mine else "it has no turns of this task"
        )
        raise SettingError(f"no scores of task {task} in the run: {problem}")
    without = Counter(d.reason for d in mine if d.nonconformity is None)
    if without:
        named = ", ".join(f"{count} {reason}" for reason, count in sorted(without.items()))
        logger.warning("%d turns have no score and are left out (%s)", without.total(), named)
    return bank_of(rows, provenance=provenance, **about)


def bank_from_run(
    path: Path | str,
    task: str | None = None,
    *,
    turns: int | None = None,
    evaluation_questions: bool = True,
    split: str | None = None,
    partial: bool = False,
) -> Bank:
    """A bank from a run directory.

    Args:
        path: the run directory.
        task: which of its tasks; None where it has one.
        turns: take the first so many turns; None: all.
        evaluation_questions: the run's documents are those of the evaluation.
        split: where they are from, in words.
        partial: take an unfinished run, though samples that end early are more frequent in it.

    Raises:
        SettingError: no such task, or no scores.
        RunDirError: no run there, or an unfinished one.
    """
    from atts_harness.journal.reader import nominal_rate, open_run

    with open_run(path) as run:
        if not partial:
            run.require_complete()
        task = _task_of(run, task)
        entry = run.record.tasks.get(task, {})
        return bank_from_decisions(
            run.decisions(),
            task=task,
            provenance=of_run(entry.get("provenance", {}), task),
            turns=turns,
            rate=nominal_rate(run.record, task),
            split=split,
            evaluation_questions=evaluation_questions,
            origin=f"run of {run.record.strategy}, {run.record.started_at}",
        )


def _task_of(run: RecordedRun, task: str | None) -> str:
    tasks = sorted(run.record.tasks) or sorted({s.task for s in run.planned()})
    if task is None and len(tasks) == 1:
        return tasks[0]
    if task in tasks:
        return str(task)
    problem = f"no task {task!r} in it" if task else "it has several tasks, name one"
    raise SettingError(f"{run.path}: {problem}; there are: {', '.join(tasks)}")


def by_turn(bank: Bank) -> list[TurnRow]:
    """Summary of a bank's scores by turn, in order."""
    scores = Counter(bank.turns)
    questions: dict[int, set[int]] = {}
    for turn, question in zip(bank.turns, bank.questions, strict=True):
        questions.setdefault(turn, set()).add(question)
    return [
        TurnRow(
            turn=turn,
            scores=scores[turn],
            questions=len(questions[turn]),
            least_rate=1 / (scores[turn] + 1),
        )
        for turn in sorted(scores)
    ]


def too_small(rows: Sequence[TurnRow], rate: float) -> list[TurnRow]:
    """Turns whose bank is too small for a rate; they use an earlier turn's bank."""
    needed = scores_needed(rate)
    return [row for row in rows if row.scores < needed]
