r"""Spellings of one expression made one: LaTeX decoration, units, words, numbers.

Only text is changed here, never mathematics: `\dfrac12` becomes `\frac{1}{2}`, `12\text{ cm}`
becomes `12`, "033" stays for `rational` to read as 33.
"""

from __future__ import annotations

import re
from fractions import Fraction

LONGEST = 2000
"""Characters of an answer that are compared: final answers are shorter, and sympy is spared."""

_UNICODE = str.maketrans(
    {
        "−": "-",
        "–": "-",
        "×": r"\cdot ",
        "·": r"\cdot ",
        "∙": r"\cdot ",
        "÷": "/",
        "π": r"\pi ",
        "∞": r"\infty ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "≤": r"\le ",
        "≥": r"\ge ",
        "⩽": r"\le ",
        "⩾": r"\ge ",
        "≠": r"\ne ",
        "±": r"\pm ",
        "∅": r"\emptyset ",
        "°": r"^\circ ",
        "⟨": r"\langle ",
        "⟩": r"\rangle ",
        "θ": r"\theta ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "λ": r"\lambda ",
        "½": r"\frac{1}{2}",
        "⅓": r"\frac{1}{3}",
        "⅔": r"\frac{2}{3}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "²": "^2",
        "³": "^3",
        "\u00a0": " ",
        "\u202f": " ",
        "€": "",
        "£": "",
        "≈": "=",
    }
)
_DROPPED = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|big|Big|bigg|Bigg|displaystyle|textstyle|limits|mathstrut)"
    r"(?![A-Za-z])|\\(?:boldsymbol|mathbf|mathit|mathsf|bm)(?![A-Za-z])"
)
_SPACES = re.compile(r"(?<!\\)\\[,;:!> ]|\\q?quad(?![A-Za-z])|\\thinspace(?![A-Za-z])|~|\\\\$")
_RENAMED = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:leqslant|leqq|leq)(?![A-Za-z])|<=", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq(?![A-Za-z])", r"\\ne "),
        (r"\\(?:times|ast)(?![A-Za-z])|(?<!\*)\*(?!\*)", r"\\cdot "),
        (r"\\div(?![A-Za-z])", "/"),
        (r"\\varnothing(?![A-Za-z])", r"\\emptyset "),
        (r"\\approx(?![A-Za-z])|\\simeq(?![A-Za-z])", "="),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\degree(?![A-Za-z])|\^\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])", r"^\\circ "),
        (r"(?<!\\)\binfty\b|(?<!\\)\binfinity\b", r"\\infty "),
        (
            r"\\operatorname\*?\s*\{\s*(sin|cos|tan|cot|sec|csc|ln|log|arctan|arcsin|arccos)\s*\}",
            r"\\\1 ",
        ),
    ]
]
_TEXT = r"\\(?:text|textrm|textnormal|textbf|textit|mbox|hbox|mathrm|rm|operatorname)\s*"
_CONJUNCTION = re.compile(
    _TEXT + r"\{\s*,?\s*(?:and|or)\s*\}|,?\s*(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])"
)
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^?\s*(?:\{\s*)?(?:" + _TEXT + r")?\{?\s*(?:st|nd|rd|th)\b\s*\}?\s*\}?"
)
_UNIT_WORDS = (
    r"(?:square|cubic|sq\.?|cu\.?)?\s*(?:degrees?|radians?|units?|dollars?|cents?|euros?|percent"
    r"|inch(?:es)?|feet|foot|ft|yards?|miles?|mi|mph|cm|mm|km|kg|mg|ml|meters?|metres?|centimeters?"
    r"|centimetres?|kilometers?|kilometres?|grams?|kilograms?|pounds?|lbs?|ounces?|liters?|litres?"
    r"|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|people|students?"
    r"|points?|ways|grade|times|pieces|coins|apples|cups?|km/h|m/s)"
)
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_TEXT_UNIT = re.compile(r"(?<=[\w)}\]!%.])\s*" + _TEXT + r"\{\s*([^{}]*?)\s*\}" + _POWER + r"\s*$")
_WORD_UNIT = re.compile(r"(?<=[\d)}%])\s*(?:" + _UNIT_WORDS + r")\.?" + _POWER + r"\s*$", re.I)
_UNWRAPPED = re.compile(_TEXT + r"\{([^{}]*)\}")
_SHORT_TOP = re.compile(r"\\frac\s*([A-Za-z0-9]|\\pi(?![A-Za-z]))")
_SHORT_BOTTOM = re.compile(
    r"\\frac(\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})\s*([A-Za-z0-9]|\\pi(?![A-Za-z]))"
)
_ROOT = re.compile(r"\\sqrt\s*([A-Za-z0-9])")
_SHORT_SCRIPT = re.compile(r"([\^_])\{(\w)\}")
_TRIG = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_KEPT_SPACE = re.compile(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])")


