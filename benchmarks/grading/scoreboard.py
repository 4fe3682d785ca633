r"""Four graders on the project's own pairs: ours, math-verify, and lm-eval's two.

    python benchmarks/grading/scoreboard.py [--wrong]

`pairs.tsv` beside this file holds gold, answer and verdict, written for this project and judged by
hand, by kind. Prints, for each grader, the share of pairs that it judges as a hand does, how many
wrong answers it takes for right and how many right ones for wrong; then ours by kind. `--wrong`
lists the pairs on which ours differs.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import io
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from atts_harness.grading.equivalence import Gold, decide

PAIRS = Path(__file__).with_name("pairs.tsv")


class Pair(NamedTuple):
    """A gold, an answer, and what a hand says of them."""

    kind: str
    right: bool
    gold: str
    answer: str


def pairs(path: Path = PAIRS) -> list[Pair]:
    """The hand-judged pairs."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [
            Pair(kind, verdict == "right", gold, answer) for kind, verdict, gold, answer in rows
        ]


def ours(gold: str, answer: str) -> bool:
    return decide(answer, Gold(gold)).right


def math_verify(gold: str, answer: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


def minerva(gold: str, answer: str) -> bool:
    from lm_eval.tasks.minerva_math.utils import is_equiv, normalize_final_answer

    return bool(is_equiv(normalize_final_answer(gold), normalize_final_answer(answer)))


def hendrycks(gold: str, answer: str) -> bool:
    from lm_eval.tasks.hendrycks_math.utils import is_equiv

    return bool(is_equiv(gold, answer))


GRADERS: dict[str, Callable[[str, str], bool]] = {
    "this project": ours,
    "math-verify": math_verify,
    "lm-eval minerva_math": minerva,
    "lm-eval hendrycks_math": hendrycks,
}


def judged(grader: Callable[[str, str], bool], listed: list[Pair]) -> list[bool]:
    """Verdicts of a grader; one that fails counts as wrong."""
    verdicts = []
    for pair in listed:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                verdicts.append(grader(pair.gold, pair.answer))
        except Exception:
            verdicts.append(False)
    return verdicts


def main() -> None:
    logging.disable(logging.CRITICAL)
    listed = pairs()
    right = sum(pair.right for pair in listed)
    print(f"{len(listed)} pairs, {right} right and {len(listed) - right} wrong")
    print(f"{'grader':24} {'agrees':>7} {'false accepts':>14} {'false rejects':>14}")
    for name, grader in GRADERS.items():
        verdicts = judged(grader, listed)
        agree = sum(v == pair.right for v, pair in zip(verdicts, listed, strict=True))
        accepts = sum(v and not pair.right for v, pair in zip(verdicts, listed, strict=True))
        rejects = sum(pair.right and not v for v, pair in zip(verdicts, listed, strict=True))
        print(f"{name:24} {agree / len(listed):7.3f} {accepts:14} {rejects:14}")
        if grader is ours:
            mine = verdicts
    kinds: dict[str, list[bool]] = collections.defaultdict(list)
    for verdict, pair in zip(mine, listed, strict=True):
        kinds[pair.kind].append(verdict == pair.right)
    print("\nthis project, by kind")
    for kind, agreed in kinds.items():
        print(f"{kind:26} {sum(agreed):4} of {len(agreed)}")
    if "--wrong" in sys.argv:
        for verdict, pair in zip(mine, listed, strict=True):
            if verdict != pair.right:
                print(f"{'accepted' if verdict else 'rejected'}: {pair.gold}  <-  {pair.answer}")


if __name__ == "__main__":
    main()
