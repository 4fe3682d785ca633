"""A draft's own mistakes, and what the target learns from them.

Injected mistakes are not like a draft's: nearly all of a draft's are off by one, and in one place.
A target that has only seen injected ones repairs few of a draft's, so a draft is sampled on
training problems and the target goes on from what it wrote, mistakes masked from the loss.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import islice

from atts_tasks.chain.problems import Chain, ChainProblem, iter_problems

from training.tiny import language
from training.tiny.examples import (
    PLAIN,
    RIGHT,
    SILENT,
    START,
    WRONG,
    Diet,
    Example,
    Writer,
    carry_on,
    score_of,
)
from training.tiny.measure import Role, Solved, solve
from training.tiny.tokenizer import Codec


@dataclass(frozen=True)
class Case:
    """A draft's solution up to a step, and what is known of that step.

    Attributes:
        problem: The problem it belongs to.
        steps: Ids of the steps; the last is the one in question, all before it are right.
        before: What was left over before the last step.
        after: What the last step leaves over.
        error: What is wrong with the last step, or None.
        distance: How far off the last step's result is.
        judged: Whether it is there to be judged only: steps before the last may be wrong too, and
            the last may be the closing or the answer.
    """

    problem: ChainProblem
    steps: tuple[tuple[int, ...], ...]
    before: Chain
    after: Chain
    error: language.Error | None
    distance: int
    judged: bool = False


def collect_cases(
    draft: Role, codec: Codec, problems: int, seed: int, *, judged: bool = False
) -> list[Case]:
    """Samples the draft once on each of so many training problems and keeps what can teach.

    Every sample gives a case that ends in its first wrong step, if it has one, and one that ends in
    a right step before that.

    Args:
        draft: The model.
        codec: The pair's tokenizer.
        problems: How many.
        seed: Of problems and samples.
        judged: Whether it gives one to be judged too, that ends in any of its steps.
    """
    rng = random.Random(seed)
    easy = list(islice(iter_problems("easy", "train", seed), problems * 4 // 10))
    hard = list(islice(iter_problems("hard", "train", seed), problems * 5 // 10))
    shifted = list(islice(iter_problems("shifted", "train", seed), problems // 10))
    problems_of_all = easy + hard + shifted
    cases: list[Case] = []
    for one in solve(draft, codec, problems_of_all, 1, seed):
        cases.extend(_cases_of(rng, problems_of_all[one.problem], one))
        if judged and one.steps:
            cases.append(_any_of(rng, problems_of_all[one.problem], one))
    return cases


def _any_of(rng: random.Random, problem: ChainProblem, one: Solved) -> Case:
    place = int(rng.random() * len(one.steps))
    before = now = problem.chain
    for check in one.checks[:place]:
        if check.after is not None:
            before = now if check.kind == "step" else before
            now = check.after
    check = one.checks[place]
    return Case(
        problem,
        tuple(tuple(step) for step in one.steps[: place + 1]),
        before if check.kind == "reflection" else now,
        check.after or now,
        check.error,
        abs(check.after.start - check.expected.start) if check.after and check.expected else 0,
        judged=True,
    )


def _cases_of(rng: random.Random, problem: ChainProblem, one: Solved) -> list[Case]:
    before = now = problem.chain
    right: list[Case] = []
    steps: list[tuple[int, ...]] = []
    for ids, check in zip(one.steps, one.checks, strict=True):
        if check.kind not in ("step", "reflection") or check.after is None:
            break
        if check.error == "form" or check.expected is None:
            break
        steps.append(tuple(ids))
        base = now if check.kind == "step" else before
        distance = abs(check.after.start - check.expected.start)
        case = Case(problem, tuple(steps), base, check.after, check.error, distance)
        if check.error is not None:
            return [case, *_one_of(rng, right)]
        right.append(case)
        before, now = base, check.after
    return _one_of(rng, right)


def _one_of(rng: random.Random, cases: list[Case]) -> list[Case]:
    return [cases[int(rng.random() * len(cases))]] if cases else []


def balanced(cases: list[Case]) -> list[Case]:
    """Cases over and over: each kind of mistake as often, right steps as often as mistakes."""
    kinds: dict[str, list[Case]] = {}
    for case in cases:
        kinds.setdefault(case.error or "none", []).append(case)
    common = [kind for kind in ("result", "restatement", "operands") if kind in kinds]
    most = max(len(kinds[kind]) for kind in common)
    counts = {"none": most * len(common)} | dict.fromkeys(common, most)
    return [
        of_kind[place % len(of_kind)]
        for kind, of_kind in kinds.items()
        for place in range(counts.get(kind, len(of_kind)))
    ]


def case_example(
    rng: random.Random, codec: Codec, diet: Diet, case: Case, *, locate: bool = False
) -> Example:
    """What the target should do after a case: judge it, or repair it (if wrong) and carry on.

    Args:
        rng: Of what is left open.
        codec: The pair's tokenizer.
        diet: How often it judges, spoils and doubts.
        case: The case.
        locate: Whether the tokens of a wrong step are flagged up to the first wrong one; else its
            end alone is.
    """
    writer = Writer(rng, codec, case.problem)
    far = case.distance if case.error == "result" else 0
    if case.judged:
        for ids in case.steps:
            writer.example.add(ids, SILENT)
        writer.example.flags[-1] = RIGHT if case.error is None else WRONG
        writer.judge(score_of(rng, case.error, far, sure=diet.sure))
        return writer.example
    for ids in case.steps[:-1]:
        writer.example.add(ids, PLAIN, START, flag=RIGHT)
    wrong = case.error is not None
    if wrong:
        same = first_mistake(codec, case) if locate else 0
        writer.example.add(case.steps[-1][:same], SILENT, flag=RIGHT)
        writer.example.add(case.steps[-1][same:], SILENT)
        if locate and same < len(case.steps[-1]):
            writer.example.flags[same - len(case.steps[-1])] = WRONG
        writer.example.flags[-1] = WRONG
    else:
        writer.example.add(case.steps[-1], PLAIN, START, flag=RIGHT)
    if rng.random() < diet.judged:
        writer.judge(score_of(rng, case.error, far, sure=diet.sure))
        return writer.example
    writer.steps, writer.before, writer.now = len(case.steps), case.before, case.after
    text = codec.decode(list(case.steps[-1]))
    writer.connective = next(
        (word for word in language.CONNECTIVES if word in text), writer.connective
    )
    if wrong:
        writer.reflect(after_error=True)
    return carry_on(writer, diet)


def first_mistake(codec: Codec, case: Case) -> int:
    """How many tokens of a case's last step are as they would be in the right step."""
    written = case.steps[-1]
    right = codec.encode(language.corrected(codec.decode(list(written)), case.before))
    pairs = zip(written, right, strict=False)
    end = min(len(written), len(right))
    return next((place for place, (ours, good) in enumerate(pairs) if ours != good), end)
