"""A small summary of published behaviour, for plans without a trace of one's own.

It draws samples whose lengths, scores and endings are distributed like those of the published ATTS
run of R1-Distill-Llama-8B with QwQ-32B on 100 MATH-500 questions x 16 (15 turns, 500 + 500 tokens):
questions differ in how soon a turn ends a sample, and in how likely their drafts are.
"""

from __future__ import annotations

import random

from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace

__all__ = ["published_trace"]

CHUNK = 500
TURNS = 15
ENDING = (0.0, 0.10, 0.24, 0.43, 0.62, 0.85, 1.0)
"""Quantiles over questions (0, 10, 25, 50, 75, 90, 100 %) of the chance that a turn is the last."""
LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
SCORE_MEAN, SCORE_BETWEEN, SCORE_WITHIN = 0.457, 0.127, 0.200
"""Nonconformity in nats a token: mean, and standard deviations between and within questions."""
DRAFT_FULL, LAST_DRAFT_FULL, SHORT_DRAFT = 0.52, 0.31, (90, 480)
"""Share of drafts that are cut off at the limit, of a sample's last ones, and other lengths."""
TAKEOVER_EMPTY, TAKEOVER_FULL, SHORT_TAKEOVER = 0.10, 0.43, (120, 499)
"""Share of takeovers without text, of those cut off at the limit, and other lengths."""
DRAFT_ENDS = 0.80
"""Share of last turns that the draft's text ends; the target's text ends the others."""
RATE = 0.4


def published_trace(questions: int = 30, repeats: int = 16, seed: int = 0) -> RunTrace:
    """A trace drawn from the summary.

    Args:
        questions: how many.
        repeats: samples a question.
        seed: of the draws.
    """
    rng = random.Random(seed)
    samples: dict[int, tuple[SampleTrace, ...]] = {}
    for doc in range(questions):
        ending = _quantile(ENDING, (doc + 0.5) / questions)
        level = rng.gauss(SCORE_MEAN, SCORE_BETWEEN)
        samples[doc] = tuple(
            SampleTrace(doc, repeat, _turns(rng, ending, level)) for repeat in range(repeats)
        )
    return RunTrace("published-math500", samples, {}, CHUNK, RATE)


def _turns(rng: random.Random, ending: float, level: float) -> tuple[TurnTrace, ...]:
    turns: list[TurnTrace] = []
    while len(turns) < TURNS:
        last = rng.random() < ending
        draft_ends = last and rng.random() < DRAFT_ENDS
        full = rng.random() < (LAST_DRAFT_FULL if last else DRAFT_FULL)
        takes_over = rng.random() < RATE or (last and not draft_ends)
        turns.append(
            TurnTrace(
                draft=CHUNK if full else rng.randint(*SHORT_DRAFT),
                score=max(0.02, rng.gauss(level, SCORE_WITHIN)),
                takeover=_takeover(rng) if takes_over else None,
                draft_ends=draft_ends,
                takeover_ends=last and not draft_ends,
            )
        )
        if last:
            break
    return tuple(turns)


def _takeover(rng: random.Random) -> int:
    draw = rng.random()
    if draw < TAKEOVER_EMPTY:
        return 0
    return CHUNK if draw < TAKEOVER_EMPTY + TAKEOVER_FULL else rng.randint(*SHORT_TAKEOVER)


def _quantile(values: tuple[float, ...], level: float) -> float:
    for (low, first), (high, second) in zip(
        zip(LEVELS, values, strict=True), zip(LEVELS[1:], values[1:], strict=False), strict=False
    ):
        if level <= high:
            return first + (second - first) * (level - low) / (high - low)
    return values[-1]
