r"""How long 16 x 500 gradings take, extraction included, and what adversarial LaTeX costs.

    python benchmarks/grading/throughput.py [DATA [TRACES]]

The mix: for each of MATH-500's 500 questions 16 texts of 1-40 kB, each a published transcript
(TRACES) without its boxes, ending in one of: the gold in some other spelling (65 %), an answer of
another question (20 %), a published answer to some question (8 %), no box (5 %), a box that is
never closed (2 %). Nothing is remembered from an earlier run. Then the same with each of 16 pieces
of LaTeX that are made to explode put into one text. DATA is laid out like the hubs' sets; default
ATTS_DATA_DIR. Prints wall and processor time, verdicts and errors by kind.
"""

from __future__ import annotations

import collections
import os
import random
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from golds import golds, rewrites

from atts_harness.grading.equivalence import Gold
from atts_harness.grading.grade import Sampled, grade_question, question_metrics
from atts_harness.grading.workers import Grader
from atts_harness.results.published import PUBLISHED, saved_task

REPEATS = 16
EXPLOSIVE = [
    r"10^{10^{10^{10}}}",
    r"2^{2^{2^{2^{2^{2}}}}}",
    r"(1+x)^{1000000}",
    r"\binom{10^9}{5\cdot 10^8}",
    r"\sum_{k=1}^{10^{9}} \frac{1}{k!}",
    r"\prod_{k=1}^{1000000} (k^2+1)",
    r"\int_0^1 e^{x^{x^{x}}}\,dx",
    r"999999999!",
    r"\frac{" * 60 + "1" + r"}{2}" * 60,
    r"\sqrt{" * 150 + "2" + "}" * 150,
    "(" * 300 + "x" + ")" * 300,
    "x^{" * 100 + "2" + "}" * 100,
    r"\frac{1}{x" + r"+\frac{1}{x" * 60 + "}" * 61,
    "1" * 100_000,
    r"\text{" * 20_000,
    r"\left(" * 900 + "1",
]


def mixed(
    by_id: dict[str, Gold], texts: list[str], answers: list[str], explosive: bool
) -> Iterator[tuple[Gold, list[Sampled]]]:
    """For each question its gold and 16 texts."""
    rng = random.Random(7)
    keys = [key for key in by_id if key.startswith("math500/")]
    places = dict(zip(rng.sample(range(len(keys)), len(EXPLOSIVE)), EXPLOSIVE, strict=True))
    for number, key in enumerate(keys):
        spellings = list(dict(rewrites(by_id[key])).values())
        samples = []
        for _ in range(REPEATS):
            body, chance = rng.choice(texts), rng.random()
            if chance < 0.65:
                end = rf"So \boxed{{{rng.choice(spellings)}}}."
            elif chance < 0.85:
                end = rf"So \boxed{{{by_id[rng.choice(keys)].text}}}."
            elif chance < 0.93:
                end = rf"So \boxed{{{rng.choice(answers)}}}."
            elif chance < 0.98:
                end = "So I do not know."
            else:
                end = rf"So \boxed{{{by_id[key].text}"
            samples.append(Sampled(f"{body}\n\n{end}"))
        if explosive and number in places:
            samples[0] = Sampled(rf"So \boxed{{{places[number]}}}.")
        yield by_id[key], samples


def processor_seconds() -> float:
    parent = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return parent.ru_utime + parent.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["ATTS_DATA_DIR"])
    default = data.parent / "traces" / "atts_math500_ct0.jsonl.gz"
    traces = saved_task(Path(sys.argv[2]) if len(sys.argv) > 2 else default)
    samples = [sample for question in traces for sample in question.samples.values()]
    texts = [re.sub(r"\\boxed\{[^{}]*\}", "", s.text).replace(r"\boxed", "") for s in samples]
    answers = sorted({a for s in samples if (a := s.answers[PUBLISHED]) is not None})
    by_id = golds(data)
    for explosive in (False, True):
        work = list(mixed(by_id, texts, answers, explosive))
        grader = Grader()
        wall, cpu = time.perf_counter(), processor_seconds()
        grades = [(grade_question(sampled, gold, grader=grader), gold) for gold, sampled in work]
        graded = time.perf_counter() - wall
        shares = [
            question_metrics(sampled, gold, grader=grader)["pass@1"] for sampled, gold in grades
        ]
        wall = time.perf_counter() - wall
        grader.close()
        cpu = processor_seconds() - cpu
        errors = collections.Counter(g.error for sampled, _ in grades for g in sampled if g.error)
        count = sum(len(sampled) for sampled, _ in grades)
        characters = sum(len(s.text) for _, sampled in work for s in sampled) / count
        print(
            f"{'with explosive LaTeX' if explosive else 'the mix'}: {count} gradings of texts of "
            f"{characters / 1000:.1f} kB in {graded:.1f} s, with maj@k and disagreement "
            f"{wall:.1f} s; processor {cpu:.1f} s; pass@1 {sum(shares) / len(shares):.4f}; "
            f"errors {dict(errors) or 'none'}; processes killed {grader.killed}"
        )


if __name__ == "__main__":
    main()
