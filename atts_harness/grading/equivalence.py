r"""Whether an answer equals the gold: one deterministic grader for every task and strategy.

Equality is mathematical and exact; what is forgiven is spelling. Order counts in tuples and does
not in sets and among several answers; a unit, a base or `x=` may be missing, not contradicted;
17% is 17 or 0.17; a decimal stands for a number it does not equal only from six places on, rounded
or cut, or within the tolerance that the task's row states.

`fast` decides most pairs by text and exact rationals. `decide` goes on to computer algebra, which
may run for ever: call it in a worker (`atts_harness.grading.workers`), not in a process that
must live.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import msgspec

from atts_harness.grading.extraction import Kind, letter_of
from atts_harness.grading.normalise import decimals, normalise, rational
from atts_harness.grading.structure import Interval, Leaf, Many, Node, parse

APPROXIMATE_FROM = 6
"""Decimal places from which a decimal may stand for a number that it does not equal."""

MOST_UNORDERED = 40
"""Items of a set that are matched in any order; longer ones (no gold is) must keep the order."""


class Gold(msgspec.Struct, frozen=True):
    """A right answer and what the task's row says about it.

    Attributes:
        text: LaTeX or plain; for `choice` the letter.
        kind: what is asked for.
        several: the row says that there are several answers; commas separate, order is free.
        tolerance: absolute error that the row allows for numbers.
        unit: the unit that the row states.
    """

    text: str
    kind: Kind = "maths"
    several: bool = False
    tolerance: float | None = None
    unit: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What grading found.

    Attributes:
        right: the answer equals the gold.
        error: why no comparison was possible (`timeout`, `crash`, `too long`, an exception's
            name); graded wrong and counted apart. None if grading worked.
    """

    right: bool
    error: str | None = None


RIGHT = Verdict(True)
WRONG = Verdict(False)

Truth = bool | None
LeafTest = Callable[[Leaf, Leaf, Gold], Truth]


def fast(answer: str, gold: Gold) -> Verdict | None:
    """Decide without computer algebra.

    Args:
        answer: extracted answer.
        gold: what it should be.

    Returns:
        A verdict, or None if only computer algebra can tell.
    """
    return _compare(answer, gold, leaf_by_text)


def decide(answer: str, gold: Gold) -> Verdict:
    """Decide, with computer algebra where text is not enough; may run without bound.

    Args:
        answer: extracted answer.
        gold: what it should be.

    Returns:
        A verdict; an exception of the algebra system becomes its `error`.
    """
    verdict = fast(answer, gold)
    if verdict is not None:
        return verdict
    from atts_harness.grading.symbolic import leaf_by_algebra

    try:
        verdict = _compare(answer, gold, leaf_by_algebra)
    except Exception as error:  # anything at all can come out of a parser fed by a model
        return Verdict(False, f"exception: {type(error).__name__}")
    return verdict or WRONG


def _compare(answer: str, gold: Gold, leaf: LeafTest) -> Verdict | None:
    if gold.kind == "choice":
        letter = letter_of(answer)
        return Verdict(letter is not None and letter == letter_of(gold.text))
    try:
        given = normalise(answer, gold.unit)
    except ValueError:
        return Verdict(False, "too long")
    wanted = normalise(gold.text, gold.unit)
    if given == wanted:
        return RIGHT if given else WRONG
    if not given:
        return WRONG
    truth = _same(
        parse(given, several=gold.several), parse(wanted, several=gold.several), gold, leaf
    )
    return None if truth is None else Verdict(truth)


def _same(given: Node, wanted: Node, gold: Gold, leaf: LeafTest) -> Truth:
    """Compare shapes; None means that a leaf could not be decided."""
    if isinstance(given, Many) and len(given.items) == 1 and not isinstance(wanted, Many):
        return _same(given.items[0], wanted, gold, leaf)
    if isinstance(wanted, Many) and len(wanted.items) == 1 and not isinstance(given, Many):
        return _same(given, wanted.items[0], gold, leaf)
    if isinstance(wanted, Leaf):
        if isinstance(given, Many) and given.kind in ("list", "set") and given.items:
            return _all(_same(item, wanted, gold, leaf) for item in given.items)
        return leaf(given, wanted, gold) if isinstance(given, Leaf) else False
    if isinstance(given, Leaf):
        return False
    if isinstance(wanted, Interval):
        return _same_interval(given, wanted, gold, leaf)
    ordered = wanted.kind == "tuple" or _names_differ(wanted.items)
    items = _items_as(given, wanted.kind)
    if items is None:
        return False
    if ordered:
        return _in_order(items, wanted.items, gold, leaf)
    return _in_any_order(_distinct(items), _distinct(wanted.items), gold, leaf)


def _same_interval(given: Interval | Many, wanted: Interval, gold: Gold, leaf: LeafTest) -> Truth:
    if isinstance(given, Interval):
        if (given.opening, given.closing) != (wanted.opening, wanted.closing):
            return False
        items: tuple[Node, ...] = (given.low, given.high)
    elif (wanted.opening, wanted.closing) == ("(", ")") and given.kind in ("tuple", "list"):
        items = given.items
    else:
        return False
    return _in_order(items, (wanted.low, wanted.high), gold, leaf)


