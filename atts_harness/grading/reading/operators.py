r"""Functions, roots, fractions, subscripts, sums and integrals: what a name or a command opens."""

from __future__ import annotations

from fractions import Fraction

from atts_harness.grading.reading.stream import Grammar
from atts_harness.grading.reading.tokens import Token, UnreadableError
from atts_harness.grading.tree import Expression, Name, Num, Op, negated

_PARTNERS = {"(": ")", "[": "]", r"\{": r"\}"}
_ONE = Num(Fraction(1))
_TRIGONOMETRIC = {"sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth"}


def structure(parser: Grammar, token: Token) -> Expression:
    """What a command opens: a fraction, a root, a sum."""
    name = token.text
    if name == "frac":
        top = parser.argument(single_digit=True)
        bottom = parser.argument(single_digit=True)
        if _is_differential(top) and isinstance(bottom, Op) and _is_differential(bottom):
            raise UnreadableError("a derivative")
        return Op("/", (top, bottom))
    if name == "binom":
        top = parser.argument(single_digit=True)
        return Op("binom", (top, parser.argument(single_digit=True)))
    if name == "sqrt":
        index: Expression = Num(Fraction(2))
        if parser.is_op("["):
            parser.take()
            index = parser.sum()
            parser.expect("]")
        return Op("root", (parser.argument(), index))
    if name == "cbrt":
        return Op("root", (parser.argument(), Num(Fraction(3))))
    if name in ("sum", "prod"):
        return _series(parser, name)
    if name == "int":
        return _integral(parser)
    if name == "lim":
        return _limit(parser)
    if name in ("overline", "bar", "vec", "hat", "tilde", "dot", "ddot"):
        return _accented(parser, "overline" if name == "bar" else name)
    raise UnreadableError(f"{name} is not covered")


def _is_differential(part: Expression) -> bool:
    """`d`, `dx`, `d^2 y`: a part of a derivative that looks like a fraction."""
    while isinstance(part, Op) and part.head in ("*", "^"):
        part = part.args[0]
    return part == Name("d")


def _accented(parser: Grammar, accent: str) -> Expression:
    inner = parser.group()
    if any(token.kind not in ("name", "op", "num") for token in inner) or not any(
        token.kind == "name" for token in inner
    ):
        raise UnreadableError(f"{accent} over something else than a name")
    text = "".join(token.text for token in inner)
    if accent == "overline" and len(text) > 1 and text.isalpha() and text.isupper():
        return Name(text)  # a segment is named by its ends
    return _subscripted(parser, Name(f"{accent}({text})"))


def named(parser: Grammar, token: Token) -> Expression:
    """A letter with its subscript, applied where it is a function."""
    value = _subscripted(parser, Name(token.text))
    follows = parser.is_op("(") or (parser.is_op("{") and parser.is_op("(", ahead=1))
    if follows and isinstance(value, Name) and token.text in parser.functions:
        return _applied(parser, value)
    return value


def _subscripted(parser: Grammar, value: Name) -> Name | Op:
    if not parser.is_op("_"):
        return value
    parser.take()
    braced = parser.is_op("{")
    inner = parser.group()
    if not braced and inner[0].kind not in ("num", "name", "word", "func"):
        raise UnreadableError("an odd subscript")
    if not inner:
        return value
    lower = [t for t in inner if t.kind == "name" and t.text.islower()]
    if lower and all(t.kind in ("name", "num", "op") for t in inner):
        try:
            return Op("index", (value, parser.parse(inner)))
        except UnreadableError:
            pass
    return Name(f"{value.text}_{'.'.join(t.text for t in inner)}")


def _applied(parser: Grammar, name: Name) -> Expression:
    braced = parser.is_op("{")
    if braced:
        parser.take()
    parser.expect("(")
    args = [parser.sum()]
    while parser.is_op(",", ";"):
        parser.take()
        args.append(parser.sum())
    parser.expect(")")
    if braced:
        parser.expect("}")
    return Op("apply", (name, *args))


