"""Formulas with the words around them: money, units, nouns, scales, bases, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from atts_harness.grading.reading import phrases
from atts_harness.grading.reading.expressions import parse
from atts_harness.grading.reading.numerals import number
from atts_harness.grading.reading.tokens import Token, UnreadableError
from atts_harness.grading.tree import (
    Based,
    Date,
    Expression,
    Name,
    Node,
    Num,
    Op,
    Quantity,
    TimeOfDay,
    Words,
    negated,
    variables,
    walk,
)
from atts_harness.grading.units import NONE, SCALES, UNITS, Unit

_CURRENCIES = {"money", "£", "€", "¥", "₹", "¢"}
_PERCENT = {"percent", "pct", "percentage"}
_DIGITS = frozenset("ABCDEF")
Piece = Sequence[Token]


def quantity(piece: Piece, functions: frozenset[str], unit: tuple[tuple[str, str], ...]) -> Node:
    """Read a formula with the unit or noun that names it.

    Args:
        piece: its tokens.
        functions: letters that are functions.
        unit: tokens of the row's unit.

    Raises:
        UnreadableError: what stands around the formula may change its meaning.
    """
    piece = _cardinal(piece)
    rounded = piece[0].kind == "word" and piece[0].text.lower() in phrases.ROUNDED
    piece = piece[1:] if rounded else piece
    if not piece:
        raise UnreadableError("it is empty")
    negative = piece[0].text == "-" and len(piece) > 1 and piece[1].text in _CURRENCIES
    front = piece[1] if negative else piece[0]
    prefix: Unit | None = None
    if front.kind == "op" and front.text in _CURRENCIES:
        prefix = UNITS[front.text]
        piece = piece[2 if negative else 1 :]
    if len(piece) > 1 and all(_is_capital(token) for token in piece):
        return Quantity(Name("".join(token.text for token in piece)))
    at = _end_of_formula(piece, unit)
    formula, rest = piece[:at], piece[at:]
    if not formula:
        return _spoken(piece)
    value, suffix = _formula(formula, functions)
    value = negated(value) if negative else value
    if unit and tuple(token.key for token in rest) == unit:
        rest = ()  # the row says so
    value, unit_behind, noun = _behind(value, rest)
    if suffix is not None and unit_behind is not None:
        raise UnreadableError("two units")
    whole_unit = unit_behind or suffix
    if prefix is not None:
        whole_unit = prefix if whole_unit is None else prefix.times(whole_unit)
    return Quantity(value, whole_unit, noun, rounded)


_ORDINAL = re.compile(r"(?:\^ (?:\{ )?)?(?:st|nd|rd|th|s t|n d|r d|t h)(?: \})?(?= |$)")


def _cardinal(piece: Piece) -> Piece:
    r"""The piece without the ending of an ordinal number: `7^{\text{th}}`, "7th"."""
    for at in range(1, len(piece)):
        if piece[at - 1].kind == "num" and not piece[at].gap:
            match = _ORDINAL.match(" ".join(token.text for token in piece[at:]))
            if match is not None:
                return (*piece[:at], *piece[at + len(match.group().split()) :])
    return piece


def _spoken(piece: Piece) -> Node:
    words = [token.text.lower() for token in piece if token.kind == "word"]
    if len(piece) == 1 and words and words[0] in phrases.NUMBERS:
        return Quantity(Num(Fraction(phrases.NUMBERS[words[0]])))
    if len(words) < len(piece):
        raise UnreadableError("words around a formula")
    return Words(tuple(words))


def _is_capital(token: Token) -> bool:
    """A letter of a name such as the triangle ABC; no factor of a product."""
    return token.kind == "name" and not token.gap and re.fullmatch("[A-Z]", token.text) is not None


def _end_of_formula(piece: Piece, unit: tuple[tuple[str, str], ...]) -> int:
    """Where the formula ends and words or units begin."""
    keys = tuple(token.key for token in piece)
    if unit and len(keys) > len(unit) and keys[-len(unit) :] == unit:
        return len(piece) - len(unit)
    depth = 0
    for at, token in enumerate(piece):
        if token.kind == "op":
            depth += (token.text in ("(", "{", "[")) - (token.text in (")", "}", "]"))
        if depth or not at:
            if token.kind == "word" and depth == 0:
                return at
            continue
        before = piece[at - 1]
        behind_value = before.kind in ("num",) or before.text in (")", "}", "pi", "%", "deg")
        if token.key == ("cmd", "frac") and behind_value and _unit_fraction(piece[at:]):
            return at
        if token.kind == "word":
            # The slash or the bracket of "km/h" and "(cm)" belongs to the words.
            return at
        if token.kind == "name" and token.upright and token.text in UNITS and behind_value:
            return at
        if behind_value and _is_time(piece, at):
            return at
        if token.kind == "op" and token.text in _CURRENCIES:
            return at
        temperature = before.key == ("op", "deg") and token.text in ("C", "F")
        if temperature and before.kind == "op":
            return at - 1
    return len(piece)


def _is_time(piece: Piece, at: int) -> bool:
    """Whether "min" or "sec" is the unit: no function, because no argument follows."""
    if piece[at].kind != "func" or piece[at].text not in UNITS:
        return False
    after = piece[at + 1] if at + 1 < len(piece) else None
    return after is None or after.kind == "word" or after.text in (".", "/", ")")


def _formula(piece: Piece, functions: frozenset[str]) -> tuple[Expression, Unit | None]:
    """A formula; a percent or degree sign behind a mixed number belongs to all of it."""
    degree = _degree_at(piece)
    if degree is not None:
        inner = parse(piece[:degree], functions)
        return inner, UNITS["degree"]
    if piece[-1].key == ("op", "%") and len(piece) > 1 and not _is_sum(piece):
        return Op("%", (parse(piece[:-1], functions),)), None
    return parse(piece, functions), None


def _is_sum(piece: Piece) -> bool:
    return any(t.text in ("+", "-", "pm", "mp") and t.kind == "op" for t in piece[1:])


def _degree_at(piece: Piece) -> int | None:
    """Where the degree sign of the whole begins, None if there is none."""
    if any(token.kind == "func" for token in piece):
        return None
    texts = [token.text for token in piece]
    for end in (["^", "{", "deg", "}"], ["^", "deg"], ["deg"], ["^", "o"], ["^", "{", "o", "}"]):
        at = len(texts) - len(end)
        if at > 0 and texts[at:] == end and not _is_sum(piece[:at]):
            simple = piece[at - 1].kind == "num" or "deg" in end
            return at if simple else None
    return None


def _behind(value: Expression, words: Piece) -> tuple[Expression, Unit | None, str]:
    """The words after a formula: ordinal, percent, scale, unit, noun."""
    words = list(words)
    while words and words[0].kind == "word" and words[0].text.lower() in SCALES:
        if not _is_number(value):
            raise UnreadableError("a scale behind a formula")
        value = Op("*", (value, Num(Fraction(SCALES[words[0].text.lower()]))))
        words = words[1:]
    if words and words[0].kind == "word" and words[0].text.lower() in _PERCENT:
        value, words = Op("%", (value,)), words[1:]
    elif len(words) > 1 and [t.text.lower() for t in words[:2]] == ["per", "cent"]:
        value, words = Op("%", (value,)), words[2:]
    if not words:
        return value, None, ""
    if len(words) > 2 and words[0].text == "(" and words[-1].text == ")":
        words = words[1:-1]
    unit, used = units(words)
    if unit is not None and used == len(words):
        return value, unit, ""
    if not _is_number(value):
        raise UnreadableError("words behind a formula")
    noun_words = words[used:] if unit is not None else words
    if (
        unit is not None
        and noun_words
        and noun_words[0].text.lower() not in ("of", "in", "for", "each")
    ):
        unit, noun_words = None, words
    noun = phrases.noun(noun_words)
    if noun is None:
        raise UnreadableError("words that may change the number")
    return value, unit, "" if unit is not None else noun


def _is_number(value: Expression) -> bool:
    return not variables(value) and not any(
        isinstance(part, Name) and part.text == "i" for part in walk(value)
    )


def units(piece: Piece) -> tuple[Unit | None, int]:
    """The longest product of units at the start, and how many tokens it takes."""
    total = NONE
    at = used = 0
    power_of_next, inverse = 1, False
    while at < len(piece):
        token = piece[at]
        text = token.text.rstrip(".")
        low = text.lower()
        if low in ("square", "sq", "cubic", "cu") and token.kind == "word":
            power_of_next = 2 if low.startswith("s") else 3
            at += 1
            continue
        if text in ("/", "per") and at + 1 < len(piece):
            inverse = True
            at += 1
            continue
        if token.text in ("*", ".") and at + 1 < len(piece):
            at += 1
            continue
        fraction = _unit_fraction(piece[at:])
        if fraction is not None:
            total, at = total.times(fraction[0]), at + fraction[1]
            used = at
            continue
        if token.key == ("op", "deg") and at + 1 < len(piece) and piece[at + 1].text in "CF":
            unit, at = UNITS["°" + piece[at + 1].text], at + 2
        elif text in UNITS and (token.kind in ("word", "name", "func") or text in _CURRENCIES):
            unit, at = UNITS[text], at + 1
        elif low in UNITS and token.kind == "word" and len(low) > 2:
            unit, at = UNITS[low], at + 1
        else:
            break
        power, at = _unit_power(piece, at)
        total = total.times(unit, (power * power_of_next) * (-1 if inverse else 1))
        power_of_next, inverse, used = 1, False, at
    return (total, used) if used else (None, 0)


def _unit_fraction(piece: Piece) -> tuple[Unit, int] | None:
    r"""`\frac{\text{m}}{\text{s}^2}` at the start, and how many tokens it takes."""
    if not piece or piece[0].key != ("cmd", "frac"):
        return None
    parts: list[Unit] = []
    at = 1
    for _ in range(2):
        if at + 1 >= len(piece) or piece[at].text != "{":
            return None
        start, depth = at + 1, 0
        while at < len(piece):
            depth += (piece[at].text == "{") - (piece[at].text == "}")
            at += 1
            if depth == 0:
                break
        inside = piece[start : at - 1]
        if not inside or not (inside[0].upright or inside[0].kind == "word"):
            return None
        unit, used = units(inside)
        if unit is None or used < len(inside):
            return None
        parts.append(unit)
    return parts[0].times(parts[1], -1), at


def _unit_power(piece: Piece, at: int) -> tuple[int, int]:
    texts = [token.text for token in piece[at : at + 5]]
    if texts[:1] == ["squared"]:
        return 2, at + 1
    if texts[:1] == ["cubed"]:
        return 3, at + 1
    if texts[:1] != ["^"]:
        return 1, at
    inner = texts[1:]
    used = 1
    if inner[:1] == ["{"]:
        inner, used = inner[1:], 3
    sign = 1
    if inner[:1] == ["-"]:
        inner, sign, used = inner[1:], -1, used + 1
    if not inner or not inner[0].isdigit() or len(inner[0]) > 1:
        raise UnreadableError("the power of a unit")
    return sign * int(inner[0]), at + used + 1


def compound(piece: Piece) -> Node | None:
    """`4 hours and 30 minutes`, `2 ft 6 in`: a sum of units of one dimension, in the first."""
    texts = [token for token in piece if token.text.lower() != "and" and token.text != ","]
    if len(texts) < 4 or len(texts) % 2:
        return None
    total: Fraction | None = None
    first: Unit | None = None
    last: Unit | None = None
    for value, unit in zip(texts[::2], texts[1::2], strict=True):
        if value.kind != "num" or unit.kind not in ("word", "func") or unit.text not in UNITS:
            return None
        unit_of_value = UNITS[unit.text]
        if first is None or last is None or total is None:
            first, total = unit_of_value, number(value.text).value
        elif unit_of_value.dimensions != first.dimensions or unit_of_value.factor >= last.factor:
            return None
        else:
            total += number(value.text).value * unit_of_value.factor / first.factor
        last = unit_of_value
    return None if total is None else Quantity(Num(total), first)


def based(piece: Piece) -> Node | None:
    """`132_5`, `2A_{16}`, `(132)_5`, `132 base 5`; base ten is a plain number."""
    texts = [token.text for token in piece if token.text not in ("{", "}", "(", ")")]
    marks = [n for n, text in enumerate(texts) if text in ("_", "base")]
    if len(marks) != 1 or piece[0].kind == "func":
        return None
    head, tail = texts[: marks[0]], texts[marks[0] + 1 :]
    if any(token.gap and token.text in head for token in piece[1:]):
        return None
    if head and head[-1].lower() == "in":
        head = head[:-1]
    digits = "".join(head)
    is_digits = bool(head) and all(h.isdigit() or set(h) <= _DIGITS for h in head)
    if not is_digits or len(tail) != 1 or not (digits[0].isdigit() or len(digits) > 1):
        return None
    base_text = tail[0].lower()
    base = int(base_text) if base_text.isdigit() else phrases.BASES.get(base_text)
    if base is None or not 2 <= base <= 36:
        raise UnreadableError("a base")
    if any(int(digit, 36) >= base for digit in digits):
        raise UnreadableError("a digit that its base does not have")
    return Quantity(Num(Fraction(digits))) if base == 10 else Based(digits.lstrip("0") or "0", base)


def clock(piece: Piece) -> Node | None:
    """`3:05`, `10 a.m.`, `5:30 pm`; "2:4" is a ratio."""
    texts = [token.text.lower() for token in piece if token.text != "."]
    half = texts[-1] if texts and texts[-1] in ("am", "pm") else ""
    bare = texts[:-1] if half else texts
    if len(bare) == 1 and half and bare[0].isdigit() and 1 <= int(bare[0]) <= 12:
        return TimeOfDay(int(bare[0]), 0, half)
    if len(bare) != 3 or bare[1] != ":" or not (bare[0].isdigit() and bare[2].isdigit()):
        return None
    hours, minutes = int(bare[0]), int(bare[2])
    if len(bare[2]) != 2 or minutes > 59 or hours > 24 or len(bare[0]) > 2:
        return None
    return TimeOfDay(hours, minutes, half)


def date(piece: Piece) -> Node | None:
    """`May 5`, `5 May 2020`, `May 5th, 2020`."""
    piece = _cardinal(piece)
    parts = [
        token for token in piece if token.text.lower() not in (",", ".", "of", "the", "^", "{", "}")
        and token.text.lower() not in ("st", "nd", "rd", "th")
    ]  # fmt: skip
    if not 2 <= len(parts) <= 3:
        return None
    months = [
        n for n, t in enumerate(parts) if t.kind == "word" and t.text.lower() in phrases.MONTHS
    ]
    numbers = [token.text for token in parts if token.kind == "num" and token.text.isdigit()]
    if len(months) != 1 or months[0] > 1 or len(numbers) != len(parts) - 1:
        return None
    day, year = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 0
    if not 1 <= day <= 31 or (year and not 1000 <= year <= 2999):
        return None
    return Date(phrases.MONTHS[parts[months[0]].text.lower()], day, year)
