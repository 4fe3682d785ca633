"""What an answer can be: a small tree of typed nodes, made by `answers.read`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from atts_harness.grading.units import Unit


@dataclass(frozen=True, slots=True)
class Num:
    """A number as written; exact.

    Attributes:
        value: the rational number; 0.1 is 1/10.
        places: decimal places of a plain decimal, None for whole and repeating ones.
        digits: significant digits that were written.
    """

    value: Fraction
    places: int | None = None
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Name:
    r"""A variable (`x`, `x_1`, `\alpha`) or a constant (`pi`, `e`, `i`, `oo`)."""

    text: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation.

    Attributes:
        head: `+ * / ^ neg pm mp root ! % deg abs floor ceil binom mixed index apply sum prod int
            lim bmod` or a function's name.
        args: operands, in order; of `apply` and `index` the function's name first; of `sum` and
            `prod` body, variable, first and last.
    """

    head: str
    args: tuple[Expression, ...]


Expression = Num | Name | Op


@dataclass(frozen=True, slots=True)
class Quantity:
    """An expression with its unit, scale and other words around it.

    Attributes:
        value: the expression.
        unit: a known unit.
        noun: words that only name what is counted ("eggs").
        rounded: written behind "about" or a sign for it.
    """

    value: Expression
    unit: Unit | None = None
    noun: str = ""
    rounded: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """Several answers or members.

    Attributes:
        kind: `list` (separated by commas or words), `set` (braces), `or`, `and`.
        items: the members.
    """

    kind: Literal["list", "set", "or", "and"]
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Bracketed:
    """A tuple, vector or interval; which of them, only the other side shows.

    Attributes:
        opening: `(`, `[` or `<`.
        closing: its partner, or the other kind for an interval that is open on one side.
        items: at least two.
    """

    opening: str
    closing: str
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of cells. Bars make it a determinant, which no matrix in brackets equals."""

    rows: tuple[tuple[Node, ...], ...]
    bars: bool = False


@dataclass(frozen=True, slots=True)
class IntervalPiece:
    """A stretch of the real line, or a point where both ends are the same."""

    low: Expression
    high: Expression
    low_closed: bool
    high_closed: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A set of real numbers, a union of pieces.

    Attributes:
        pieces: in the order of writing.
        name: the variable that lies in it, "" where none is named or it is bound.
    """

    pieces: tuple[IntervalPiece, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides joined by `= approx equiv in ne le ge < >`.

    Attributes:
        sides: nodes.
        signs: one less.
        names: for each side its canonical text, by which names are compared.
    """

    sides: tuple[Node, ...]
    signs: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """`a : b : c`."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a base: `132_5`."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time of day; `half` is `am`, `pm` or ""."""

    hours: int
    minutes: int
    half: str = ""


@dataclass(frozen=True, slots=True)
class Date:
    """A day of the calendar; year 0: none is given."""

    month: int
    day: int
    year: int = 0


@dataclass(frozen=True, slots=True)
class Modular:
    r"""A residue: `5 \pmod 7`."""

    value: Expression
    modulus: Expression


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, and formulas that say something with them ("n even")."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dots:
    """An ellipsis in a list."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A text that the grammar does not cover; `reason` says what stopped it."""

    reason: str


Node = (
    Quantity
    | Many
    | Bracketed
    | Matrix
    | Region
    | Relation
    | Ratio
    | Based
    | TimeOfDay
    | Date
    | Modular
    | Words
    | Dots
    | Unread
)

CONSTANTS = frozenset({"pi", "e", "i", "oo"})


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all its parts."""
    yield expression
    if isinstance(expression, Op):
        for arg in expression.args:
            yield from walk(arg)


def variables(expression: Expression) -> frozenset[str]:
    """Names of free variables, and of functions as `f()`; a sum's own variable is bound."""
    if isinstance(expression, Name):
        return frozenset() if expression.text in CONSTANTS else frozenset({expression.text})
    if isinstance(expression, Num):
        return frozenset()
    args = expression.args
    if expression.head in ("apply", "index"):
        name, args = args[0], args[1:]
        called = frozenset({f"{name.text}()"}) if isinstance(name, Name) else frozenset()
        return called.union(*map(variables, args))
    names = frozenset[str]().union(*map(variables, args))
    if expression.head in ("sum", "prod", "int", "lim"):
        bound = expression.args[1]
        outer = frozenset().union(*map(variables, expression.args[2:]))
        of_body = variables(expression.args[0]) - {bound.text if isinstance(bound, Name) else ""}
        return of_body | outer
    return names


def unread(node: Node) -> str | None:
    """The reason why some part could not be read; None if all parts were."""
    if isinstance(node, Unread):
        return node.reason
    parts: tuple[Node, ...] = ()
    if isinstance(node, Many | Bracketed):
        parts = node.items
    elif isinstance(node, Matrix):
        parts = tuple(cell for row in node.rows for cell in row)
    elif isinstance(node, Relation):
        parts = node.sides[1:]  # the first may be any name
    return next((reason for part in parts if (reason := unread(part)) is not None), None)


def negated(value: Expression) -> Expression:
    """The negative; of a literal a literal."""
    return replace(value, value=-value.value) if isinstance(value, Num) else Op("neg", (value,))
