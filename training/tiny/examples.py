"""Training examples: right solutions, spoiled steps with their repair, judging turns, drills.

Every example is token ids with a weight for each: 0 keeps a token out of the loss (prompts, and the
wrong part of a spoiled step, so that nobody learns to be wrong), results count most.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from atts_tasks.chain.problems import (
    LEVELS,
    VALUE_MAX,
    VALUE_MIN,
    Chain,
    ChainProblem,
    LevelName,
    Operator,
    apply,
    below,
    draw_problem,
)

from training.tiny import language
from training.tiny.tokenizer import END, SYSTEM_PROMPT, Codec

RESULT, COPY, START, REPAIR, PLAIN, DIGIT, SILENT = 3.0, 2.5, 2.0, 5.0, 1.0, 15.0, 0.0
"""Loss weights: a result, a restatement of the prompt (done once in a solution: learnt last), the
first token of a step, that of a repair (to doubt once too often costs little), any other token,
a judge's digit (one token in a hundred: it has to weigh as much as a step), and what stays out of
the loss."""

RIGHT, WRONG, UNKNOWN = 0.0, 1.0, -1.0
"""Flags of a token: it follows from what stands before it, it does not, or nothing is said."""


@dataclass(frozen=True)
class Diet:
    """What a model is fed.

    Attributes:
        levels: Share of each level among the problems.
        spoiled: Chance that a step of a problem is spoiled (and then repaired).
        doubt: Chance of a reflection after a right step.
        judged: Share of examples that end in a judging turn.
        drills: Share of examples that are bare arithmetic.
        sure: Whether a judge gives what is wrong mostly one digit. Spread over several, none of
            them becomes its likeliest one before it is very sure.
    """

    levels: dict[LevelName, float]
    spoiled: float
    doubt: float
    judged: float
    drills: float
    sure: bool = False


DRAFT_DIET = Diet({"easy": 0.4, "hard": 0.55, "shifted": 0.05}, 0.06, 0.10, 0.0, 0.0)
TARGET_DIET = Diet({"easy": 0.35, "hard": 0.55, "shifted": 0.1}, 0.12, 0.07, 0.25, 0.06)


@dataclass
class Example:
    """Token ids, the weight of each in the loss, and whether each is right (see `WRONG`)."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    flags: list[float] = field(default_factory=list)

    def add(
        self,
        ids: tuple[int, ...] | list[int],
        weight: float,
        first: float | None = None,
        *,
        flag: float = UNKNOWN,
    ) -> None:
        """Appends ids of one weight and flag; ``first`` is the weight of the first of them."""
        self.ids.extend(ids)
        self.weights.extend([weight] * len(ids))
        self.flags.extend([flag] * len(ids))
        if first is not None and ids:
            self.weights[-len(ids)] = first

    def claim(self, ids: tuple[int, ...] | list[int], weight: float, good: bool) -> None:
        """Appends ids that are right or wrong; wrong ones stay out of the loss."""
        self.add(ids, weight if good else SILENT, flag=RIGHT if good else WRONG)


@dataclass(frozen=True)
class Written:
    """A step as written: what it claims, which may be wrong."""

    left: int
    op: Operator
    right: int
    result: int
    rest: Chain


def pick(rng: random.Random, shares: dict[LevelName, float]) -> LevelName:
    """A level by its share."""
    levels = list(shares)
    place, passed = rng.random() * sum(shares.values()), 0.0
    for level in levels[:-1]:
        passed += shares[level]
        if place < passed:
            return level
    return levels[-1]


def right_step(base: Chain) -> Written:
    """The step that is right on ``base``."""
    (op, operand) = base.operations[0]
    after = base.step()
    return Written(base.start, op, operand, after.start, after)


def spoil_step(rng: random.Random, base: Chain) -> Written:
    """A wrong step on ``base``: a wrong result (60 %), restatement (28 %) or operand (12 %)."""
    step = right_step(base)
    while True:
        kind = rng.random()
        if kind < 0.60:
            result = _wrong_number(rng, step.result)
            wrong = Written(
                step.left, step.op, step.right, result, Chain(result, step.rest.operations)
            )
        elif kind < 0.88:
            wrong = Written(
                step.left, step.op, step.right, step.result, _spoil_chain(rng, step.rest)
            )
        else:
            right = _wrong_number(rng, step.right)
            result = apply(step.op, step.left, right)
            wrong = Written(step.left, step.op, right, result, Chain(result, step.rest.operations))
        if wrong != step and _fits(wrong.result) and _fits(wrong.rest.start):
            return wrong


def _fits(value: int) -> bool:
    return VALUE_MIN <= value <= VALUE_MAX


def _wrong_number(rng: random.Random, value: int) -> int:
    """A number near ``value``: off by one mostly, as a half-trained model's mistakes are."""
    shift = (1, 1, 1, 1, 1, 2, 2, 3, 10, 4 + below(rng, 6))[below(rng, 10)]
    return max(0, min(VALUE_MAX, value + (shift if rng.random() < 0.5 else -shift)))