def function(parser: Grammar, name: str) -> Expression:
    """A function such as sin with its base, power and argument."""
    base: Expression | None = None
    power: Expression | None = None
    while parser.is_op("_", "^"):
        if parser.take().text == "_":
            base = parser.script()
        else:
            power = parser.script()
    if base is not None and name != "log":
        raise UnreadableError(f"{name} with a subscript")
    inverse = isinstance(power, Num) and power.value == -1
    if inverse and name in _TRIGONOMETRIC:
        name, power = f"arc{name}", None
    args, bracketed = _function_arguments(parser, name)
    if base is not None:
        args = (*args, base)
    value: Expression = Op(name, args)
    if power is not None:
        if inverse:
            raise UnreadableError("an inverse that can be read in two ways")
        value = Op("^", (value, power))
    elif bracketed and parser.is_op("^"):
        parser.take()
        value = Op("^", (value, parser.script()))
    return value


def _function_arguments(parser: Grammar, name: str) -> tuple[tuple[Expression, ...], bool]:
    braced = parser.is_op("{") and parser.is_op("(", ahead=1)
    if parser.is_op("(", "[", r"\{") or braced:
        if braced:
            parser.take()
        opening = parser.take().text
        bars, parser.bars = parser.bars, []
        args = [parser.sum()]
        while parser.is_op(",", ";"):
            parser.take()
            args.append(parser.sum())
        parser.expect(_PARTNERS[opening])
        parser.bars = bars
        if braced:
            parser.expect("}")
        return tuple(args), True
    if parser.is_op("-"):
        parser.take()
        return (negated(_function_product(parser)),), False
    return (_function_product(parser),), False


def _function_product(parser: Grammar) -> Expression:
    """The argument without brackets: factors up to a sign or another function."""
    result = parser.power()
    while True:
        token = parser.peek()
        if token is not None and token.key == ("op", "*") and isinstance(result, Num | Name):
            following = parser.peek(1)
            if following is not None and following.kind in ("num", "name"):
                parser.take()
                result = Op("*", (result, parser.power()))
                continue
        simple = token is not None and (
            token.kind == "name" or token.text in ("frac", "sqrt") or token.text == "pi"
        )
        if not simple:
            break
        result = Op("*", (result, parser.power()))
    if parser.is_op("/") and not isinstance(result, Op):
        # `sin pi/6`, `ln x/y`: the argument may be the whole quotient, or only its numerator.
        following = parser.peek(1)
        if following is not None and following.kind == "num" and result == Name("pi"):
            parser.take()
            return Op("/", (result, parser.power()))
        raise UnreadableError("an argument can be read in two ways")
    return result


def _bounds(parser: Grammar) -> tuple[list[Token], list[Token]]:
    lower: list[Token] = []
    upper: list[Token] = []
    while parser.is_op("_", "^"):
        sign = parser.take().text
        start, depth = parser.at, 0
        while True:
            token = parser.take()
            depth += (token.text == "{") - (token.text == "}")
            if depth == 0 and not (token.text in ("-", "+") and parser.at == start + 1):
                break
        group = list(parser.tokens[start : parser.at])
        if group and group[0].text == "{":
            group = group[1:-1]
        if sign == "_":
            lower = group
        else:
            upper = group
    return lower, upper


def _series(parser: Grammar, head: str) -> Expression:
    lower, upper = _bounds(parser)
    signs = [n for n, token in enumerate(lower) if token.key == ("op", "=")]
    if len(signs) != 1 or signs[0] != 1 or lower[0].kind != "name" or not upper:
        raise UnreadableError("bounds of a sum")
    variable = Name(lower[0].text)
    first = parser.parse(lower[2:])
    last = parser.parse(upper)
    return Op(head, (parser.product(), variable, first, last))


def _integral(parser: Grammar) -> Expression:
    lower, upper = _bounds(parser)
    depth = 0
    for end in range(parser.at, len(parser.tokens) - 1):
        token, following = parser.tokens[end], parser.tokens[end + 1]
        depth += (token.text in ("{", "(")) - (token.text in ("}", ")"))
        if token.key == ("name", "d") and following.kind == "name" and depth == 0:
            body = parser.parse(parser.tokens[parser.at : end]) if end > parser.at else _ONE
            parser.at = end + 2
            ends = (parser.parse(lower), parser.parse(upper))
            return Op("int", (body, Name(following.text), *ends))
    raise UnreadableError("an integral without its differential")


def _limit(parser: Grammar) -> Expression:
    lower, _ = _bounds(parser)
    arrows = [n for n, token in enumerate(lower) if token.key == ("op", "to")]
    if arrows != [1] or lower[0].kind != "name":
        raise UnreadableError("a limit")
    return Op("lim", (parser.product(), Name(lower[0].text), parser.parse(lower[2:])))
