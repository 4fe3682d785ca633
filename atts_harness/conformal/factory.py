"""Makes the takeover policy that settings describe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from atts_harness import neutral
from atts_harness.conformal import provenance as provenances
from atts_harness.conformal.bank import Bank, validated
from atts_harness.conformal.bankfile import read_bank
from atts_harness.conformal.banks import PooledBank, QuestionBank, RankingBank
from atts_harness.conformal.control import Adaptive, Fixed
from atts_harness.conformal.options import CalibrationOptions, Coverage
from atts_harness.conformal.policy import (
    ConformalPolicy,
    Rule,
    conservative_ties,
    random_ties,
    reference,
)
from atts_harness.conformal.pvalues import scores_needed
from atts_harness.conformal.sources import (
    BankSource,
    FileSource,
    FrozenBanks,
    OnlineSource,
    PresampleSource,
)
from atts_harness.errors import SettingError
from atts_harness.strategy import RunInfo

IN_MEMORY = "(in memory)"
logger = neutral.logger("atts_harness.conformal")


def make_policy(
    options: CalibrationOptions, run: RunInfo | None = None, bank: Bank | None = None
) -> ConformalPolicy:
    """The takeover policy that the options describe.

    A bank file is read and checked here if the run names its task, else when a task is first
    seen.

    Args:
        options: the settings.
        run: the run that a bank's provenance must agree with; None: it is not checked.
        bank: used instead of a file.

    Raises:
        SettingError: settings that exclude each other, a bank that cannot be used.
    """
    if bank is not None:
        options = msgspec.structs.replace(options, bank=IN_MEMORY)
    options.checked()
    rate = options.nominal
    if options.rule == "reference":
        rule: Rule = reference
        rate = 1.0 - round(1.0 - rate, 12)  # the complement of the percentile, as published
    else:
        rule = random_ties if options.ties == "random" else conservative_ties
    control = Fixed if options.controller == "fixed" else Adaptive
    return ConformalPolicy(_source(options, run or RunInfo(), bank), rule, partial(control, rate))


def _source(options: CalibrationOptions, run: RunInfo, bank: Bank | None) -> BankSource:
    new_bank = QuestionBank if options.pvalue == "hierarchical" else PooledBank
    match options.source:
        case "online":
            return OnlineSource(options.coverage, new_bank)
        case "presample":
            return PresampleSource(options.coverage, new_bank, scores_needed(options.nominal))
        case "file":
            load = partial(_load, options, run.provenance, bank)
            task = run.provenance.get("task")
            return FileSource(load, [] if task is None else [task])


def _load(
    options: CalibrationOptions, run: Mapping[str, Any], bank: Bank | None, task: str
) -> FrozenBanks:
    source = IN_MEMORY
    if bank is None:
        path = _find(Path(options.bank or ""), task)
        bank, source = read_bank(path), str(path)
    else:
        bank = validated(bank, source)
    if run:
        expected = provenances.of_run(run, task)
    else:  # nothing but the task is known, and so compared
        expected = provenances.Provenance(task=task, signal=bank.provenance.signal)
    first_only = not any(bank.turns)
    provenances.check(bank.provenance, expected, source, first_turns_only=first_only)
    if run and not provenances.says_more_than_task(bank.provenance):
        logger.warning("bank=%s has no provenance, so it cannot be checked", source)
    elif expected.wording is not None and bank.provenance.wording is None:
        logger.warning(
            "bank=%s does not say how its task worded its prompts (earlier releases did not note "
            "it): whether the template, description and few-shot examples are still the same is "
            "not checked; a bank made now with `atts calibrate` says so",
            source,
        )
    _check_coverage(bank, options, source)
    return freeze(bank, options, source)


def _check_coverage(bank: Bank, options: CalibrationOptions, source: str) -> None:
    by_turn = options.coverage.by_turn
    if by_turn and not any(bank.turns) and options.turns > 1:
        raise SettingError(
            f"bank={source} holds first drafts only, which says nothing about later turns: use "
            "calibration=online, a bank made by turn (`atts calibrate`), or coverage=marginal as "
            "published"
        )
    if options.coverage.by_problem and not bank.evaluation_questions:
        raise SettingError(
            f"bank={source} holds other questions than the evaluation's, so no problem can find "
            f"its own scores for coverage={options.coverage}: use coverage=turn, or "
            "calibration=presample"
        )
    if by_turn and bank.rate is not None and abs(bank.rate - options.nominal) > 1e-9:
        logger.warning(
            "bank=%s: its later turns went through takeovers at rate %g, this run's is %g; their "
            "scores may differ: see docs/guarantees.md",
            source,
            bank.rate,
            options.nominal,
        )


def _find(path: Path, task: str) -> Path:
    if not path.is_dir():
        return path
    candidates = sorted(p for p in path.iterdir() if p.suffix in (".json", ".npz"))
    matching, broken = [], []
    for candidate in candidates:
        try:
            if read_bank(candidate).provenance.task == task:
                matching.append(candidate)
        except SettingError as error:
            broken.append(candidate)
            logger.warning("left out: %s", error)
    if len(matching) == 1:
        return matching[0]
    names = ", ".join(p.name for p in matching or candidates) or "none"
    left_out = f"; not readable: {', '.join(p.name for p in broken)}" if broken else ""
    raise SettingError(
        f"bank={path}: {len(matching)} banks of task {task} in this folder (files: {names}"
        f"{left_out}); exactly one is needed"
    )


def freeze(bank: Bank, options: CalibrationOptions, source: str) -> FrozenBanks:
    """Banks to rank against, from the scores of a file.

    Args:
        bank: the file's content.
        options: coverage, kind of p-value and rate.
        source: the file, for warnings.
    """
    needed = scores_needed(options.nominal)
    rows: dict[str, dict[int, list[float]]] = {}
    turns: dict[int | None, set[int]] = {}
    conditional = options.coverage.by_problem
    for s, turn, question in zip(bank.nonconformities, bank.turns, bank.questions, strict=True):
        name = options.coverage.bank(question, turn)
        rows.setdefault(name, {}).setdefault(question, []).append(s)
        turns.setdefault(question if conditional else None, set()).add(turn)
    banks: dict[str, RankingBank] = {
        name: QuestionBank(by_question)
        if options.pvalue == "hierarchical"
        else PooledBank(s for scores in by_question.values() for s in scores)
        for name, by_question in rows.items()
    }
    sizes = {name: len(bank_of_name) for name, bank_of_name in banks.items()}
    _warn_if_small(sizes, needed, options, source)
    return FrozenBanks(options.coverage, banks, _own_banks(options.coverage, turns, sizes, needed))


def _own_banks(
    coverage: Coverage,
    turns: Mapping[int | None, set[int]],
    sizes: Mapping[str, int],
    needed: int,
) -> dict[int | None, list[int]]:
    """The turns whose bank is large enough to decide by itself; at least the first."""
    if not coverage.by_turn:
        return {}
    return {
        question: [
            turn
            for turn in sorted(turns_of_one)
            if turn == min(turns_of_one) or sizes[coverage.bank(question or 0, turn)] >= needed
        ]
        for question, turns_of_one in turns.items()
    }


def _warn_if_small(
    sizes: Mapping[str, int], needed: int, options: CalibrationOptions, source: str
) -> None:
    small = [name for name, size in sizes.items() if size < needed]
    if small:
        unit = "questions" if options.pvalue == "hierarchical" else "scores"
        logger.warning(
            "bank=%s: %d of %d banks are too small for rate %g, such as %r with %d: at least %d %s "
            "are needed before a rank alone can mean takeover",
            source,
            len(small),
            len(sizes),
            options.nominal,
            small[0],
            sizes[small[0]],
            needed,
            unit,
        )
