"""Values of formulas: exact rationals where possible, else many digits.

Every operation is bounded: one that is too large or has no value raises an error.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath  # type: ignore[import-untyped]

from atts_harness.grading.tree import Expression, Name, Num, Op
from atts_harness.grading.wordlists import words_of

DIGITS = 60
CONFIRMING_DIGITS = 1500
GUARD = 15
_MOST_BITS = 200_000
_LARGEST = 4000
_MOST_TERMS = 400
_MOST_FACTORIAL = 3000

Value = Any
"""`Fraction` while exact, else an mpmath number of the context in use."""


class NoValueError(ArithmeticError):
    """There is no value: a division by zero, an infinity, or the like."""


class HardError(ArithmeticError):
    """The value is beyond the bounds of this module; computer algebra may know more."""


class TooLargeError(ArithmeticError):
    """The value has more digits than are compared."""


@cache
def context_of(digits: int) -> Any:
    """A context of mpmath that computes with so many digits."""
    context = mpmath.MPContext()
    context.dps = digits
    return context


def is_real(value: Value) -> bool:
    """Whether a value is real."""
    return isinstance(value, Fraction) or not hasattr(value, "_mpc_")


def is_zero(value: Value, digits: int = DIGITS) -> bool:
    """Whether a value is zero as far as its digits can tell."""
    if isinstance(value, Fraction):
        return value == 0
    return bool(abs(value) < mpmath.mpf(10) ** (GUARD - digits))


def close(x: Value, y: Value, digits: int = DIGITS) -> bool:
    """Whether two values are equal as far as their digits can tell; rationals exactly."""
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return x == y
    context = context_of(digits)
    x, y = _float(x, context), _float(y, context)
    scale = max(abs(x), abs(y))
    least = context.mpf(10) ** (GUARD - digits)
    if is_zero(x, digits) or is_zero(y, digits):
        return bool(abs(x - y) <= least)
    return bool(abs(x - y) <= scale * least)


def _float(value: Value, context: Any) -> Any:
    if isinstance(value, Fraction):
        return context.mpf(value.numerator) / value.denominator
    return value


def evaluate(expression: Expression, env: Mapping[str, Value], context: Any) -> Value:
    """The value of a formula.

    Args:
        expression: without ±.
        env: values of its variables.
        context: of mpmath, with the precision.

    Raises:
        NoValueError: it has none.
        HardError: it is an integral, a limit or a long sum.
        TooLargeError: it has too many digits.
    """
    if isinstance(expression, Num):
        return expression.value
    if isinstance(expression, Name):
        return _name(expression.text, env, context)
    head = expression.head
    if head in ("sum", "prod"):
        return _series(expression, env, context)
    if head in ("int", "lim"):
        raise HardError("an integral or a limit")
    if head in ("apply", "index"):
        name, *rest = expression.args
        args = [evaluate(arg, env, context) for arg in rest]
        return _unknown_function(f"{head}{name}", args, context)
    args = [evaluate(arg, env, context) for arg in expression.args]
    value = _operation(head, args, context)
    return value if isinstance(value, Fraction) else _checked(value, context)


def _name(name: str, env: Mapping[str, Value], context: Any) -> Value:
    if name in env:
        return env[name]
    if name == "pi":
        return +context.pi
    if name == "e":
        return +context.e
    if name == "i":
        return context.mpc(0, 1)
    raise NoValueError(f"{name} has no value")


def _checked(value: Any, context: Any) -> Any:
    if not context.isfinite(value):
        raise NoValueError("not finite")
    if hasattr(value, "_mpc_"):
        if abs(value.imag) <= context.mpf(10) ** (5 - context.dps) * (1 + abs(value.real)):
            value = value.real
        elif abs(value.real) <= context.mpf(10) ** (5 - context.dps) * abs(value.imag):
            value = context.mpc(0, value.imag)
    if value and context.mag(value) > _LARGEST:
        raise TooLargeError("too large")
    return value


def _operation(head: str, args: list[Value], context: Any) -> Value:
    if head == "+":
        return _total(args, context)
    if head == "*":
        x, y = args
        return x * y if _both_exact(args) else _float(x, context) * _float(y, context)
    if head == "/":
        x, y = args
        if is_zero(y, context.dps):
            raise NoValueError("division by zero")
        return x / y if _both_exact(args) else _float(x, context) / _float(y, context)
    if head == "neg":
        return -args[0]
    if head == "mixed":
        return args[0] + args[1]
    if head == "%":
        return args[0] / 100
    if head == "deg":
        return _float(args[0], context) * context.pi / 180
    if head == "^":
        return _power(args[0], args[1], context)
    if head == "root":
        return _root(args[0], args[1], context)
    if head in _WHOLE:
        return _WHOLE[head](args)
    if head in ("max", "min"):
        return _extreme(head, args, context)
    return _function(head, args, context)


def _both_exact(args: Iterable[Value]) -> bool:
    return all(isinstance(arg, Fraction) for arg in args)


def _total(args: list[Value], context: Any) -> Value:
    if _both_exact(args):
        return sum(args, Fraction(0))
    total = context.mpf(0)
    for arg in args:
        total += _float(arg, context)
    scale = max(abs(_float(arg, context)) for arg in args)
    # Terms that cancel leave only rounding errors: the sum is zero within this precision.
    return context.mpf(0) if abs(total) <= scale * context.mpf(10) ** (8 - context.dps) else total


def _power(base: Value, exponent: Value, context: Any) -> Value:
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        n = int(exponent)
        if is_zero(base, context.dps):
            if n <= 0:
                raise NoValueError("zero to the power of zero or less")
            return Fraction(0)
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(n)
            if abs(base) == 1 or bits <= _MOST_BITS:
                return base**n
            raise TooLargeError("too large")
        _bounded(context.log(abs(base)) * n, context)
        return context.power(base, n)
    if is_zero(base, context.dps):
        if is_real(exponent) and exponent > 0:
            return Fraction(0)
        raise NoValueError("a power of zero")
    if is_real(base) and base < 0 and isinstance(exponent, Fraction):
        if exponent.denominator == 2:
            return _float(base, context) ** _float(exponent, context)
        raise NoValueError("a fractional power of a negative number")
    x, y = _float(base, context), _float(exponent, context)
    _bounded(context.log(x) * y, context)
    return context.power(x, y)


def _bounded(value: Any, context: Any) -> Any:
    if value and context.mag(value) > 13:
        raise TooLargeError("too large")
    return value


def _root(value: Value, index: Value, context: Any) -> Value:
    if not isinstance(index, Fraction) or index.denominator != 1 or index <= 0:
        return _power(value, 1 / index if index else index, context)
    n = int(index)
    if isinstance(value, Fraction) and value.numerator.bit_length() < 4000:
        exact = _exact_root(value, n)
        if exact is not None:
            return exact
    if is_real(value) and value < 0 and n % 2:
        return -context.root(_float(-value, context), n)
    return context.root(_float(value, context), n)


def _exact_root(value: Fraction, n: int) -> Fraction | None:
    if value < 0 or n > 64:
        return None
    ends = []
    for part in (value.numerator, value.denominator):
        if n == 2:
            guess = math.isqrt(part)
        elif part.bit_length() > 900:
            return None
        else:
            guess = round(part ** (1 / n))
        if guess**n != part:
            return None
        ends.append(guess)
    return Fraction(*ends)


def _integers(args: list[Value]) -> list[int]:
    if not all(isinstance(arg, Fraction) and arg.denominator == 1 for arg in args):
        raise NoValueError("of whole numbers only")
    return [int(arg) for arg in args]


def _modulo(args: list[Value]) -> Fraction:
    a, b = _integers(args)
    if b == 0:
        raise NoValueError("modulo zero")
    return Fraction(a % b)


_WHOLE: dict[str, Callable[[list[Value]], Value]] = {
    "bmod": _modulo,
    "gcd": lambda args: Fraction(math.gcd(*_integers(args))),
    "lcm": lambda args: Fraction(math.lcm(*_integers(args))),
}


def _extreme(head: str, args: list[Value], context: Any) -> Value:
    if not all(is_real(arg) for arg in args):
        raise NoValueError("of real numbers only")
    extreme = max if head == "max" else min
    return extreme(args, key=lambda arg: _float(arg, context))


def _steps(head: str, value: Value, context: Any) -> Fraction:
    if not is_real(value):
        raise NoValueError("of real numbers only")
    if isinstance(value, Fraction):
        return Fraction(math.floor(value) if head == "floor" else math.ceil(value))
    nearest = context.nint(value)
    if abs(value - nearest) < context.mpf(10) ** (GUARD - context.dps):
        return Fraction(int(nearest))
    return Fraction(int(context.floor(value) if head == "floor" else context.ceil(value)))


def _function(head: str, args: list[Value], context: Any) -> Value:
    x = args[0]
    if head in ("floor", "ceil"):
        return _steps(head, x, context)
    if head == "abs":
        return abs(x)
    if head == "sgn":
        return Fraction((x > 0) - (x < 0)) if is_real(x) else x / abs(x)
    if head == "!":
        return _factorial(x, context)
    if head == "binom":
        return _binomial(x, args[1], context)
    if head in ("ln", "log", "lg"):
        return _logarithm(head, args, context)
    if len(args) != 1:
        raise NoValueError(f"{head} of several")
    value = _float(x, context)
    if value and context.mag(value) > (11 if head in _GROWING else 200):
        raise TooLargeError("too large")
    if not hasattr(context, _MPMATH.get(head, head)) or head not in _NUMERIC:
        raise NoValueError(f"{head} is unknown")
    try:
        return getattr(context, _MPMATH.get(head, head))(value)
    except (ValueError, ZeroDivisionError) as error:
        raise NoValueError(str(error)) from error


_GROWING = {"exp", "sinh", "cosh"}
_NUMERIC = frozenset(
    words_of(
        "exp sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan arccot arcsec "
        "arccsc arcsinh arccosh arctanh"
    )
)
_MPMATH = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot", "arcsec": "asec",
    "arccsc": "acsc", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip


def _factorial(x: Value, context: Any) -> Value:
    if isinstance(x, Fraction) and x.denominator == 1:
        if x < 0:
            raise NoValueError("factorial of a negative number")
        if x > _MOST_FACTORIAL:
            raise TooLargeError("too large")
        return Fraction(math.factorial(int(x)))
    value = _float(x, context)
    if context.mag(value) > 9:
        raise TooLargeError("too large")
    return context.gamma(value + 1)


def _binomial(n: Value, k: Value, context: Any) -> Value:
    if _both_exact((n, k)) and n.denominator == k.denominator == 1 and n >= 0:
        if n > 20_000:
            raise TooLargeError("too large")
        return Fraction(math.comb(int(n), int(k)) if k >= 0 else 0)
    x, y = _float(n, context), _float(k, context)
    if (x and context.mag(x) > 9) or (y and context.mag(y) > 9):
        raise TooLargeError("too large")
    return context.binomial(x, y)


# A logarithm without a base may have any: two formulas are equal if they are in every base.
_UNKNOWN_BASE = "1.0869604401089358618834490999876151135313699407240790626"


def _logarithm(head: str, args: list[Value], context: Any) -> Value:
    x = _float(args[0], context)
    if is_zero(x, context.dps):
        raise NoValueError("logarithm of zero")
    value = context.log(x)
    if len(args) > 1:
        base = _float(args[1], context)
        if is_zero(base, context.dps) or is_zero(base - 1, context.dps):
            raise NoValueError("logarithm to an impossible base")
        return value / context.log(base)
    if head == "lg":
        return value / context.log(10)
    return value * context.mpf(_UNKNOWN_BASE) if head == "log" else value


def _unknown_function(name: str, args: list[Value], context: Any) -> Value:
    """A fixed cubic for each name: equal arguments give equal values, others do not."""
    total: Value = Fraction(0)
    for place, arg in enumerate(args):
        seed = hashlib.sha256(f"{name}{place}".encode()).digest()
        for power in range(4):
            coefficient = Fraction(seed[power] * 256 + seed[power + 8] + 1, 8191)
            factor = _power(arg, Fraction(power), context) if power else Fraction(1)
            term = _operation("*", [coefficient, factor], context)
            total = _operation("+", [total, term], context)
    return total


def _series(expression: Op, env: Mapping[str, Value], context: Any) -> Value:
    body, variable, first, last = expression.args
    assert isinstance(variable, Name)
    if isinstance(last, Name) and last.text == "oo":
        raise HardError("an infinite sum")
    low, high = _integers([evaluate(first, env, context), evaluate(last, env, context)])
    if high - low >= _MOST_TERMS:
        raise HardError("too many terms")
    terms = [
        evaluate(body, {**env, variable.text: Fraction(k)}, context) for k in range(low, high + 1)
    ]
    total: Value = Fraction(0) if expression.head == "sum" else Fraction(1)
    for term in terms:
        head = "+" if expression.head == "sum" else "*"
        total = _operation(head, [total, term], context)
    return total
