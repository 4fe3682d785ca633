"""Trains the embedded pair from nothing: ``python -m training.tiny.train``.

Each stage is a fixed number of steps from a seed. First, side by side on one core each, the target
and two drafts: the one that is shipped and a sparring partner, trained a little longer, whose
mistakes are collected. Then the target learns to repair and judge these; it never meets the draft
it will be measured with. Last the target gets more layers on top, with what they need to compare a
token with the one that was expected (`training.tiny.deepen`). What is shipped is the mean of its
last two stages. Stop it at any time; the same command goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import pickle
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from atts_tiny.paths import MODELS

from atts_harness.errors import AttsError, SettingError
from training.tiny.deepen import deepen, expected_codes, token_codes
from training.tiny.examples import DRAFT_DIET, TARGET_DIET, Diet, Example, draw_example
from training.tiny.measure import Role
from training.tiny.model import HEAD, Shape, Weights, init_weights, save_model
from training.tiny.onpolicy import Case, balanced, case_example, collect_cases
from training.tiny.optimise import (
    Draw,
    Plan,
    Training,
    batch_of,
    describe_machine,
    model_weights,
    pool_of,
    quick_precision,
)
from training.tiny.tokenizer import Codec

FITTED = 4
"""Pools of batches that the map to the codes of expected tokens is fitted on."""

STAGES = ("draft", "sparring", "target", "tuning", "growing", "finishing")

COLLECTIONS = {"cases": (1, 3, False), "more-cases": (2, 5, True)}
"""Collections of mistakes: how many times `Recipe.problems`, their seed, and whether each sample
gives a case to be judged too."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        draft: Training of the draft.
        sparring: Training of the draft whose mistakes are collected.
        target: Training of the target from nothing.
        tuning: Training of the target on mistakes.
        problems: Problems on which mistakes are collected; see `COLLECTIONS`.
        growing: Training of the target with more layers on top, on mistakes.
        finishing: Its last training: the rarer mistakes as often as the common ones, and a judge
            that makes up its mind.
        share: Share of those mistakes among the examples of the tuning and the growing.
        late_share: That share in the finishing; the more it is, the less the target solves.
    """

    draft: Plan
    sparring: Plan
    target: Plan
    tuning: Plan
    growing: Plan
    finishing: Plan
    problems: int
    share: float
    late_share: float


def recipe(vocabulary: int, precision: str | None = None) -> Recipe:
    """The recipe of the shipped pair, in ``precision`` or what this processor is quick in."""
    precision = precision or quick_precision()
    large = Shape(5, 4, 128, 256, vocabulary)
    # A wrong number is known to be wrong two layers below the last one, a wrong step one below.
    growing = Plan(
        replace(large, layers=8, hidden=128 + HEAD),
        steps=1800,
        flat=0.3,
        matrix_rate=0.01,
        other_rate=0.0015,
        seed=4,
        proofread=1.0,
        readers=(-3, -2),
        wrong=5.0,
        precision=precision,
        grown=3,
        loud=16.0,
        code=HEAD,
    )
    return Recipe(
        draft=Plan(Shape(2, 4, 64, 128, vocabulary), steps=1300, precision=precision),
        sparring=Plan(Shape(2, 4, 64, 128, vocabulary), steps=1350, precision=precision),
        # Not annealed: the tuning goes on at the full learning rate.
        target=Plan(large, steps=1300, flat=1.0, proofread=1.0, precision=precision),
        tuning=Plan(large, steps=6000, flat=0.4, seed=2, proofread=1.0, precision=precision),
        growing=growing,
        finishing=replace(
            growing, steps=1200, flat=0.2, matrix_rate=0.008, other_rate=0.0012, seed=5
        ),
        problems=6000,
        share=0.6,
        late_share=0.35,
    )


Report = Callable[[str], None]


def say(line: str) -> None:
    """Prints one line at once."""
    print(line, flush=True)


def train(
    name: str,
    plan: Plan,
    draw: Draw,
    work: Path,
    codec: Codec,
    *,
    start: Weights | None = None,
    stop_at: int | None = None,
    every: int = 100,
    report: Report = say,
) -> Weights:
    """Trains one model, from its checkpoint if there is one.

    Args:
        name: Of the stage and of its checkpoint in ``work``.
        plan: How it is trained; a checkpoint of another plan is refused.
        draw: Draws one example.
        work: Folder of the checkpoints.
        codec: The pair's tokenizer.
        start: Weights to begin with; fresh ones if None.
        stop_at: Step to stop at, with a checkpoint; the plan's last one if None.
        every: Steps between checkpoints.
        report: Takes one line of progress.

    Raises:
        SettingError: If the checkpoint belongs to another plan.
    """
    if start is None:
        start = init_weights(plan.shape, plan.seed, codec.numbers if plan.circles else ())
    training = Training(plan, start)
    path = work / f"{name}.pt"
    if path.exists():
        state = torch.load(path, weights_only=True)
        difference = _differences(state["plan"], asdict(plan))
        if difference:
            raise SettingError(
                f"{path} was trained with {difference}; use another --work or --precision, "
                "or remove it and those of all stages behind it"
            )
        if state["machine"] != describe_machine():
            report(
                f"{name}: checkpoint of {state['machine']} goes on under {describe_machine()}; "
                "the weights will differ in their last digits from a run under one of them"
            )
        training.restore(state)
        report(f"{name}: step {training.step} of {plan.steps}, from {path}")
    end = plan.steps if stop_at is None else stop_at
    began, total = time.monotonic(), 0.0
    while training.step < end:
        total += training.advance(draw, codec.pad)
        if training.step % every == 0 or training.step == end:
            training.save(path)
            seconds = time.monotonic() - began
            loss = total / (every if training.step % every == 0 else training.step % every)
            report(f"{name}: step {training.step}/{plan.steps} loss {loss:.3f} {seconds:.0f} s")
            total = 0.0
    return {key: tensor.detach() for key, tensor in training.weights.items()}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    names = [name for name in new if old.get(name) != new[name]]
    return ", ".join(f"{name} {old.get(name)} instead of {new[name]}" for name in names)


def _draw_with(diet_name: str, codec: Codec) -> Draw:
    diet = TARGET_DIET if diet_name == "target" else DRAFT_DIET
    return lambda rng: draw_example(rng, codec, diet)


def _alone(names: tuple[str, ...], plans: Recipe, work: Path) -> None:
    """First-stage trainings, one after the other, in a process of their own.

    The one that ends with the sparring partner has time left, and collects its mistakes.
    """
    torch.set_num_threads(1)
    codec = Codec()
    try:
        for name in names:
            train(name, getattr(plans, name), _draw_with(name, codec), work, codec)
        if "sparring" in names:
            for name in COLLECTIONS:
                cases_of(name, plans, codec, work)
    except AttsError as error:
        sys.exit(str(error))


def _finished(name: str, work: Path) -> Weights:
    weights: Weights = _checkpoint(name, work)["weights"]
    return weights


def _checkpoint(name: str, work: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(work / f"{name}.pt", weights_only=True)
    if state["step"] != state["plan"]["steps"]:
        raise SettingError(f"{name} stopped at step {state['step']}; run the same command again")
    return state


def first_stage(plans: Recipe, work: Path) -> None:
    """Trains the drafts, and collects mistakes, beside the target."""
    context = multiprocessing.get_context("spawn")
    parts = [
        context.Process(target=_alone, args=(names, plans, work))
        for names in (("draft", "sparring"), ("target",))
    ]
    for part in parts:
        part.start()
    for part in parts:
        part.join()
    if any(part.exitcode for part in parts):
        raise SettingError("training stopped early; run the same command again to go on")


def cases_of(name: str, plans: Recipe, codec: Codec, work: Path) -> list[Case]:
    """The sparring partner's mistakes, collected once and kept beside the checkpoints.

    Args:
        name: Of one of the `COLLECTIONS`.
        plans: The recipe.
        codec: The pair's tokenizer.
        work: Folder of the checkpoints.
    """
    half = {key: tensor.half() for key, tensor in _finished("sparring", work).items()}
    times, seed, judged = COLLECTIONS[name]
    problems = times * plans.problems
    source = hashlib.sha256(f"{problems} {seed} {judged}".encode())
    for tensor in half.values():
        source.update(tensor.numpy().tobytes())
    path = work / f"{name}.pickle"
    if path.exists():
        made_of, collected = pickle.loads(path.read_bytes())
        if made_of == source.digest():
            return list(collected)
    say(f"{name}: sampling {problems} training problems")
    partner = Role({key: tensor.float() for key, tensor in half.items()}, plans.sparring.shape)
    cases = collect_cases(partner, codec, problems, seed, judged=judged)
    partial = path.with_suffix(".partial")
    partial.write_bytes(pickle.dumps((source.digest(), cases)))
    partial.replace(path)
    wrong = sum(case.error is not None for case in cases)
    say(f"{name}: {wrong} wrong and {len(cases) - wrong} right steps")
    return cases


def second_stage(plans: Recipe, codec: Codec, work: Path) -> None:
    """Teaches the target on what the sparring partner writes."""
    target = _finished("target", work)
    cases = cases_of("cases", plans, codec, work)
    diet = replace(TARGET_DIET, drills=0.05)
    draw = _draw_from(cases, plans.share, diet, codec)
    train("tuning", plans.tuning, draw, work, codec, start=target)


def third_stage(plans: Recipe, codec: Codec, work: Path) -> None:
    """Gives the target layers to check with, and teaches it to."""
    tuned = model_weights(_finished("tuning", work))
    # As they would be shipped: this stage can be trained again from a shipped folder.
    tuned = {name: tensor.half().float() for name, tensor in tuned.items()}
    cases = cases_of("more-cases", plans, codec, work)
    diet = replace(TARGET_DIET, drills=0.05)
    draw = _draw_from(cases, plans.share, diet, codec, locate=True)
    codes = token_codes(tuned, plans.growing.seed)
    batches = [
        batch_of(rows, codec.pad)
        for number in range(FITTED)
        for rows in pool_of(draw, plans.growing, number)
    ]
    expected = expected_codes(tuned, plans.tuning.shape, codes, batches)
    start = deepen(
        tuned, plans.tuning.shape, plans.growing.shape, codes, expected, plans.growing.seed
    )
    train("growing", plans.growing, draw, work, codec, start=start)
    even, sure = balanced(cases), replace(diet, sure=True)
    draw = _draw_from(even, plans.late_share, sure, codec, locate=True)
    train("finishing", plans.finishing, draw, work, codec, start=_finished("growing", work))


def _draw_from(
    cases: list[Case], share: float, diet: Diet, codec: Codec, *, locate: bool = False
) -> Draw:
    """Draws cases at their share, and what the diet says else."""

    def draw(rng: random.Random) -> Example:
        if rng.random() < share:
            case = cases[int(rng.random() * len(cases))]
            return case_example(rng, codec, diet, case, locate=locate)
        return draw_example(rng, codec, diet)

    return draw


def mean_of(one: Weights, other: Weights) -> Weights:
    """The weights halfway between two of one model, in which the noise of either is halved.

    Between the target's last two stages this was worth .04 of pass@1 (.90 and .91 became .95, on
    300 problems x 4). Source: Wortsman et al., "Model soups" (2022).
    """
    return {name: (one[name] + other[name]) / 2 for name in one}


def digest(folder: Path) -> str:
    """SHA-256 of a folder's weights."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def write_models(plans: Recipe, codec: Codec, work: Path, out: Path) -> None:
    """Writes both folders and how they came about; says whether they equal the shipped ones."""
    save_model(out / "draft", model_weights(_finished("draft", work)), plans.draft.shape, codec)
    target = model_weights(mean_of(_finished("growing", work), _finished("finishing", work)))
    save_model(out / "target", target, plans.finishing.shape, codec)
    states = {name: _checkpoint(name, work) for name in STAGES}
    record: dict[str, Any] = {
        "problems": plans.problems,
        "share": plans.share,
        "late_share": plans.late_share,
        "stages": {
            name: {"machine": state["machine"], "plan": state["plan"]}
            for name, state in states.items()
        },
        "sha256": {role: digest(out / role) for role in ("draft", "target")},
    }
    shipped = MODELS / "training.json"
    if shipped.exists() and out.resolve() != MODELS.resolve():
        old = json.loads(shipped.read_text())
        for role in ("draft", "target"):
            same = old["sha256"][role] == record["sha256"][role]
            say(f"{role}: {'equal to' if same else 'differs from'} the shipped weights")
        for name, stage in old["stages"].items():
            of_stage = record["stages"][name]
            for part in ("machine", "plan"):
                if difference := _differences(stage[part], json.loads(json.dumps(of_stage[part]))):
                    say(f"{name}: {part} of the shipped weights has {difference}")
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny.train", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="checkpoints")
    parser.add_argument("--out", type=Path, help="where the models go (default: WORK/models)")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="type to compute in (default: what this processor is quicker in); other weights",
    )
    options = parser.parse_args(arguments)
    work: Path = options.work
    out: Path = options.out if options.out is not None else work / "models"
    work.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        say("a GPU is present and stays unused: the recipe is defined on a CPU")
    torch.set_num_threads(1)
    codec = Codec()
    plans = recipe(codec.size, options.precision)
    try:
        first_stage(plans, work)
        torch.set_num_threads(2)  # the first stage had two processes; the number decides digits
        second_stage(plans, codec, work)
        third_stage(plans, codec, work)
        write_models(plans, codec, work, out)
    except AttsError as error:
        sys.exit(f"train: {error}")
    except KeyboardInterrupt:
        sys.exit("train: stopped; the same command goes on from the last checkpoint")
    say(f"written to {out}")


if __name__ == "__main__":
    main()
