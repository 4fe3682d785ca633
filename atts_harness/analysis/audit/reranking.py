"""Checks whether a run's decisions are reproduced when its scores are ranked against a bank."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.conformal.bankfile import read_bank
from atts_harness.conformal.factory import make_policy
from atts_harness.conformal.options import CalibrationOptions, Coverage
from atts_harness.errors import AttsError, SettingError
from atts_harness.records import DecisionRecord, RunRecord
from atts_harness.results.published import RATE, read_traces, record_of


class Reranking(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a run's decisions were reproduced.

    Attributes:
        task: which task.
        bank: the bank's file.
        scored: decisions that were made by a score.
        same: of these, decisions that are reproduced.
        same_p_values: of these, p-values that equal the recorded ones, to the last bit.
        first: the first decision that differs, as "doc/repeat turn"; None if none does.
        size: scores of the bank.
    """

    task: str
    bank: str
    scored: int
    same: int
    same_p_values: int
    first: str | None
    size: int


def rerank(
    decisions: Iterable[DecisionRecord], options: Mapping[str, Any], bank: Path, task: str
) -> Reranking:
    """Rank recorded scores against a bank, by the run's own rule and rate, in the run's order.

    Args:
        decisions: of one task, in the order in which they were made.
        options: the strategy's, as recorded.
        bank: in any format that `bank=` takes, also a published array of perplexities.
        task: which task.

    Raises:
        SettingError: no decision has a score, the bank cannot be read, or it lacks what the rule
            needs.
    """
    content = read_bank(bank)
    policy = make_policy(_options(options, content.evaluation_questions), bank=content)
    scored = same = equal = 0
    first = None
    for decision in decisions:
        if (
            decision.nonconformity is None
            or decision.p_value is None
            or decision.sample.task != task
        ):
            continue
        scored += 1
        verdict = policy.decide(
            decision.nonconformity, decision.sample, decision.turn, decision.uniform
        )
        equal += verdict.p_value == decision.p_value
        if verdict.takeover == decision.takeover:
            same += 1
        elif first is None:
            first = f"{decision.sample.doc}/{decision.sample.repeat} turn {decision.turn}"
    if not scored:
        raise SettingError(f"--bank: {task} has no decision that was made by a score")
    return Reranking(
        task=task,
        bank=str(bank),
        scored=scored,
        same=same,
        same_p_values=equal,
        first=first,
        size=len(content),
    )


def rerank_path(path: Path, bank: Path, task: str | None = None) -> list[Reranking]:
    """As `rerank`, for every task of a run directory or for a published trace file.

    Raises:
        SettingError: as `rerank`.
        RunDirError: a run directory that cannot be read.
    """
    if path.is_file():
        decisions = _of_traces(path)
        options = {"rule": "reference", "rate": RATE}
        return [rerank(decisions, options, bank, "published")]
    from atts_harness.journal.reader import open_run

    with open_run(path) as run:
        names = [task] if task is not None else sorted({s.task for s in run.planned()})
        return [
            rerank(run.decisions(name), _recorded(run.record, name), bank, name) for name in names
        ]


def _of_traces(path: Path) -> Iterator[DecisionRecord]:
    for trace in read_traces(path):
        yield from record_of(trace, "published").decisions


def _recorded(record: RunRecord, task: str) -> Mapping[str, Any]:
    options = record.tasks.get(task, {}).get("options")
    return options if isinstance(options, dict) else record.options


def _options(recorded: Mapping[str, Any], own_questions: bool) -> CalibrationOptions:
    """Options of the policy: the recorded rule and rate, with scores from the bank.

    An imported run does not record the coverage of its bank; a published bank is for the
    whole task, or for each problem.
    """
    names = {field.name for field in msgspec.structs.fields(CalibrationOptions)}
    settings = {name: value for name, value in recorded.items() if name in names}
    if settings.get("rate", 0.0) is None:
        raise SettingError("--bank: the run records no rate, so its decisions cannot be repeated")
    coverage = Coverage.CONDITIONAL if own_questions else Coverage.MARGINAL
    settings = {"coverage": str(coverage), **settings, "bank": None, "calibration": "file"}
    try:
        options = msgspec.convert(settings, CalibrationOptions)
    except (msgspec.ValidationError, AttsError) as error:
        raise SettingError(f"--bank: the run's options cannot be used: {error}") from error
    return options
