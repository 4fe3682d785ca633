"""Runs the plan `does-it-pay` in this process, and keeps what docs/does-it-pay.md needs of it.

    python -m benchmarks.pays.measured [--runs DIR]

`atts compare does-it-pay` runs the same rows as `lm_eval` cells with a report. Here the models are
loaded by one process, which saves the start of `lm_eval` in each of 23 cells. A row that was begun
goes on from its journal; one that is in `measured.json` beside this file, where all is kept, is not
made again (`--afresh` does).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from atts_tasks.chain.problems import ChainProblem, make_problems
from atts_tiny.paths import draft_path, target_path

from atts_harness.analysis.leaderboard.flops import ModelSize, attend, size_of
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from atts_harness.journal.reader import open_run
from atts_harness.running.harness import Harness
from atts_harness.settings import Settings
from benchmarks.strategies.__main__ import TASK, generation, group
from benchmarks.strategies.measured import Measured

PLAN = "does-it-pay"
FILE = Path(__file__).with_name("measured.json")
VOTES = (2, 4)
PATHS = {"draft": draft_path(), "target": target_path()}


class Config(msgspec.Struct, frozen=True):
    """A row of the plan, and how many of its samples vote.

    Attributes:
        name: the row.
        votes: samples a problem that vote; 1: none.
        repeats: samples a problem that its values are made of.
        right: by problem the chance that the answer is right.
        target: by problem the tokens that the target computed for an answer.
        flops: by problem the FLOPs of both models for an answer.
        rate: realised takeover rate.
        p50: seconds of an answer.
    """

    name: str
    votes: int
    repeats: int
    right: list[float]
    target: list[float]
    flops: list[float]
    rate: float | None
    p50: float


class MeasuredRows(msgspec.Struct, frozen=True):
    """All of them, and on what machine."""

    problems: int
    repeats: int
    load: str
    configs: list[Config]


def load() -> MeasuredRows:
    """What was measured last."""
    return msgspec.json.decode(FILE.read_bytes(), type=MeasuredRows)


def run_row(
    name: str, settings: Settings, repeats: int, problems: list[ChainProblem], folder: Path
) -> Iterator[Config]:
    """One row, with votes over its samples unless it votes itself.

    Args:
        name: of the row.
        settings: of its run, whose run directory is `folder`.
        repeats: samples a problem.
        problems: of the chain task.
        folder: the run directory.
    """
    task = generation()
    with Harness(settings) as harness:
        strategy = harness.strategy(task, {"task": TASK})
        shared = (repeats, strategy, settings.sampling(task), settings.max_tokens(task))
        records = harness.run([group(doc, one, *shared) for doc, one in enumerate(problems)])
    made = Measured(records, [str(problem.answer) for problem in problems])
    sizes = {role: size_of(str(path)) for role, path in PATHS.items()}
    target, flops = spent(folder, sizes, len(problems))
    rate = made.takeover.realised_rate
    shares = by_problem(made)
    answers = 1 if made.votes else repeats
    yield Config(
        *(name, 1, repeats, shares),
        *([one / answers for one in target], [one / answers for one in flops]),
        *(rate, made.seconds(50)),
    )
    for votes in () if made.votes else VOTES:
        voted = made.majority(votes)
        yield Config(
            *(name, votes, repeats, [voted[doc] for doc in range(len(problems))]),
            [one / repeats * votes for one in target],
            [one / repeats * votes for one in flops],
            *(rate, made.seconds(50)),
        )


def by_problem(made: Measured) -> list[float]:
    """The share of right answers."""
    own: dict[int, list[float]] = {}
    for value, doc in zip(*made.shares, strict=True):
        own.setdefault(doc, []).append(value)
    return [sum(values) / len(values) for _, values in sorted(own.items())]


def spent(
    folder: Path, sizes: Mapping[str, ModelSize | None], problems: int
) -> tuple[list[float], list[float]]:
    """By problem, over all its samples: the target's computed tokens, and FLOPs of both models."""
    target, flops = [0.0] * problems, [0.0] * problems
    with open_run(folder) as run:
        for call in run.call_figures(task=TASK):
            if call.usage is None:
                continue
            role, doc = call.key.role, call.key.sample.doc
            pairs: dict[str, float] = {}
            attend(pairs, call)
            computed = (
                call.usage.prompt_tokens
                - (call.usage.cached_tokens or 0)
                + call.usage.completion_tokens
            )
            size = sizes[role]
            assert size is not None, role
            flops[doc] += 2 * size.parameters * computed
            flops[doc] += (size.attention or 0.0) * pairs.get(role, 0.0)
            if role == "target":
                target[doc] += computed
    return target, flops


def main() -> None:
    """Run what is missing, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/does-it-pay"))
    parser.add_argument("--afresh", action="store_true", help="make every row again")
    args = parser.parse_args()
    cells = expand(read_plan(PLAN))
    limit, repeats = cells[0].task.limit or 0, cells[0].task.repeats or 0
    problems = make_problems("mixed", "test", limit)
    found: list[Config] = []
    if FILE.exists() and not args.afresh and (kept := load()).problems == limit:
        found = list(kept.configs)
    for cell in cells:
        if any(one.name == cell.row for one in found):
            continue
        began = time.monotonic()
        folder = args.runs / cell.row
        settings = cell.parsed(run_dir=str(folder), progress="off")
        found += (own := list(run_row(cell.row, settings, repeats, problems, folder)))
        accuracy = sum(own[0].right) / limit
        print(f"{cell.row}: {accuracy:.3f} in {time.monotonic() - began:.0f} s", flush=True)
        one, five, fifteen = os.getloadavg()
        now = MeasuredRows(limit, repeats, f"{one:.0f}, {five:.0f}, {fifteen:.0f}", found)
        FILE.write_bytes(msgspec.json.encode(_rounded(now)) + b"\n")


def _rounded(found: MeasuredRows) -> MeasuredRows:
    """Five digits are what a page can show."""

    def short(values: list[float]) -> list[float]:
        return [float(f"{value:.5g}") for value in values]

    return msgspec.structs.replace(
        found,
        configs=[
            msgspec.structs.replace(
                one, right=short(one.right), target=short(one.target), flops=short(one.flops)
            )
            for one in found.configs
        ],
    )


if __name__ == "__main__":
    main()