def _items_as(given: Interval | Many, kind: str) -> tuple[Node, ...] | None:
    """The answer's items if its shape may stand for `kind`."""
    if isinstance(given, Interval):
        square = (given.opening, given.closing) == ("[", "]")
        round_ = (given.opening, given.closing) == ("(", ")")
        pair = kind == "tuple" or kind == "list"
        return (given.low, given.high) if pair and (square or round_) else None
    allowed = {
        "tuple": ("tuple", "list"),
        "list": ("list", "set", "tuple", "union"),
        "set": ("set", "list"),
        "union": ("union", "list"),
    }
    return given.items if given.kind in allowed[kind] else None


def _names_differ(items: Sequence[Node]) -> bool:
    names = [item.name for item in items if isinstance(item, Leaf) and item.name]
    return len(names) == len(items) and len(set(names)) == len(names) > 1


def _distinct(items: Sequence[Node]) -> list[Node]:
    return list(dict.fromkeys(items))


def _in_order(given: Sequence[Node], wanted: Sequence[Node], gold: Gold, leaf: LeafTest) -> Truth:
    if len(given) != len(wanted):
        return False
    if _names_differ(wanted) and _names_differ(given):
        by_name = {item.name: item for item in given if isinstance(item, Leaf)}
        names = [item.name for item in wanted if isinstance(item, Leaf)]
        if set(names) == set(by_name):
            given = [by_name[name] for name in names]
    return _all(_same(a, b, gold, leaf) for a, b in zip(given, wanted, strict=True))


def _all(truths: Iterable[Truth]) -> Truth:
    unknown = False
    for truth in truths:
        if truth is False:
            return False
        unknown |= truth is None
    return None if unknown else True


def _in_any_order(
    given: Sequence[Node], wanted: Sequence[Node], gold: Gold, leaf: LeafTest
) -> Truth:
    """A perfect matching among pairs that are equal; None if undecided pairs could complete it."""
    if len(given) != len(wanted):
        return False
    if len(wanted) > MOST_UNORDERED:
        return _in_order(given, wanted, gold, leaf)
    known: dict[tuple[int, int], Truth] = {}

    def edge(i: int, j: int, hopeful: bool) -> bool:
        if (i, j) not in known:
            known[i, j] = _same(given[i], wanted[j], gold, leaf)
        truth = known[i, j]
        return hopeful if truth is None else truth

    def matched(hopeful: bool) -> bool:
        partner: dict[int, int] = {}

        def place(i: int, tried: set[int]) -> bool:
            for j in range(len(wanted)):
                if j not in tried and edge(i, j, hopeful):
                    tried.add(j)
                    if j not in partner or place(partner[j], tried):
                        partner[j] = i
                        return True
            return False

        return all(place(i, set()) for i in range(len(given)))

    if matched(hopeful=False):
        return True
    return None if matched(hopeful=True) else False


_BASED = re.compile(r"\(?([0-9A-F]+)\)?_(?:\{?(\d{1,2})\}?)")
_WORDS = re.compile(r"\(?[A-Za-z]+\)?")
_PROSE = re.compile(r"[A-Za-z'’.,()-]{8,}")


def leaf_by_text(given: Leaf, wanted: Leaf, gold: Gold) -> Truth:
    """Compare two expressions by text and exact rationals.

    Args:
        given: of the answer.
        wanted: of the gold.
        gold: tolerance.

    Returns:
        Whether they are equal, or None if text cannot tell.
    """
    if given.text == wanted.text:
        return True
    based = _BASED.fullmatch(wanted.text)
    if based is not None:
        return _same_based(given.text, based.group(1), based.group(2))
    a, b = rational(given.text), rational(wanted.text)
    if a is not None and b is not None:
        return _same_rational(given.text, a, wanted.text, b, gold.tolerance)
    if _WORDS.fullmatch(given.text) and _WORDS.fullmatch(wanted.text):
        one, two = given.text.strip("()").lower(), wanted.text.strip("()").lower()
        if len(one) > 1 and one == two:
            return True
    if _PROSE.fullmatch(given.text) and not given.relation:
        return False
    return None


def _same_based(given: str, digits: str, base: str) -> bool:
    match = _BASED.fullmatch(given)
    if match is not None:
        return (match.group(1).lstrip("0"), match.group(2)) == (digits.lstrip("0"), base)
    return given.lstrip("0") == digits.lstrip("0")


def _same_rational(
    given: str,
    a: tuple[Fraction, bool],
    wanted: str,
    b: tuple[Fraction, bool],
    tolerance: float | None,
) -> bool:
    (x, x_percent), (y, y_percent) = a, b
    candidates = [x]
    if x_percent != y_percent:
        candidates.append(x / 100 if x_percent else x * 100)
    if tolerance is not None:
        return any(abs(c - y) <= Fraction(str(tolerance)) for c in candidates)
    if any(c == y for c in candidates):
        return True
    places = decimals(given.removesuffix("%"))
    exact_gold = decimals(wanted.removesuffix("%")) is not None
    return not exact_gold and stands_for(x, places, y)


def stands_for(decimal: Fraction, places: int | None, number: Fraction) -> bool:
    """Whether a decimal is a number rounded or cut to its `places`, and has enough of them.

    Args:
        decimal: the decimal.
        places: its decimal places, None if it is no plain decimal.
        number: what it may stand for, exact or to more places than `decimal`.
    """
    if places is None or places < APPROXIMATE_FROM or decimal == 0:
        return False
    unit = Fraction(1, 10**places)
    rounded = abs(decimal - number) <= unit / 2
    cut = 0 <= (number - decimal) * (1 if number > 0 else -1) < unit
    return rounded or cut