def _spoil_chain(rng: random.Random, chain: Chain) -> Chain:
    """A wrong copy: a changed, lost, doubled or exchanged operation, or a changed head."""
    operations = list(chain.operations)
    if not operations or rng.random() < 0.2:
        return Chain(_wrong_number(rng, chain.start), chain.operations)
    place = below(rng, len(operations))
    op, operand = operations[place]
    kind = below(rng, 6)
    if kind <= 1:
        operations[place] = (op, max(1, _wrong_number(rng, operand)))
    elif kind == 2:
        operations[place] = (("+", "-", "*")[below(rng, 3)], operand)
    elif kind == 3:
        del operations[place]
    elif kind == 4:
        operations.insert(place, (op, operand))
    else:
        other = below(rng, len(operations))
        operations[place], operations[other] = operations[other], operations[place]
    return Chain(chain.start, tuple(operations))


class Writer:
    """Writes one solution as an example, step by step."""

    def __init__(self, rng: random.Random, codec: Codec, problem: ChainProblem) -> None:
        self.rng, self.codec = rng, codec
        self.problem = problem
        self.now = self.before = problem.chain
        self.example = Example()
        system = SYSTEM_PROMPT if rng.random() < 0.03 else None
        self.example.add(codec.prompt(problem.prompt, system), SILENT)
        self.connective = self.one_of(language.CONNECTIVES)
        self.steps = 0
        self.agreed = False

    def one_of(self, options: tuple[str, ...]) -> str:
        """One of the options, uniformly."""
        return options[below(self.rng, len(options))]

    def step(self, spoil: bool = False) -> Written:
        """The next step, right or spoiled."""
        head = ""
        if self.agreed and self.rng.random() < 0.6:
            head = language.YES
        elif self.rng.random() < 0.15:
            head = self.one_of(language.NEXT_HEADS if self.steps else language.FIRST_HEADS)
        self.before = self.now
        written = self._write(head, self.now, spoil)
        self.now, self.agreed = written.rest, False
        return written

    def reflect(self, after_error: bool, spoil: bool = False) -> Written:
        """The last step again."""
        draw = self.rng.random()
        if draw < 0.06:
            head = language.CUE
        elif after_error:
            head = language.REFLECTIONS[_place(draw, (0.6, 0.8, 0.9))]
        else:
            head = language.REFLECTIONS[(1, 2, 0, 3)[_place(draw, (0.5, 0.75, 0.9))]]
        written = self._write(head, self.before, spoil, REPAIR if after_error else START)
        self.agreed = written.rest == self.now
        self.now = written.rest
        return written

    def _write(self, head: str, base: Chain, spoil: bool, first: float = START) -> Written:
        step = spoil_step(self.rng, base) if spoil else right_step(base)
        truth = right_step(base)
        add, encode = self.example.add, self.codec.encode
        start = len(self.example.ids)
        add(encode(head) if head else (), PLAIN, flag=RIGHT)
        add(encode(str(step.left)), PLAIN, flag=RIGHT)
        add(encode(f" {step.op} "), PLAIN, flag=RIGHT)
        self.example.claim(encode(str(step.right)), PLAIN, step.right == truth.right)
        add(encode(" = "), PLAIN, flag=RIGHT)
        good = apply(step.op, step.left, step.right) == step.result
        self.example.claim(encode(str(step.result)), RESULT, good)
        add(encode(self.connective), PLAIN, flag=RIGHT)
        copied = Chain(step.result, truth.rest.operations)
        rest, right = self._chain_ids(step.rest), self._chain_ids(copied)
        same = next((i for i, (a, b) in enumerate(zip(rest, right, strict=False)) if a != b), None)
        same = min(len(rest), len(right)) if same is None else same
        whole = rest == right
        add(rest[:same], COPY if base == self.problem.chain else PLAIN, flag=RIGHT)
        add(rest[same : same + 1], SILENT, flag=WRONG)
        add(rest[same + 1 :], SILENT)
        if whole or same == len(rest):
            self.example.claim(encode("."), PLAIN, whole)
        else:
            add(encode("."), SILENT)
        add(encode(language.BLANK), PLAIN, flag=RIGHT if step == truth else WRONG)
        self.example.weights[start] = first
        self.steps += 1
        return step

    def _chain_ids(self, chain: Chain) -> list[int]:
        ids = list(self.codec.encode(str(chain.start)))
        for op, operand in chain.operations:
            ids.extend(self.codec.encode(f" {op} "))
            ids.extend(self.codec.encode(str(operand)))
        return ids

    def close(self, wrong: bool = False) -> None:
        """Ends the thinking part; rarely without its tag, which some strategies delete."""
        value = _wrong_number(self.rng, self.now.start) if wrong else self.now.start
        closing = self.one_of(language.CLOSINGS).split("{}")
        add, encode = self.example.add, self.codec.encode
        add(encode(closing[0]), PLAIN, START)
        self.example.claim(encode(str(value)), PLAIN, value == self.now.start)
        add(encode(closing[1]), PLAIN)
        draw = self.rng.random()
        if draw < 0.06:
            add(encode("\n" + language.BLANK if draw < 0.03 else language.BLANK), SILENT)
        else:
            add(encode("\n" + language.THINK_CLOSE + language.BLANK), PLAIN)

    def answer(self, wrong: bool = False, end: bool = True) -> None:
        """The answer part."""
        value = _wrong_number(self.rng, self.now.start) if wrong else self.now.start
        add, encode = self.example.add, self.codec.encode
        head, tail = self.one_of(language.ANSWERS).format("\0").split("\0")
        add(encode(head), PLAIN, START)
        self.example.claim(encode(str(value)), PLAIN, value == self.now.start)
        add(encode(tail), PLAIN)
        if end:
            add(encode(END), PLAIN)

    def judge(self, digit: int) -> None:
        """A judging turn about the last step."""
        self.example.add(self.codec.judge_tail(), SILENT)
        self.example.add([self.codec.digits[digit]], DIGIT)
        self.example.add(self.codec.encode(END), PLAIN)