def normalise(text: str, unit: str | None = None) -> str:
    r"""One spelling for an expression.

    Args:
        text: a LaTeX or plain answer, without the box; at most `LONGEST` characters.
        unit: the unit that the task's row states, dropped where the answer ends with it.

    Returns:
        LaTeX without decoration, units, currency, delimiters and (but for words) spaces.

    Raises:
        ValueError: the text is longer than `LONGEST`.
    """
    if len(text) > LONGEST:
        raise ValueError(f"an answer of {len(text)} characters is not compared")
    out = text.translate(_UNICODE).replace("\n", " ")
    out = out.replace(r"\$", "").replace("$", "").replace(r"\(", "").replace(r"\)", "")
    out = re.sub(r"\\\[|\\\](?!\s*[\d{])", "", out).replace(r"\%", "%").replace("**", "")
    out = re.sub(r"(?<=\d)\s*\{,\}\s*(?=\d)", ",", out)
    out = _DROPPED.sub("", out)
    out = _SPACES.sub(" ", out)
    for pattern, replacement in _RENAMED:
        out = pattern.sub(replacement, out)
    out = _CONJUNCTION.sub(",", out)
    out = _ORDINAL.sub(" ", out)
    out = out.strip().strip("`").rstrip(".,;: ").strip()
    out = _without_units(out, unit)
    out = out.replace(r"^\circ", r"\cdot\pi/180 " if _TRIG.search(out) else "")
    out = _UNWRAPPED.sub(r" \1 ", out)
    out = _braced_arguments(out)
    out = _SHORT_SCRIPT.sub(r"\1\2", out)
    out = _KEPT_SPACE.sub(r"\1§", out)
    out = re.sub(r"\s+", "", out).replace("§", " ")
    out = re.sub(r",{2,}", ",", out)
    return _unbraced(out.strip(",;").removesuffix("."))


def _without_units(text: str, unit: str | None) -> str:
    out = text
    if unit:
        out = out.strip().removesuffix(unit.strip()).rstrip()
    for _ in range(3):
        match = _TEXT_UNIT.search(out)
        if match and match.group(1) not in {"e", "i", ""} and not match.group(1).isdigit():
            out = out[: match.start()].rstrip(" /\\")
            continue
        shorter = _WORD_UNIT.sub("", out)
        if shorter == out:
            break
        out = shorter
    return out


def _braced_arguments(text: str) -> str:
    r"""Give `\frac12`, `\frac 1{72}`, `\frac{1}2` and `\sqrt2` their braces."""
    out = _ROOT.sub(r"\\sqrt{\1}", text)
    out = _SHORT_TOP.sub(r"\\frac{\1}", out)
    return _SHORT_BOTTOM.sub(r"\\frac\1{\2}", out)


def _unbraced(text: str) -> str:
    """Drop braces around the whole."""
    while text.startswith("{") and text.endswith("}"):
        depth = 0
        for at, sign in enumerate(text):
            depth += (sign == "{") - (sign == "}")
            if depth == 0 and at < len(text) - 1:
                return text
        text = text[1:-1]
    return text


_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DECIMAL = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)")
_RATIO = re.compile(
    r"([-+]?)\\frac\{([-+]?[\d.,]+)\}\{([-+]?[\d.,]+)\}|([-+]?[\d.]+)/([-+]?[\d.]+)"
)
_MIXED = re.compile(r"([-+]?)(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_POWER_OF_TEN = re.compile(r"([-+]?)(?:([\d.]+)(?:\\cdot|[xX]))?10\^(?:\{([-+]?\d{1,3})\}|(\d))")
_E_NOTATION = re.compile(r"([-+]?[\d.]+)[eE]([-+]?\d{1,3})")


def is_grouped(text: str) -> bool:
    """Whether a normalised text is one number with thousands separators."""
    return _THOUSANDS.fullmatch(text) is not None


def decimals(text: str) -> int | None:
    """Decimal places of a plain decimal literal, None for anything else."""
    if not _DECIMAL.fullmatch(text):
        return None
    return len(text.partition(".")[2])


def _number(text: str) -> Fraction | None:
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text
    return Fraction(plain) if _DECIMAL.fullmatch(plain) and plain.strip("+-.") else None


def rational(text: str) -> tuple[Fraction, bool] | None:
    r"""The rational number that a normalised text writes down.

    Reads integers with leading zeros, decimals, thousands separators, `a/b`, `\frac{a}{b}`, mixed
    numbers, powers of ten and a percent sign; exact.

    Args:
        text: from `normalise`.

    Returns:
        The number as written (17 for "17%") and whether it is a percentage; None for anything
        else, which may still be a number (`\sqrt{4}`).
    """
    percent = text.endswith("%")
    bare = text.removesuffix("%")
    if bare.startswith("(") and bare.endswith(")") and bare.count("(") == 1 and "," not in bare:
        bare = bare[1:-1]
    value = _number(bare)
    if value is None and (match := _RATIO.fullmatch(bare)):
        sign, a, b, c, d = match.groups()
        top, bottom = (_number(a), _number(b)) if a is not None else (_number(c), _number(d))
        if top is not None and bottom:
            value = (-1 if sign == "-" else 1) * top / bottom
    elif value is None and (match := _MIXED.fullmatch(bare)):
        sign, whole, a, b = match.groups()
        if int(b) > int(a):
            value = (-1 if sign == "-" else 1) * (int(whole) + Fraction(int(a), int(b)))
    elif value is None and (match := _POWER_OF_TEN.fullmatch(bare)):
        factor = _number(match.group(2) or "1")
        power = int(match.group(3) or match.group(4))
        if factor is not None:
            value = (-1 if match.group(1) == "-" else 1) * factor * Fraction(10) ** power
    elif value is None and (match := _E_NOTATION.fullmatch(bare)):
        factor = _number(match.group(1))
        value = None if factor is None else factor * Fraction(10) ** int(match.group(2))
    return None if value is None else (value, percent)
