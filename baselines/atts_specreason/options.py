"""The options of SpecReason; the defaults are the published ones."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from atts_harness.strategy import StrategyOptions

JUDGE_QUESTION = (
    "Rate the last step for factual and logical correctness, from 0 (certainly wrong) to 9 "
    "(certainly right). Ignore style and usefulness. Reply with one digit."
)
JUDGE_PREFILL = "<think>\nThe score is: "


class SpecReasonOptions(StrategyOptions, frozen=True, kw_only=True):
    """How steps are cut, judged and joined."""

    threshold: Annotated[
        float,
        msgspec.Meta(
            ge=0, le=9, description="a step is kept if its score is at least this (0 to 9)"
        ),
    ] = 7.0
    judging: Annotated[
        Literal["greedy", "average"],
        msgspec.Meta(
            description="the score: the target's most likely digit, or the mean over the digits "
            "among its likeliest tokens"
        ),
    ] = "greedy"
    first_n_steps_target: Annotated[
        int, msgspec.Meta(ge=0, description="steps that the target writes without being asked")
    ] = 0
    step_tokens: Annotated[int, msgspec.Meta(ge=1, description="most tokens of a step")] = 512
    step_stop: Annotated[
        str, msgspec.Meta(min_length=1, description="text that ends a step (kept)")
    ] = "\n\n"
    think_close: Annotated[
        Literal["strip", "keep"],
        msgspec.Meta(
            description="`</think>` in a step without an answer marker: delete it, as published, "
            "or let thinking end"
        ),
    ] = "strip"
    on_eos: Annotated[
        Literal["continue", "end"],
        msgspec.Meta(
            description="a step that closes its turn: go on behind a blank line, as published, or "
            "end the sample"
        ),
    ] = "continue"
    finish_on: Annotated[
        Literal["markers", "answer"],
        msgspec.Meta(
            description="what ends a sample: `boxed`, `Answer:` or `ANSWER:` anywhere in a step, "
            "as published, or a complete answer only"
        ),
    ] = "markers"
    repeat_breaker: Annotated[
        bool, msgspec.Meta(description="end a sample whose last two steps (of three) are equal")
    ] = True
    paper_join: Annotated[
        bool,
        msgspec.Meta(description="a blank line behind steps cut by `step_tokens`, as published"),
    ] = False
    judge_top: Annotated[
        int, msgspec.Meta(ge=1, le=20, description="likeliest tokens that the judge returns")
    ] = 10
    judge_question: Annotated[
        str, msgspec.Meta(min_length=1, description="what the judging turn asks")
    ] = JUDGE_QUESTION
    judge_prefill: Annotated[
        str, msgspec.Meta(description="how the judge's answer begins; the digit comes next")
    ] = JUDGE_PREFILL