def _place(draw: float, bounds: tuple[float, ...]) -> int:
    return sum(draw >= bound for bound in bounds)


def score_of(
    rng: random.Random, error: language.Error | None, distance: int = 0, *, sure: bool = False
) -> int:
    """The digit a judge should give: 8-9 if right, 0-3 if wrong, least for the plain mistakes."""
    if error is None:
        return 9 if rng.random() < 0.75 else 8
    if sure:
        return 1 if rng.random() < 0.75 else 0
    if error in ("premature", "form") or (error == "result" and distance > 2):
        return below(rng, 2)
    return 1 + below(rng, 3)


def solution(rng: random.Random, codec: Codec, diet: Diet, problem: ChainProblem) -> Example:
    """A whole solution, or its beginning with a judging turn."""
    writer = Writer(rng, codec, problem)
    judged = rng.random() < diet.judged
    cut = 1 + below(rng, len(problem.chain.operations) + 2) if judged else 0
    return carry_on(writer, diet, cut)


def carry_on(writer: Writer, diet: Diet, cut: int = 0) -> Example:
    """Writes what is left of a solution, up to the answer or to a judging turn.

    Args:
        writer: A solution that has been begun, or not.
        diet: How often steps are spoiled and doubted.
        cut: The step, counted from here, after which a judging turn ends the example; 0 for none.
            The closing and the answer count too.
    """
    rng, count = writer.rng, len(writer.now.operations)
    spoilable = rng.random() < 0.7
    for number in range(1, count + 1):
        last = number == cut
        spoil = (last and rng.random() < 0.5) or (spoilable and rng.random() < diet.spoiled)
        written = writer.step(spoil)
        again = 0
        while not last and (spoil or rng.random() < diet.doubt):
            spoil, wrong = rng.random() < (0.15 if again else 0.05), spoil
            again += 1
            written = writer.reflect(wrong, spoil)
        if last:
            if not spoil and rng.random() < 0.15:
                spoil = rng.random() < 0.4
                written = writer.reflect(False, spoil)
            writer.judge(_digit(rng, writer.before, written, diet.sure))
            return writer.example
    wrong = cut > 0 and rng.random() < 0.4
    writer.close(wrong and cut == count + 1)
    if cut != count + 1:
        writer.answer(wrong, end=not cut)
    if cut:
        writer.judge(score_of(rng, "restatement" if wrong else None, sure=diet.sure))
    return writer.example


def _digit(rng: random.Random, base: Chain, step: Written, sure: bool) -> int:
    truth = right_step(base)
    if step == truth:
        return score_of(rng, None)
    if step.right == truth.right and step.result != truth.result:
        return score_of(rng, "result", abs(step.result - truth.result), sure=sure)
    return score_of(rng, "restatement", sure=sure)


def drill(rng: random.Random, codec: Codec, diet: Diet) -> Example:
    """Bare operations, as many as a short solution has tokens."""
    example = Example()
    while len(example.ids) < 90:
        level = LEVELS[pick(rng, diet.levels)]
        op: Operator = ("+", "-", "*")[below(rng, 3)]
        low, high = level.factor if op == "*" else level.addend
        left, right = 1 + below(rng, VALUE_MAX), low + below(rng, high - low + 1)
        result = apply(op, left, right)
        if not _fits(result):
            continue
        example.add(codec.encode(f"{left} {op} {right} = "), SILENT)
        example.add(codec.encode(str(result)), RESULT)
        example.add(codec.encode(language.BLANK), SILENT)
    return example


def draw_example(rng: random.Random, codec: Codec, diet: Diet) -> Example:
    """One example of a diet; problems are of the training split."""
    if rng.random() < diet.drills:
        return drill(rng, codec, diet)
    return solution(rng, codec, diet, draw_problem(rng, pick(rng, diet.levels), "train"))
