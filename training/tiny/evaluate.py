"""Measures the pair on held-out problems: ``python -m training.tiny.evaluate``.

Writes ``evaluation.json`` with every figure and renders the model card from it, so that no number
in the card was typed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from atts_tasks.chain.problems import ChainProblem, LevelName, make_problems
from atts_tiny.paths import MODELS

from training.tiny.card import render_card
from training.tiny.measure import (
    Figure,
    Role,
    Solved,
    accuracy,
    clustered,
    cut_continuation,
    detection,
    judging,
    keyword_rates,
    repairs,
    solve,
)
from training.tiny.optimise import describe_machine
from training.tiny.simulate import bank_of, takeover_run
from training.tiny.tokenizer import Codec
from training.tiny.train import digest, say

LEVELS: tuple[LevelName, ...] = ("easy", "hard", "shifted")
RATES = (0.1, 0.2, 0.4, 0.6)
ARM_REPEATS = 4


def of_level(
    problems: Sequence[ChainProblem], solved: Sequence[Solved], level: LevelName
) -> list[Solved]:
    """The samples of one level's problems."""
    return [one for one in solved if problems[one.problem].level == level]


def measure_pair(
    draft: Role, target: Role, codec: Codec, *, count: int, repeats: int, seed: int
) -> Figure:
    """All figures of the pair by itself.

    Args:
        draft: The draft model.
        target: The target model.
        codec: The pair's tokenizer.
        count: Held-out problems of the mixed level; a quarter as many of the shifted one.
        repeats: Samples a problem.
        seed: Of the samples; the problems are those of the tasks.
    """
    problems = make_problems("mixed", "test", count)
    shifted = make_problems("shifted", "test", max(2, count // 4))
    figures: Figure = {"problems": count, "repeats": repeats, "temperature": 0.8, "seed": seed}
    for name, role in (("draft", draft), ("target", target)):
        say(f"{name}: sampling {count} problems x {repeats}")
        solved = solve(role, codec, problems, repeats, seed)
        far = solve(role, codec, shifted, repeats, seed)
        of_role = {"mixed": accuracy(solved), "keywords": keyword_rates(codec, solved)}
        of_role["by_operations"] = by_operations(problems, solved)
        for level in LEVELS[:2]:
            of_role[level] = accuracy(of_level(problems, solved, level))
        of_role["shifted"] = accuracy(far)
        if role is draft:
            say("target: scoring, judging and repairing what the draft wrote")
            figures["detection"] = detection(target, solved)
            figures["detection_shifted"] = detection(target, far)
            figures["judge"] = judging(target, codec, solved, seed)
            figures["repair"] = repairs(target, codec, problems, solved, seed)
            figures["self_repair"] = repairs(draft, codec, problems, solved, seed)
            figures["cut"] = cut_continuation(target, codec, solved, problems, seed)
        figures[name] = of_role
    return figures


def by_operations(problems: Sequence[ChainProblem], solved: Sequence[Solved]) -> Figure:
    """pass@1 for each number of operations."""
    sizes = sorted({len(problem.chain.operations) for problem in problems})
    figure: Figure = {}
    for size in sizes:
        part = [one for one in solved if len(problems[one.problem].chain.operations) == size]
        figure[str(size)] = clustered(
            [float(one.correct) for one in part], [one.problem for one in part]
        )["value"]
    return figure


def measure_arms(draft: Role, target: Role, codec: Codec, *, count: int, seed: int) -> list[Figure]:
    """ATTS with each treatment of a rejected step beside random takeover at the same rate."""
    problems = make_problems("mixed", "test", count)
    other = make_problems("mixed", "test", count, seed=1)
    say(f"arms: a bank of all steps of {count} other problems, then {count} x {ARM_REPEATS}")
    bank = bank_of(target, solve(draft, codec, other, ARM_REPEATS, seed + 1))
    rows: list[Figure] = []
    for rate in RATES:
        row: Figure = {"rate": rate}
        for arm in ("continue", "replace"):
            row[arm] = takeover_run(
                draft,
                target,
                codec,
                problems,
                ARM_REPEATS,
                arm=arm,
                rate=rate,
                bank=bank,
                seed=seed,
            )
        row["random"] = takeover_run(
            draft,
            target,
            codec,
            problems,
            ARM_REPEATS,
            arm="random",
            rate=row["replace"]["realised_rate"],
            seed=seed,
        )
        rows.append(row)
        say(f"arms: rate {rate} done")
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Command line of the measurement."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny.evaluate", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder of draft/ and target/")
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--arm-problems", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="default: evaluation.json beside the models")
    parser.add_argument("--card", type=Path, help="default: MODEL_CARD.md above the models")
    options = parser.parse_args(arguments)
    models: Path = options.models
    began = time.process_time()
    codec = Codec()
    draft, target = Role.load(models / "draft"), Role.load(models / "target")
    figures: dict[str, Any] = {
        "command": "python -m training.tiny.evaluate"
        f" --problems {options.problems} --repeats {options.repeats}"
        f" --arm-problems {options.arm_problems} --seed {options.seed}",
        "sha256": {role: digest(models / role) for role in ("draft", "target")},
        "bytes": {
            role: sum(file.stat().st_size for file in (models / role).iterdir())
            for role in ("draft", "target")
        },
        "parameters": {
            name: sum(tensor.numel() for tensor in role.weights.values())
            for name, role in (("draft", draft), ("target", target))
        },
        "machine": describe_machine(),
    }
    with torch.inference_mode():
        figures |= measure_pair(
            draft,
            target,
            codec,
            count=options.problems,
            repeats=options.repeats,
            seed=options.seed,
        )
        write(figures, models, options.out, options.card, began)
        if options.arm_problems:
            figures["arms"] = measure_arms(
                draft, target, codec, count=options.arm_problems, seed=options.seed
            )
            write(figures, models, options.out, options.card, began)


def write(figures: Figure, models: Path, out: Path | None, card: Path | None, began: float) -> None:
    """Writes the figures measured so far, and the card."""
    out = out or models / "evaluation.json"
    card = card or models.parent / "MODEL_CARD.md"
    figures["cpu_seconds"] = round(time.process_time() - began)
    out.write_text(json.dumps(figures, indent=1) + "\n")
    training = models / "training.json"
    card.write_text(
        render_card(figures, json.loads(training.read_text()) if training.exists() else None)
    )
    say(f"written: {out}, {card}")


if __name__ == "__main__":
    main()
