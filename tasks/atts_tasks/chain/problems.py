"""Chain problems: generated arithmetic with integer answers, for offline tests, demos and training.

A problem is a chain of operations taken from left to right, such as
``Compute 17 + 5 - 8 * 2 + 9 (left to right).`` with the answer 37. Every value on the way is an
integer from 1 to 99. Problems come from a seed, and whether a problem may be trained on is decided
by a hash of its expression, so a training set and a test set cannot meet whatever their seeds are.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from atts_harness.errors import SettingError

Operator = Literal["+", "-", "*"]
Split = Literal["train", "test"]
LevelName = Literal["easy", "hard", "shifted"]

VALUE_MIN, VALUE_MAX = 1, 99
"""Bounds of the start and of every value on the way."""

TEST_SHARE = 0.125
"""Share of all expressions that are held out, by their hash."""

PHRASINGS = (
    "Compute {} (left to right).",
    "Work out {}, from left to right.",
    "What is {}, taken left to right?",
)


@dataclass(frozen=True)
class Level:
    """What the problems of one level are made of.

    Attributes:
        operations: Smallest and largest number of operations.
        addend: Smallest and largest operand of ``+`` and ``-``.
        factor: Smallest and largest operand of ``*``.
    """

    operations: tuple[int, int]
    addend: tuple[int, int]
    factor: tuple[int, int]


LEVELS: dict[LevelName, Level] = {
    "easy": Level(operations=(2, 4), addend=(1, 19), factor=(2, 5)),
    "hard": Level(operations=(5, 7), addend=(1, 19), factor=(2, 5)),
    "shifted": Level(operations=(7, 9), addend=(10, 39), factor=(2, 9)),
}

MIXTURES: dict[str, tuple[LevelName, ...]] = {
    "easy": ("easy",),
    "hard": ("hard",),
    "shifted": ("shifted",),
    "mixed": ("easy", "hard"),
}
"""What a list of problems may be asked for; a mixture takes its levels in turn."""


@dataclass(frozen=True)
class Chain:
    """A value and the operations still to be done on it, from left to right."""

    start: int
    operations: tuple[tuple[Operator, int], ...] = ()

    def __str__(self) -> str:
        """The canonical text, for example ``17 + 5 - 8 * 2``."""
        return str(self.start) + "".join(f" {op} {operand}" for op, operand in self.operations)

    def step(self) -> Chain:
        """The chain after its first operation is done; itself if none is left."""
        if not self.operations:
            return self
        (op, operand), *rest = self.operations
        return Chain(apply(op, self.start, operand), tuple(rest))

    def answer(self) -> int:
        """The value after all operations."""
        chain = self
        while chain.operations:
            chain = chain.step()
        return chain.start


@dataclass(frozen=True)
class ChainProblem:
    """One problem: what is asked, and what is right."""

    chain: Chain
    prompt: str
    answer: int
    level: LevelName


def apply(op: Operator, left: int, right: int) -> int:
    """``left op right`` for one of the three operators."""
    if op == "+":
        return left + right
    return left - right if op == "-" else left * right


_CHAIN = re.compile(r"\d{1,3}(?: [-+*] \d{1,3})*")
_OPERATION = re.compile(r" ([-+*]) (\d+)")


def parse_chain(text: str) -> Chain | None:
    """The chain that ``text`` spells in canonical form, or None if it spells none."""
    if not _CHAIN.fullmatch(text):
        return None
    start = int(text.split(" ", 1)[0])
    operations = _OPERATION.findall(text)
    return Chain(start, tuple((op, int(operand)) for op, operand in operations))


def split_of(chain: Chain) -> Split:
    """The split that a chain belongs to, decided by a hash of its canonical text alone."""
    digest = hashlib.sha256(str(chain).encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") < TEST_SHARE * 2**32 else "train"


def below(rng: random.Random, count: int) -> int:
    """A uniform integer in [0, count).

    Python promises the same numbers in every version for ``Random.random`` only, so every draw
    goes through it.
    """
    return int(rng.random() * count)


def draw_problem(rng: random.Random, level: LevelName, split: Split) -> ChainProblem:
    """One problem of a level and a split, drawn from ``rng``; the same state gives the same one."""
    while True:
        chain = _draw_chain(rng, LEVELS[level])
        if chain is not None and split_of(chain) == split:
            break
    prompt = PHRASINGS[below(rng, len(PHRASINGS))].format(chain)
    return ChainProblem(chain, prompt, chain.answer(), level)


def _draw_chain(rng: random.Random, level: Level) -> Chain | None:
    """A chain of a level, or None where no operation keeps the value inside the bounds."""
    low, high = level.operations
    count = low + below(rng, high - low + 1)
    value = start = VALUE_MIN + below(rng, VALUE_MAX - VALUE_MIN + 1)
    operations: list[tuple[Operator, int]] = []
    while len(operations) < count:
        op: Operator = ("+", "+", "-", "-", "*")[below(rng, 5)]
        first, last = level.factor if op == "*" else level.addend
        if op == "*":
            last = min(last, VALUE_MAX // value)
        elif op == "+":
            last = min(last, VALUE_MAX - value)
        else:
            last = min(last, value - VALUE_MIN)
        if first > last:
            if not _can_go_on(value, level):
                return None
            continue
        operand = first + below(rng, last - first + 1)
        operations.append((op, operand))
        value = apply(op, value, operand)
    return Chain(start, tuple(operations))


def _can_go_on(value: int, level: Level) -> bool:
    addend, factor = level.addend[0], level.factor[0]
    return value + addend <= VALUE_MAX or value - addend >= VALUE_MIN or value * factor <= VALUE_MAX


def iter_problems(mixture: str, split: Split, seed: int = 0) -> Iterator[ChainProblem]:
    """Endless problems without repetition, the same for the same arguments.

    Args:
        mixture: ``easy``, ``hard``, ``shifted``, or ``mixed`` (easy and hard in turn).
        split: ``train`` or ``test``.
        seed: Any integer. A longer list from the same seed starts with the shorter one.

    Raises:
        SettingError: If the mixture or the split is unknown.
    """
    if mixture not in MIXTURES:
        raise SettingError(f"level: {mixture!r} is not one of {', '.join(MIXTURES)}")
    if split not in ("train", "test"):
        raise SettingError(f"split: {split!r} is neither 'train' nor 'test'")
    levels = MIXTURES[mixture]
    rng = random.Random(f"{mixture}/{split}/{seed}")
    drawn: set[Chain] = set()
    while True:
        problem = draw_problem(rng, levels[len(drawn) % len(levels)], split)
        if problem.chain not in drawn:
            drawn.add(problem.chain)
            yield problem


def make_problems(mixture: str, split: Split, count: int, seed: int = 0) -> list[ChainProblem]:
    """The first ``count`` problems of `iter_problems`."""
    if count < 0:
        raise SettingError(f"num_problems: {count} is negative; ask for at least one problem")
    stream = iter_problems(mixture, split, seed)
    return [next(stream) for _ in range(count)]
