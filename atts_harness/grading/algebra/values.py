r"""Values of formulas: exact rationals where possible, else 60 digits and more.

Two formulas are equal if their values are: constants at two precisions, formulas at fixed points.
Letters stand for positive reals, unless an absolute value, a sign condition or a sum's bound says
otherwise. Every operation is bounded, so this runs in the caller's process: one that is too large
or has no value raises an error, and the comparison is undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from atts_harness.grading.algebra.numbers import (
    CONFIRMING_DIGITS,
    DIGITS,
    NoValueError,
    Value,
    close,
    context_of,
    evaluate,
    is_real,
    is_zero,
)
from atts_harness.grading.tree import Expression, Name, Num, Op, variables, walk

_POINTS = 6
_POINTS_OF_STEPS = 24
_ENOUGH = 3


def same(
    a: Expression, b: Expression, *, signed: bool = False, integers: Iterable[str] = ()
) -> bool | None:
    """Whether two formulas are equal.

    Args:
        a: a formula.
        b: another.
        signed: letters may be negative.
        integers: variables that are whole numbers.

    Returns:
        None if their values do not decide it.

    Raises:
        HardError: only computer algebra can decide it.
        TooLargeError: nothing can decide it.
    """
    if a == b:
        return True
    names = sorted(variables(a) | variables(b))
    if not names:
        return _same_constants(a, b)
    return agree_at_points(names, lambda env, x: close(x(a), x(b)), a, b, signed, integers)


def proportional(
    a: Expression, b: Expression, *, directed: bool = False, integers: Iterable[str] = ()
) -> bool | None:
    """Whether a is a constant multiple of b (of a positive constant if `directed`); see `same`."""
    names = sorted(variables(a) | variables(b))
    ratios: list[Value] = []

    def test(env: Mapping[str, Value], value: Callable[[Expression], Value]) -> bool | None:
        x, y = value(a), value(b)
        if is_zero(x) or is_zero(y):
            return None if is_zero(x) and is_zero(y) else False
        ratios.append(x / y)
        if directed and not (is_real(x) and is_real(y) and ratios[-1] > 0):
            return False
        return close(ratios[0], ratios[-1])

    return agree_at_points(names, test, a, b, True, integers)


Test = Callable[[Mapping[str, Value], Callable[[Expression], Value]], bool | None]


def agree_at_points(
    names: list[str],
    test: Test,
    a: Expression,
    b: Expression,
    signed: bool,
    integers: Iterable[str],
) -> bool | None:
    """Whether a test holds at fixed points; False at the first where it does not."""
    whole = frozenset(integers) | whole_numbers(a) | whole_numbers(b)
    heads = {part.head for e in (a, b) for part in walk(e) if isinstance(part, Op)}
    signed = signed or bool(heads & {"abs", "sgn", "pm", "mp"})
    steps = heads & {"floor", "ceil", "abs", "max", "min", "sgn", "bmod", "gcd", "lcm"}
    imaginary = Name("i") in walk(a) or Name("i") in walk(b)
    agreed = agreed_outside = 0
    for shift in range(_POINTS_OF_STEPS if steps else _POINTS):
        stretch = (1, 7, 19, 3)[shift % 4] if steps else 1
        env = {n: _point(k, shift, n in whole, signed) * stretch for k, n in enumerate(names)}
        context = context_of(DIGITS)
        values: dict[int, Value] = {}

        def value(e: Expression, env: Any = env, cache: Any = values, c: Any = context) -> Value:
            if id(e) not in cache:
                cache[id(e)] = evaluate(e, env, c)
            return cache[id(e)]

        try:
            if not imaginary and not (is_real(value(a)) and is_real(value(b))):
                agreed_outside += close(value(a), value(b))
                continue  # outside of where both are real
            truth = test(env, value)
        except NoValueError:
            continue
        if truth is False:
            return False
        agreed += truth is True
    if agreed >= _ENOUGH:
        return True
    return True if agreed + agreed_outside >= _POINTS and not steps else None


def _point(place: int, shift: int, whole: bool, signed: bool) -> Fraction:
    if whole:
        return Fraction((5, 8, 12, 3, 7, 10, 4, 6)[(place * 3 + shift) % 8] + place // 3)
    bottom = (101, 23, 41, 13, 29, 17)[shift % 6]
    top = (37 * (place + 1) * (shift + 2) + 11 * shift + 5) % 97 + 3
    value = Fraction(top, bottom) + Fraction(place, 7)
    return -value if signed and (place + shift) % 3 == 1 else value


def whole_numbers(expression: Expression) -> frozenset[str]:
    """Variables that must be whole: bounds of sums, exponents of negatives, moduli."""
    whole: frozenset[str] = frozenset()
    for part in walk(expression):
        if not isinstance(part, Op):
            continue
        if part.head in ("sum", "prod"):
            whole |= variables(part.args[2]) | variables(part.args[3])
        elif part.head in ("bmod", "gcd", "lcm"):
            whole |= variables(part)
        elif part.head == "^" and _is_negative(part.args[0]):
            whole |= variables(part.args[1])
    return whole


def _is_negative(base: Expression) -> bool:
    return (isinstance(base, Num) and base.value < 0) or (
        isinstance(base, Op) and base.head == "neg" and not variables(base)
    )


def _same_constants(a: Expression, b: Expression) -> bool | None:
    try:
        x, y = (evaluate(e, {}, context_of(DIGITS)) for e in (a, b))
        if not close(x, y):
            return False
        if isinstance(x, Fraction) and isinstance(y, Fraction):
            return True
        x, y = (evaluate(e, {}, context_of(CONFIRMING_DIGITS)) for e in (a, b))
    except NoValueError:
        return None
    return close(x, y, CONFIRMING_DIGITS)


def constant(expression: Expression) -> Value | None:
    """The value of a formula without variables to 60 digits, None if it has none."""
    try:
        return evaluate(expression, {}, context_of(DIGITS))
    except ArithmeticError:
        return None


def real(expression: Expression) -> Fraction | None:
    """The real value of a formula without variables as a fraction (60 digits of it)."""
    if variables(expression):
        return None
    value = constant(expression)
    if value is None or not is_real(value):
        return None
    return _fraction(value)


def at(expression: Expression, variable: str, value: Fraction) -> Value:
    """The value of a formula in one variable at a number; see `evaluate`."""
    return evaluate(expression, {variable: value}, context_of(DIGITS))


def _fraction(value: Value) -> Fraction:
    if isinstance(value, Fraction):
        return value
    sign, mantissa, exponent, _ = value._mpf_
    return (-1 if sign else 1) * Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
