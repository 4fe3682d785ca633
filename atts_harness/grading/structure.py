r"""The outer shape of an answer: lists, sets, tuples, intervals, unions, vectors, equations.

Shapes are read from normalised text, so that order matters where it should (tuples), does not
where it should not (sets, several answers), and brackets decide what an interval contains; only
the leaves, plain expressions, go on to a computer algebra system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from atts_harness.grading.normalise import is_grouped


@dataclass(frozen=True)
class Leaf:
    """An expression, with its name where it is an equation that names it (`f(x)=2x`).

    Attributes:
        text: the expression; of a named one the right-hand side.
        name: the left-hand side, or "".
        relation: the whole text where it is an equation or inequality, else "".
    """

    text: str
    name: str = ""
    relation: str = ""


@dataclass(frozen=True)
class Many:
    """Several nodes.

    Attributes:
        kind: `list` (bare, order free), `set`, `tuple` (order counts), `union`.
        items: at least one, but for an empty set.
    """

    kind: str
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Interval:
    r"""A stretch of the real line, or a pair in brackets.

    Attributes:
        low: lower end, `-\infty` where there is none.
        high: upper end.
        opening: `(` or `[`.
        closing: `)` or `]`.
    """

    low: Node
    high: Node
    opening: str
    closing: str


Node = Leaf | Many | Interval

_MATRIX = re.compile(
    r"\\begin\{((?:[pbB]|small)?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL
)
_NAME = re.compile(
    r"(?:\\(?:angle|triangle|overline|mathbb|operatorname|Delta|theta|alpha|beta|lambda|phi|rho"
    r"|mu|sigma|omega|max|min|det)(?![A-Za-z]))? ?[A-Za-z]*(?:_(?:\w|\{[^{}]*\}))?'?"
    r"(?:\([A-Za-z0-9,]*\))?(?:_(?:\w|\{[^{}]*\}))?"
)
_TUPLE_NAME = re.compile(r"\([A-Za-z](?:_\w)?(?:,[A-Za-z](?:_\w)?)+\)")
_EQUALS = re.compile(r"(?<![<>!:=\\])=(?!=)")
_COMPARED = re.compile(r"\\le |\\ge |\\le(?![A-Za-z])|\\ge(?![A-Za-z])|<|>")
_VARIABLE = re.compile(r"[A-Za-z](?:_\w)?")
_MEMBER = re.compile(r"[A-Za-z](?:_\w)?\\in *(?=[\[({\\])")
_LOST_MEMBER = re.compile(r"[A-Za-z](?=\([^()\[\]]*\]$|\[[^()\[\]]*\)$)")
_DEEPEST = 8


def parse(text: str, *, several: bool = False) -> Node:
    """Read the shape of a normalised text.

    Args:
        text: from `normalise`.
        several: the task says that there are several answers, so "100,200" is two numbers.

    Returns:
        The node; text that has no shape is a leaf.
    """
    return _parse(text, several, 0)


def _parse(text: str, several: bool, depth: int) -> Node:
    if depth > _DEEPEST:
        return Leaf(text)
    text = _MEMBER.sub("", text, count=1) if _MEMBER.match(text) else text
    text = _LOST_MEMBER.sub("", text, count=1) if _LOST_MEMBER.match(text) else text
    parts = _split(text, "cup")
    if len(parts) > 1:
        return Many("union", tuple(_parse(part, False, depth + 1) for part in parts))
    if not several and is_grouped(text.rpartition("=")[2]):
        return _expression(text, depth)
    parts = _split(text, ",")
    if len(parts) > 1:
        return Many("list", tuple(_flat(_parse(part, False, depth + 1) for part in parts)))
    if text in (r"\emptyset", r"\emptyset ", r"\{\}"):
        return Many("set", ())
    if text.startswith(r"\{") and text.endswith(r"\}"):
        inner = _parse(text[2:-2], several or "," in text, depth + 1)
        return Many("set", _items(inner) or (inner,))
    for opening, closing in (
        (r"\langle", r"\rangle"),
        ("(", ")"),
        ("[", "]"),
        ("(", "]"),
        ("[", ")"),
    ):
        if text.startswith(opening) and text.endswith(closing):
            node = _bracketed(text, opening, closing, depth)
            if node is not None:
                return node
    matrix = _MATRIX.fullmatch(text)
    if matrix is not None:
        return _matrix(matrix.group(2), depth)
    return _expression(text, depth)


def _flat(nodes: Iterable[Node]) -> list[Node]:
    r"""`1\pm x` inside a list is two of its items."""
    flat: list[Node] = []
    for node in nodes:
        flat.extend(_items(node) or (node,))
    return flat


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, Many) and node.kind == "list" else ()


def _split(text: str, separator: str) -> list[str]:
    """Split at top level, outside every kind of bracket; `cup` stands for the union sign."""
    parts: list[str] = []
    depth = start = at = 0
    while at < len(text):
        if text.startswith((r"\begin", r"\{", r"\langle"), at):
            depth, at = depth + 1, at + 2
            continue
        if text.startswith((r"\end", r"\}", r"\rangle"), at):
            depth, at = depth - 1, at + 2
            continue
        sign = text[at]
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and separator == "cup" and text.startswith((r"\cup ", r"\cup"), at):
            parts.append(text[start:at])
            at += 4
            start = at
            continue
        if depth == 0 and sign in ",;" and separator == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()] or [text]


def _bracketed(text: str, opening: str, closing: str, depth: int) -> Node | None:
    inner = text[len(opening) : len(text) - len(closing)]
    level = 0
    for sign in inner:
        level += (sign in "([") - (sign in ")]")
        if level < 0:
            return None
    parts = _split(inner, ",")
    if len(parts) == 1:
        alone = opening == "(" and closing == ")" and level == 0
        return _parse(inner, False, depth + 1) if alone else None
    items = tuple(_parse(part, False, depth + 1) for part in parts)
    if len(items) == 2 and opening in "([":
        return Interval(items[0], items[1], opening, closing)
    return Many("tuple" if opening != "[" else "list", items)


def _matrix(body: str, depth: int) -> Node:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr", body) if row.strip()]
    cells = [[_parse(cell, False, depth + 1) for cell in row.split("&")] for row in rows]
    if all(len(row) == 1 for row in cells):
        return Many("tuple", tuple(row[0] for row in cells))
    if len(cells) == 1:
        return Many("tuple", tuple(cells[0]))
    return Many("tuple", tuple(Many("tuple", tuple(row)) for row in cells))


def _expression(text: str, depth: int) -> Node:
    compared = _inequality(text)
    if compared is not None:
        return compared
    parts = [part for part in _EQUALS.split(text) if part]
    if len(parts) > 1:
        first, last = parts[0], parts[-1]
        if _TUPLE_NAME.fullmatch(first):
            return _parse(last, False, depth + 1)
        if _NAME.fullmatch(first):
            value = _parse(last, False, depth + 1)
            return Leaf(value.text, first, text) if isinstance(value, Leaf) else value
        if not (_has_variable(first) or _has_variable(last)):
            return Leaf(last)
        return Leaf(text, relation=text)
    if r"\pm" in text or r"\mp" in text:
        upper = text.replace(r"\pm", "+").replace(r"\mp", "-")
        lower = text.replace(r"\pm", "-").replace(r"\mp", "+")
        return Many("list", (Leaf(_tidy(upper)), Leaf(_tidy(lower))))
    return Leaf(text)


def _has_variable(text: str) -> bool:
    return any(sign.isalpha() for sign in re.sub(r"\\[A-Za-z]+", "", text))


def _tidy(text: str) -> str:
    return text.removeprefix("+").replace("+ ", "+").replace("- ", "-")


def _inequality(text: str) -> Node | None:
    r"""`2\le x<3` is [2,3) and `x>2` is (2,\infty); anything longer stays a relation."""
    signs = [match.group().strip() for match in _COMPARED.finditer(text)]
    if not signs:
        return None
    sides = [side.strip() for side in _COMPARED.split(text)]
    if any(not side for side in sides) or len(sides) > 3:
        return Leaf(text, relation=text)
    if len(sides) == 2:
        if _VARIABLE.fullmatch(sides[0]):
            sides, signs = [sides[1], sides[0]], [_FLIPPED[signs[0]]]
        if not _VARIABLE.fullmatch(sides[1]):
            return Leaf(text, relation=text)
        upwards = signs[0] in ("<", r"\le")
        bracket = signs[0] in (r"\le", r"\ge")
        if upwards:
            return Interval(Leaf(sides[0]), Leaf(r"\infty"), "[" if bracket else "(", ")")
        return Interval(Leaf(r"-\infty"), Leaf(sides[0]), "(", "]" if bracket else ")")
    if not _VARIABLE.fullmatch(sides[1]):
        return Leaf(text, relation=text)
    if all(sign in (">", r"\ge") for sign in signs):
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in reversed(signs)]
    if not all(sign in ("<", r"\le") for sign in signs):
        return Leaf(text, relation=text)
    opening = "[" if signs[0] == r"\le" else "("
    closing = "]" if signs[1] == r"\le" else ")"
    return Interval(Leaf(sides[0]), Leaf(sides[2]), opening, closing)


_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
