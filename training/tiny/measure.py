"""What is measured of the pair: accuracy, errors, detection, judging, repair, vocabulary of steps.

Every figure is over held-out problems. Intervals are 95 % and treat the problem as the unit that
was drawn: samples of one problem are not independent.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from atts_tasks.chain.problems import ChainProblem, below
from numpy.typing import NDArray

from training.tiny.language import StepCheck, check_step, check_steps
from training.tiny.model import Shape, Weights, load_model
from training.tiny.sampling import log_probabilities, next_logits, sample
from training.tiny.tokenizer import Codec

Figure = dict[str, Any]
LIMIT = 640
"""Most tokens of a whole answer."""
STEP_LIMIT = 96
"""Most tokens of one step."""

KEYWORDS = {
    "verify": ("verify", "think again", "recap", "check"),
    "negative": ("wait", "alternatively", "hold on", "another"),
    "positive": ("yeah", "yes", "final answer", "confident"),
}
"""The keyword classes of speculative thinking."""


@dataclass(frozen=True)
class Role:
    """A loaded model."""

    weights: Weights
    shape: Shape

    @staticmethod
    def load(folder: Path) -> Role:
        """Loads a folder that `save_model` wrote."""
        return Role(*load_model(folder))


@dataclass
class Solved:
    """One sample: its ids cut into steps (each with its blank line), and each step's check."""

    problem: int
    prompt: list[int]
    ids: list[int]
    steps: list[list[int]] = field(default_factory=list)
    checks: list[StepCheck] = field(default_factory=list)
    correct: bool = False

    def before(self, step: int) -> list[int]:
        """The ids in front of a step, prompt included."""
        return self.prompt + [token for part in self.steps[:step] for token in part]


def cut_steps(codec: Codec, ids: Sequence[int]) -> list[list[int]]:
    """Cuts written ids after each blank line; an empty step stays with the one before it."""
    steps: list[list[int]] = [[]]
    for token in ids:
        if token == codec.end:
            break
        if not steps[-1] and token == codec.blank and len(steps) > 1:
            steps[-2].append(token)
            continue
        steps[-1].append(token)
        if token == codec.blank:
            steps.append([])
    return [step for step in steps if step]


def solve(
    role: Role,
    codec: Codec,
    problems: Sequence[ChainProblem],
    repeats: int,
    seed: int,
    temperature: float = 0.8,
) -> list[Solved]:
    """Samples every problem ``repeats`` times and checks every step."""
    prompts = [codec.prompt(problem.prompt) for problem in problems]
    rows = [(number, prompt) for number, prompt in enumerate(prompts) for _ in range(repeats)]
    written = sample(
        role.weights,
        role.shape,
        [prompt for _, prompt in rows],
        limit=LIMIT,
        stops=[codec.end],
        temperature=temperature,
        seed=seed,
    )
    solved = []
    for (number, prompt), ids in zip(rows, written, strict=True):
        one = Solved(number, prompt, ids, cut_steps(codec, ids))
        one.checks = check_steps(
            problems[number].chain, [codec.decode(step).strip() for step in one.steps]
        )
        one.correct = answered(codec.decode(ids), problems[number].answer)
        solved.append(one)
    return solved


def answered(text: str, answer: int) -> bool:
    """Whether the last box of a text holds the answer."""
    return text.rpartition("\\boxed{")[2].split("}")[0].strip() == str(answer)


def clustered(values: Sequence[float], groups: Sequence[int]) -> Figure:
    """Mean of shares over problems, with its 95 % interval over problems, cut to [0, 1]."""
    sums: dict[int, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        sums.setdefault(group, []).append(value)
    means = np.array([np.mean(part) for part in sums.values()])
    if means.size < 2:
        return {"value": float(means.mean()) if means.size else None, "low": None, "high": None}
    half = 1.96 * float(means.std(ddof=1)) / means.size**0.5
    value = float(means.mean())
    low, high = max(0.0, value - half), min(1.0, value + half)
    return {"value": value, "low": low, "high": high, "problems": int(means.size)}


def auroc(scores: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float | None:
    """Chance that a wrong step scores above a right one, ties half; None if either is lacking."""
    bad, good = int(wrong.sum()), int((~wrong).sum())
    if bad == 0 or good == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[wrong].sum() - bad * (bad + 1) / 2) / (bad * good))


