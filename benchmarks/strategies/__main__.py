"""`make bench-strategies`: every strategy on the embedded pair, at the same budget, on two pages.

All rows answer the same problems with the same seeds, sampling and budget of kept tokens, by the
settings of the chain task. The pair runs in this process; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atts_tasks
import yaml  # type: ignore[import-untyped]
from atts_tasks.chain.problems import ChainProblem, make_problems

from atts_harness.grading.extraction import has_answer
from atts_harness.journal.schema import JOURNAL
from atts_harness.records import SampleId, SampleRecord
from atts_harness.running.harness import Harness
from atts_harness.settings import kind_of, parse_settings
from atts_harness.strategy import Group, Problem, Sample, Strategy
from atts_harness.transcript import Message, Prompt
from benchmarks.strategies.compared import compared
from benchmarks.strategies.measured import Measured
from benchmarks.strategies.page import page
from benchmarks.strategies.rows import LIVE, MOST, in_order, on_page

TASK = "atts_chain"
DOCS = Path(__file__).parents[2] / "docs"
PAGE, RIVALS = DOCS / "benchmark-strategies.md", DOCS / "benchmark-rivals.md"


def main() -> None:
    """Run every row and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=80)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--live", type=int, default=16, help="samples in progress at a time")
    parser.add_argument("--level", default="mixed", help="easy, hard, shifted or mixed")
    parser.add_argument(
        "--model_args", default="", help="other models or engines, as lm_eval takes them: K=V,K=V"
    )
    parser.add_argument("--rivals", action="store_true", help="the rows of 2026, on their own page")
    parser.add_argument("--only", help="rows whose title contains this, and those they refer to")
    parser.add_argument("--runs", type=Path, help="folder of run directories, to go on from")
    parser.add_argument(
        "--no-seconds",
        action="store_true",
        help="leave them out: they were taken beside other work",
    )
    parser.add_argument("--out", type=Path, help="the page; a page of the docs by itself")
    args = parser.parse_args()
    out = args.out or (RIVALS if args.rivals else PAGE)
    problems = make_problems(args.level, "test", args.problems)
    votes = f" (under a vote {LIVE}, and {MOST} samples a problem at most)" if args.rivals else ""
    intro = (
        f"By `make bench-strategies`: {args.problems} problems x {args.repeats} samples of "
        f"`{TASK}` ({args.level}) on the embedded pair, {generation()['max_gen_toks']} kept tokens "
        f"a sample at most, {args.live} samples in progress at a time{votes}, on "
        f"{platform.machine()} with the in-process backend. Intervals are clustered by question."
    )
    title = (
        "Votes and first-token routing side by side" if args.rivals else "Strategies side by side"
    )
    measured: dict[str, Measured] = {}
    journals: dict[str, int] = {}

    def write(behind: str = "") -> None:
        shown = {"seconds": not args.no_seconds, "lines": not args.rivals}
        out.write_text(page(measured, intro, title, behind, journals, **shown))

    for row in in_order():
        if (args.only and args.only not in row.title) or not on_page(row, args.rivals):
            continue
        options = dict(row.options)
        if row.rate_of:
            if row.rate_of not in measured:
                continue
            options["rate"] = measured[row.rate_of].takeover.drawn_rate
        began = time.monotonic()
        common = {"live_samples": args.live, **dict(_pairs(args.model_args))}
        if args.runs:
            directory = args.runs / re.sub(r"\W+", "-", row.title)
            common["run_dir"] = str(directory)
        records = run(row.strategy, {**common, **options}, problems, row.repeats or args.repeats)
        golds = [str(problem.answer) for problem in problems]
        measured[row.title] = Measured(records, golds)
        if args.runs:
            journals[row.title] = (directory / JOURNAL).stat().st_size
        write()  # of what there is, should it be stopped
        print(
            f"{row.title}: {measured[row.title].accuracy.value:.3f} in "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )
    if args.rivals and args.runs and not args.only:
        write(compared(args.runs / "compared"))
    print(out)


def generation() -> dict[str, Any]:
    """The chain task's generation settings, as lm-eval would hand them over."""
    folder = Path(str(atts_tasks.__file__)).parent / "chain"
    # Its `!function` entries belong to lm-eval and are not looked at here.
    text = (folder / "_chain_yaml").read_text().replace("!function", "")
    settings: dict[str, Any] = yaml.safe_load(text)["generation_kwargs"]
    return {name: value for name, value in settings.items() if name != "until"}


def _pairs(model_args: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, model_args.split(",")):
        name, _, value = pair.partition("=")
        yield name, value


def run(
    strategy: str, options: dict[str, Any], problems: list[ChainProblem], repeats: int
) -> list[SampleRecord]:
    """All samples of one row; a role that the strategy does not use is left out."""
    roles = kind_of(strategy, options).roles
    used = {k: v for k, v in options.items() if k not in ("draft", "target") or k in roles}
    settings = parse_settings({"strategy": strategy, **used})
    task = generation()
    with Harness(settings) as harness:
        instance = harness.strategy(task, {"task": TASK})
        sampling, budget = settings.sampling(task), settings.max_tokens(task)
        groups = [
            group(doc, problem, repeats, instance, sampling, budget)
            for doc, problem in enumerate(problems)
        ]
        return harness.run(groups)


def group(
    doc: int,
    problem: ChainProblem,
    repeats: int,
    strategy: Strategy,
    sampling: Any,
    max_tokens: int,
) -> Group:
    """A problem's samples."""
    question = Problem(
        task=TASK,
        doc=doc,
        prompt=Prompt((Message("user", problem.prompt),)),
        answered=has_answer,
        max_tokens=max_tokens,
        prompt_hash=problem.prompt,
        sampling=sampling,
        kind="maths",
    )
    samples = tuple(Sample(SampleId(TASK, doc, n), question) for n in range(repeats))
    return Group(question, samples, strategy)


if __name__ == "__main__":
    main()
