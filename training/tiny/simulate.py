"""ATTS and random takeover on the pair in lockstep: what taking over is worth, for the model card.

A small model of the harness for bulk measurement: all samples write a turn together, one reasoning
step a turn, with a fixed bank over all steps. Runs that are reported go through the harness.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from atts_tasks.chain.problems import ChainProblem

from training.tiny.measure import (
    STEP_LIMIT,
    Figure,
    Role,
    Solved,
    answered,
    clustered,
    nonconformity,
)
from training.tiny.sampling import log_probabilities, sample
from training.tiny.tokenizer import Codec

Arm = Literal["continue", "replace", "random"]
TURNS = 40


@dataclass
class _Row:
    """One sample in the making."""

    problem: int
    prompt: list[int]
    ids: list[int]
    open: bool = True
    scored: int = 0
    taken: int = 0
    target_tokens: int = 0


def p_value(bank: Sequence[float], score: float) -> float:
    """Share of the sorted bank at least as bad as the score, the score counted too."""
    return (1 + len(bank) - bisect.bisect_left(bank, score)) / (len(bank) + 1)


def bank_of(target: Role, solved: Sequence[Solved]) -> list[float]:
    """Sorted nonconformities of all steps of draft samples."""
    return sorted(value for row in nonconformity(target, solved) for value in row)


def _write(role: Role, codec: Codec, rows: Sequence[_Row], seed: int) -> list[list[int]]:
    return sample(
        role.weights,
        role.shape,
        [row.prompt + row.ids for row in rows],
        limit=STEP_LIMIT,
        stops=[codec.blank, codec.end],
        seed=seed,
    )


def _append(codec: Codec, row: _Row, ids: Sequence[int]) -> None:
    row.ids.extend(ids)
    row.open = row.open and "\\boxed{" not in codec.decode(list(ids)) and codec.end not in ids


def takeover_run(
    draft: Role,
    target: Role,
    codec: Codec,
    problems: Sequence[ChainProblem],
    repeats: int,
    *,
    arm: Arm,
    rate: float,
    bank: Sequence[float] = (),
    seed: int = 0,
) -> Figure:
    """One arm at one rate.

    Args:
        draft: Writes every turn first.
        target: Scores it and takes over.
        codec: The pair's tokenizer.
        problems: Held-out problems.
        repeats: Samples a problem.
        arm: The target writes behind the rejected turn, in its place, or in its place at random.
        rate: Nominal rate of takeover.
        bank: Sorted nonconformities to rank against; not for ``random``.
        seed: Of everything drawn.

    Returns:
        Accuracy with its interval, realised rate, and target tokens written a sample.
    """
    coins = random.Random(f"coins/{seed}")
    rows = [
        _Row(number, codec.prompt(problem.prompt), [])
        for number, problem in enumerate(problems)
        for _ in range(repeats)
    ]
    for turn in range(TURNS):
        live = [row for row in rows if row.open]
        if not live:
            break
        drafts = _write(draft, codec, live, seed * 1000 + 2 * turn)
        rejected = _rejected(target, live, drafts, arm, rate, bank, coins)
        taking = []
        for row, ids, reject in zip(live, drafts, rejected, strict=True):
            row.scored += 1
            row.taken += reject
            if not (reject and arm != "continue"):
                _append(codec, row, [token for token in ids if not (reject and token == codec.end)])
                row.open = row.open or reject
            if reject:
                taking.append(row)
        for row, ids in zip(
            taking, _write(target, codec, taking, seed * 1000 + 2 * turn + 1), strict=True
        ):
            row.open = True
            row.target_tokens += len(ids)
            _append(codec, row, ids)
    groups = [row.problem for row in rows]
    correct = [float(answered(codec.decode(row.ids), problems[row.problem].answer)) for row in rows]
    figure = clustered(correct, groups)
    figure["nominal_rate"] = rate
    figure["realised_rate"] = sum(row.taken for row in rows) / sum(row.scored for row in rows)
    figure["target_tokens"] = sum(row.target_tokens for row in rows) / len(rows)
    return figure


def _rejected(
    target: Role,
    live: Sequence[_Row],
    drafts: Sequence[Sequence[int]],
    arm: Arm,
    rate: float,
    bank: Sequence[float],
    coins: random.Random,
) -> list[bool]:
    if arm == "random":
        return [coins.random() < rate for _ in live]
    contexts = [row.prompt + row.ids for row in live]
    logprobs = log_probabilities(
        target.weights,
        target.shape,
        [context + list(ids) for context, ids in zip(contexts, drafts, strict=True)],
    )
    return [
        p_value(bank, -float(values[len(context) - 1 :].mean())) <= rate
        for context, values in zip(contexts, logprobs, strict=True)
    ]