def auroc_figure(
    scores: Sequence[float], wrong: Sequence[bool], groups: Sequence[int], seed: int = 0
) -> Figure:
    """AUROC pooled, with a bootstrap over problems, and the mean of the AUROCs within problems."""
    value, label = np.asarray(scores, dtype=np.float64), np.asarray(wrong, dtype=np.bool_)
    places: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    parts = [np.array(part) for part in places.values()]
    within = [area for part in parts if (area := auroc(value[part], label[part])) is not None]
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(200):
        drawn = np.concatenate([parts[i] for i in generator.integers(len(parts), size=len(parts))])
        if (area := auroc(value[drawn], label[drawn])) is not None:
            draws.append(area)
    low, high = np.quantile(draws, [0.025, 0.975]) if draws else (None, None)
    return {
        "value": auroc(value, label),
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
        "within_problems": float(np.mean(within)) if within else None,
        "steps": int(label.size),
        "wrong_steps": int(label.sum()),
    }


def accuracy(solved: Sequence[Solved]) -> Figure:
    """pass@1 with its interval, pass@k over all repeats, length, and how samples end."""
    groups = [one.problem for one in solved]
    figure = clustered([float(one.correct) for one in solved], groups)
    best: dict[int, bool] = {}
    for one in solved:
        best[one.problem] = best.get(one.problem, False) or one.correct
    figure["pass_at_all"] = float(np.mean(list(best.values())))
    figure["tokens"] = float(np.mean([len(one.ids) for one in solved]))
    figure["steps"] = float(np.mean([len(one.steps) for one in solved]))
    checks = [check for one in solved for check in one.checks]
    errors = Counter(check.error for check in checks if check.error is not None)
    figure["step_errors"] = sum(errors.values()) / max(1, len(checks))
    figure["errors"] = {kind: count / sum(errors.values()) for kind, count in errors.most_common()}
    figure["reflections"] = float(np.mean([check.kind == "reflection" for check in checks]))
    figure["premature"] = float(
        np.mean([any(check.error == "premature" for check in one.checks) for one in solved])
    )
    figure["unanswered"] = float(
        np.mean([not any(check.kind == "answer" for check in one.checks) for one in solved])
    )
    return figure


def keyword_rates(codec: Codec, solved: Sequence[Solved]) -> Figure:
    """Share of steps that hold a keyword of each class of speculative thinking."""
    counts: Counter[str] = Counter()
    total = 0
    for one in solved:
        for step in one.steps:
            text = codec.decode(step).lower()
            total += 1
            counts.update(
                name for name, words in KEYWORDS.items() if any(word in text for word in words)
            )
    return {name: counts[name] / max(1, total) for name in KEYWORDS}


def nonconformity(target: Role, solved: Sequence[Solved]) -> list[list[float]]:
    """Mean negative log-probability under the target of every step of every sample."""
    sequences = [one.before(len(one.steps)) for one in solved]
    logprobs = log_probabilities(target.weights, target.shape, sequences)
    scores = []
    for one, values in zip(solved, logprobs, strict=True):
        place, row = len(one.prompt) - 1, []
        for step in one.steps:
            row.append(-float(values[place : place + len(step)].mean()))
            place += len(step)
        scores.append(row)
    return scores


def detection(target: Role, solved: Sequence[Solved]) -> Figure:
    """How well the target's perplexity tells the draft's wrong steps."""
    scores = nonconformity(target, solved)
    flat = [
        (value, check.error is not None, one.problem)
        for one, row in zip(solved, scores, strict=True)
        for value, check in zip(row, one.checks, strict=True)
    ]
    return auroc_figure(*zip(*flat, strict=True))  # type: ignore[arg-type]


