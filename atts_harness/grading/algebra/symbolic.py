r"""Computer algebra for formulas without a computable value: sympy's objects, by math-verify.

Only integrals, limits, long and infinite sums, very large numbers, and inequalities that have to be
solved come here. Everything else is compared by value in `values`, and all of it is read by our own
grammar. math-verify's reader (0.9.0) drops letters that are also units (`6m` is 6), makes small
letters of capitals, reads `1 1/2` as 11/2, takes the last number of a text that it cannot read and
rounds before it compares (huggingface/Math-Verify issues 14 and 60). A text that is hard to read
does not stop at its time limit (issue 65).

Nothing here bounds time or memory: only worker processes, which can be killed, call it.
math-verify's own time limit is switched off, for it works in a process's main thread only and
cannot interrupt a running C call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import sympy  # type: ignore[import-untyped]
from math_verify import verify

from atts_harness.grading.tree import Expression, Name, Num, Op, Quantity, Region, Relation

# It warns at every first call that the time limit is off.
for _name in ("math_verify.parser", "math_verify.grader"):
    logging.getLogger(_name).setLevel(logging.ERROR)

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}
_RELATIONS = {"<": sympy.StrictLessThan, ">": sympy.StrictGreaterThan, "le": sympy.LessThan,
              "ge": sympy.GreaterThan}  # fmt: skip


def _symbol(name: str, real: bool = False) -> Any:
    return sympy.Symbol(name, real=True) if real else sympy.Symbol(name, positive=True)


def _sympy(e: Expression, bound: frozenset[str] = frozenset(), real: bool = False) -> Any:
    """The sympy object of a formula; letters are positive, except bound ones."""
    if isinstance(e, Num):
        return sympy.Rational(e.value.numerator, e.value.denominator)
    if isinstance(e, Name):
        if e.text in bound:
            return sympy.Symbol(e.text, integer=True)
        return _CONSTANTS.get(e.text) or _symbol(e.text, real)
    if e.head in ("sum", "prod", "int", "lim"):
        return _bound(e, bound)
    args = [_sympy(arg, bound, real) for arg in e.args]
    if e.head in _HEADS:
        return _HEADS[e.head](*args)
    name = _NAMES.get(e.head, e.head)
    if (e.head in ("apply", "index", "log") and len(args) == 1) or not hasattr(sympy, name):
        raise NotImplementedError(e.head)
    return getattr(sympy, name)(*args)


def _bound(e: Op, bound: frozenset[str]) -> Any:
    name = e.args[1]
    assert isinstance(name, Name)
    if e.head in ("sum", "prod"):
        symbol = sympy.Symbol(name.text, integer=True)
        body = _sympy(e.args[0], bound | {name.text})
        ends = [_sympy(end, bound) for end in e.args[2:]]
        make = sympy.summation if e.head == "sum" else sympy.product
        return make(body, (symbol, *ends))
    symbol = _symbol(name.text, real=True)
    body = _sympy(e.args[0], bound, real=True)
    ends = [_sympy(end, bound) for end in e.args[2:]]
    if e.head == "lim":
        return sympy.limit(body, symbol, ends[0])
    return sympy.integrate(body, (symbol, *ends))


_HEADS: dict[str, Callable[..., Any]] = {
    "+": lambda *args: sympy.Add(*args),
    "*": lambda *args: sympy.Mul(*args),
    "/": lambda a, b: a / b,
    "neg": lambda a: -a,
    "^": lambda a, b: a**b,
    "root": lambda a, n: sympy.real_root(a, n) if n.is_odd else a ** (1 / n),
    "!": sympy.factorial,
    "%": lambda a: a / 100,
    "deg": lambda a: a * sympy.pi / 180,
    "mixed": lambda a, b: a + b,
    "bmod": sympy.Mod,
    "lg": lambda a: sympy.log(a, 10),
    "ln": sympy.log,
}
_NAMES = {
    "abs": "Abs", "ceil": "ceiling", "binom": "binomial", "sgn": "sign", "max": "Max", "min": "Min",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "gcd": "gcd",
    "lcm": "lcm",
}  # fmt: skip


class Sympy:
    """The `equality.comparison.Algebra` of this module."""

    def same(self, a: Expression, b: Expression) -> bool | None:
        """Whether two formulas are equal, by math-verify's rules for sympy's objects."""
        try:
            x, y = _sympy(a), _sympy(b)
        except NotImplementedError:
            return None
        if x.has(sympy.nan, sympy.zoo) or y.has(sympy.nan, sympy.zoo):
            return None
        if x == y:
            return True
        if (x - y).is_number and abs((x - y).evalf(30)) > sympy.Float("1e-15") * (1 + abs(y)):
            return False
        equal = verify(y, x, timeout_seconds=None, raise_on_error=True, float_rounding=15)
        return _proved(x, y) if equal else None

    def solves(self, inequality: Relation, solutions: Region) -> bool | None:
        """Whether an inequality in one variable has these solutions."""
        values = [side.value for side in inequality.sides if isinstance(side, Quantity)]
        if len(values) != len(inequality.sides):
            return None
        try:
            sides = [_sympy(value, real=True) for value in values]
            symbols = set().union(*(side.free_symbols for side in sides))
            if len(symbols) != 1 or not set(inequality.signs) <= set(_RELATIONS):
                return None
            (symbol,) = symbols
            if solutions.name and str(symbol) != solutions.name:
                return False
            solved = sympy.S.Reals
            for left, sign, right in zip(sides, inequality.signs, sides[1:], strict=False):
                part = _RELATIONS[sign](left, right)
                part_solutions = sympy.solve_univariate_inequality(part, symbol, relational=False)
                solved = solved.intersect(part_solutions)
            region = sympy.Union(
                *(
                    sympy.Interval(
                        _sympy(p.low), _sympy(p.high), not p.low_closed, not p.high_closed
                    )
                    for p in solutions.pieces
                )
            )
        except NotImplementedError:
            return None
        return bool(solved.symmetric_difference(region) == sympy.S.EmptySet)


def _proved(x: Any, y: Any) -> bool | None:
    """math-verify rounds floats, so what it accepts must also vanish as a difference."""
    difference = sympy.simplify(x - y)
    return True if difference == 0 else None


SYMPY = Sympy()