def judging(target: Role, codec: Codec, solved: Sequence[Solved], seed: int = 0) -> Figure:
    """How well the judge's digit tells wrong steps, on one random step of every second sample.

    The digit is what the target likes best among the ten; the mean digit is over their shares.
    """
    rng = random.Random(seed)
    tail, digits = codec.judge_tail(), list(codec.digits)
    judged = [(one, below(rng, len(one.steps))) for one in solved[::2] if one.steps]
    prompts = [one.before(step + 1) + tail for one, step in judged]
    logits = next_logits(target.weights, target.shape, prompts)
    shares = logits[:, digits].softmax(-1)
    best = logits.argmax(-1)
    greedy = shares.argmax(-1).numpy()
    mean = (shares @ shares.new_tensor(range(10))).numpy()
    wrong = [one.checks[step].error is not None for one, step in judged]
    groups = [one.problem for one, _ in judged]
    return {
        "digit": auroc_figure([-float(digit) for digit in greedy], wrong, groups),
        "mean_digit": auroc_figure([-float(value) for value in mean], wrong, groups),
        "accepted_at_7": clustered([float(digit >= 7) for digit in greedy], groups),
        "not_a_digit": float(np.mean([token not in digits for token in best.tolist()])),
        "histogram": [int((greedy == digit).sum()) for digit in range(10)],
    }


def repairs(
    target: Role,
    codec: Codec,
    problems: Sequence[ChainProblem],
    solved: Sequence[Solved],
    seed: int,
) -> Figure:
    """How often the target's next step undoes the draft's own wrong step.

    Over the first wrong step of every sample that has one; undone means that the target's next step
    leaves over exactly what the wrong step should have.
    """
    cases = []
    for one in solved:
        for number, check in enumerate(one.checks):
            if check.error is not None:
                if check.error in ("operands", "result", "restatement") and check.kind in (
                    "step",
                    "reflection",
                ):
                    cases.append((one, number, check))
                break
    prompts = [one.before(number + 1) for one, number, _ in cases]
    written = sample(
        target.weights,
        target.shape,
        prompts,
        limit=STEP_LIMIT,
        stops=[codec.blank, codec.end],
        seed=seed,
    )
    values, groups, kinds = [], [], []
    for (one, number, check), ids in zip(cases, written, strict=True):
        base = problems[one.problem].chain
        before, now = base, base
        for earlier in one.checks[: number + 1]:
            if earlier.after is not None:
                before = now if earlier.kind == "step" else before
                now = earlier.after
        reply = check_step(before, now, codec.decode(ids))
        values.append(float(reply.after is not None and reply.after == check.expected))
        groups.append(one.problem)
        kinds.append(str(check.error))
    figure = clustered(values, groups)
    figure["cases"] = len(values)
    figure["by_error"] = {
        kind: float(
            np.mean(
                [value for value, of_case in zip(values, kinds, strict=True) if of_case == kind]
            )
        )
        for kind in sorted(set(kinds))
    }
    return figure


def cut_continuation(
    target: Role,
    codec: Codec,
    solved: Sequence[Solved],
    problems: Sequence[ChainProblem],
    seed: int,
) -> Figure:
    """How often the target finishes a right step rightly from a random cut inside it."""
    rng = random.Random(seed)
    cases = []
    for one in solved:
        if any(check.error is not None for check in one.checks) or not one.steps:
            continue
        number = below(rng, len(one.steps))
        if len(one.steps[number]) > 2:
            cases.append((one, number, 1 + below(rng, len(one.steps[number]) - 2)))
    written = sample(
        target.weights,
        target.shape,
        [one.before(number) + one.steps[number][:cut] for one, number, cut in cases],
        limit=STEP_LIMIT,
        stops=[codec.blank, codec.end],
        seed=seed,
    )
    values, groups = [], []
    for (one, number, cut), ids in zip(cases, written, strict=True):
        steps = [codec.decode(step).strip() for step in one.steps[:number]]
        steps.append(codec.decode(one.steps[number][:cut] + ids).removesuffix("<|end|>").strip())
        checks = check_steps(problems[one.problem].chain, steps)
        values.append(float(checks[-1].error is None))
        groups.append(one.problem)
    return clustered(values, groups)
