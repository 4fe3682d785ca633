r"""The outer grammar: from tokens to a typed answer.

Lists, tuples, intervals, sets, matrices, relations, ratios, bases, times, dates, words; what
stands inside them goes to `expressions`, what stands behind a number to `quantities`.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from atts_harness.grading.algebra.regions import (
    as_region,
    difference,
    from_inequality,
    intersection,
    union,
)
from atts_harness.grading.reading import phrases
from atts_harness.grading.reading.expressions import parse
from atts_harness.grading.reading.groups import conjoined, scaled, shared_name, spoken_set, words
from atts_harness.grading.reading.pieces import (
    CLOSERS,
    OPENERS,
    Piece,
    canonical,
    closed_by,
    holds,
    split,
)
from atts_harness.grading.reading.quantities import (
    based,
    clock,
    compound,
    date,
    quantity,
)
from atts_harness.grading.reading.signs import plus_minus
from atts_harness.grading.reading.tokens import UnreadableError
from atts_harness.grading.tree import (
    Bracketed,
    Dots,
    Many,
    Matrix,
    Modular,
    Name,
    Node,
    Num,
    Quantity,
    Ratio,
    Region,
    Relation,
    Unread,
    Words,
)

_SIGNS = {"=", "approx", "equiv", "ne", "le", "ge", "<", ">", "in", "notin"}
_ORDERED = {"<", ">", "le", "ge", "ne"}
_DEEPEST = 12
_ENDS = {("op", sign) for sign in (".", ",", ";", ":", r"\\")}
_STARTS = {("op", sign) for sign in (",", ":", "to", r"\\")}


class TextReader:
    """Reads the pieces of one text."""

    def __init__(self, functions: frozenset[str], unit: tuple[tuple[str, str], ...]) -> None:
        self.functions = functions
        self.unit = unit
        self.depth = 0

    def node(self, piece: Piece) -> Node:
        """Read one piece; what cannot be read is `Words` or `Unread`."""
        self.depth += 1
        try:
            if self.depth > _DEEPEST:
                return Unread("it is nested too deeply")
            return self._node(piece)
        except UnreadableError as error:
            if any(token.kind == "word" for token in piece):
                return words(piece)
            return Unread(str(error))
        finally:
            self.depth -= 1

    def _node(self, piece: Piece) -> Node:
        piece = self._trimmed(piece)
        if not piece:
            return Unread("it is empty")
        if len(piece) == 1 and piece[0].key == ("op", "dots"):
            return Dots()
        for whole in (date, clock, compound):
            node = whole(piece)
            if node is not None:
                return node
        if piece[0].kind == "op" and piece[0].text == "<" and piece[-1].text == ">":
            parts = split(piece[1:-1], ",")
            if len(parts) > 1:
                return Bracketed("<", ">", tuple(self.node(part) for part in parts))
        listed = self._list(piece)
        if listed is not None:
            return listed
        return self._single(piece)

    def _trimmed(self, piece: Piece) -> Piece:
        """The piece without announcements, remarks, outer braces, and punctuation at its ends."""
        while piece:
            before = piece
            quotes = [token.key for token in (piece[0], piece[-1])] if piece else []
            if len(piece) > 2 and quotes == [("op", "'")] * 2:
                piece = piece[1:-1]
            while piece and piece[-1].key in _ENDS:
                piece = piece[:-1]
            while piece and piece[0].key in _STARTS:
                piece = piece[1:]
            if len(piece) > 3 and piece[0].kind == "name" and piece[1].key == ("op", ":"):
                piece = piece[2:] if holds(piece[2:], "=") else piece  # the name of a curve
            if len(piece) > 4 and all(t.key == ("op", "*") for t in (piece[0], piece[-1])):
                piece = piece[1:-1]
            if len(piece) > 2 and all(t.key == ("op", "^") for t in (piece[0], piece[-1])):
                piece = piece[1:-1]  # **bold**
            if piece and piece[0].text == "{" and closed_by(piece):
                over = any(t.key in (("cmd", "over"), ("cmd", "choose")) for t in piece)
                if not over and not holds(piece[1:-1], ","):
                    piece = piece[1:-1]
            piece = piece[phrases.lead_in(piece) :]
            remark = phrases.remark_at(piece)
            if remark:
                piece = phrases.without_remark(piece, remark)
            if piece == before:
                break
        return piece

    # Several

    def _list(self, piece: Piece) -> Node | None:
        if holds(piece, ";") and holds(piece, ","):
            parts = [part for part in split(piece, ";") if part]
            return Many("list", tuple(self._group(part) for part in parts))
        parts = split(piece, ",", ";", r"\\", "and", "or", "land", "lor", "&")
        if len(parts) == 1:
            return None
        if holds(piece, "land", "lor") and not all(holds(part, *_SIGNS) for part in parts):
            raise UnreadableError("a statement of logic")
        if holds(piece, "or", "lor"):
            kind = "or"
        elif holds(piece, "and", "land"):
            kind = "and"
        else:
            kind = "list"
        items: list[Node] = []
        for part in parts:
            if part:
                item = self.node(part)
                items.extend(
                    item.items if isinstance(item, Many) and item.kind == "list" else [item]
                )
        if not items:
            return Unread("it is empty")
        return conjoined(kind, shared_name(items))

    def _group(self, part: Piece) -> Node:
        """One of several answers of several values: "p=5, q=2" before a semicolon."""
        node = self.node(part)
        if isinstance(node, Many) and all(isinstance(item, Relation) for item in node.items):
            return node
        if isinstance(node, Many) and len(node.items) > 1:
            return Bracketed("(", ")", node.items)
        return node

    # One

    def _single(self, piece: Piece) -> Node:
        residue = self._modular(piece)
        if residue is not None:
            return residue
        if holds(piece, *_SIGNS):
            return self._relation(piece)
        if holds(piece, "cup", "cap", "setminus") or self._minus_set(piece):
            return self._set_algebra(piece)
        bracketed = self._bracketed(piece)
        if bracketed is not None:
            return bracketed
        if any(token.kind == "begin" for token in piece):
            return self._matrix(piece)
        if holds(piece, ":"):
            return Ratio(tuple(parse(part, self.functions) for part in split(piece, ":")))
        digits = based(piece)
        if digits is not None:
            return digits
        spoken = spoken_set(piece)
        if spoken is not None:
            return spoken
        value = plus_minus(quantity(piece, self.functions, self.unit))
        empty = isinstance(value, Quantity) and value.value == Name(r"\emptyset")
        return Many("set", ()) if empty else value

    def _modular(self, piece: Piece) -> Node | None:
        at = next((n for n, t in enumerate(piece) if t.key == ("cmd", "pmod")), None)
        if at is not None:
            modulus = piece[at + 1 :]
        elif piece[-1].text == ")":
            at = next((n for n, t in enumerate(piece) if t.key == ("op", "bmod")), None)
            if at is None or piece[at - 1].text != "(":
                return None
            modulus, at = piece[at + 1 : -1], at - 1
        else:
            return None
        value: Node = self.node(piece[:at])
        if isinstance(value, Relation) and value.signs == ("equiv",):
            value = value.sides[-1]
        if not isinstance(value, Quantity):
            raise UnreadableError("a residue")
        return Modular(value.value, parse(modulus, self.functions))

    def _relation(self, piece: Piece) -> Node:
        parts: list[Piece] = [()]
        signs: list[str] = []
        depth = 0
        for token in piece:
            if token.kind in ("op", "begin", "end"):
                depth += (token.text in OPENERS or token.kind == "begin") - (
                    token.text in CLOSERS or token.kind == "end"
                )
            if depth == 0 and token.kind == "op" and token.text in _SIGNS:
                signs.append(token.text)
                parts.append(())
            else:
                parts[-1] += (token,)
        if not parts[0]:
            value = self.node(piece[1:])
            if signs[0] == "=":
                return value
            if signs[0] == "approx" and isinstance(value, Quantity):
                return replace(value, rounded=True)
            raise UnreadableError("a relation without its left side")
        if not all(parts):
            raise UnreadableError("a relation without one of its sides")
        names = tuple(canonical(part) for part in parts)
        if "in" in signs:
            return self._member(parts, signs, names)
        if len(parts) == 2 and signs == ["="] and _is_swapped(*parts):
            parts, names = parts[::-1], names[::-1]
        sides = tuple(self.node(part) for part in parts)
        if signs == ["ne"] and isinstance(sides[1], Many):
            each = [Relation((sides[0], item), ("ne",), (names[0], "")) for item in sides[1].items]
            values = [item.value for item in sides[1].items if isinstance(item, Quantity)]
            if len(values) == len(each) and isinstance(sides[0], Quantity):
                candidates = [from_inequality((sides[0].value, v), signs, names) for v in values]
                regions = [region for region in candidates if region is not None]
                if len(regions) == len(each):
                    return conjoined("and", list(regions))
        if set(signs) <= _ORDERED:
            values = [side.value for side in sides if isinstance(side, Quantity)]
            if len(values) == len(sides):
                region = from_inequality(values, signs, names)
                if region is not None:
                    return region
        return Relation(sides, tuple(signs), names)

    def _member(self, parts: list[Piece], signs: list[str], names: tuple[str, ...]) -> Node:
        if signs != ["in"]:
            raise UnreadableError("a chain of memberships")
        node = self.node(parts[1])
        if isinstance(node, Many) and node.kind == "set":
            sides = [
                Relation((Unread("a name"), item), ("=",), (names[0], "")) for item in node.items
            ]
            return sides[0] if len(sides) == 1 else Many("or", tuple(sides))
        region = as_region(node)
        if region is not None:
            return replace(region, name=names[0])
        return Relation((self.node(parts[0]), node), ("in",), names)

    def _minus_set(self, piece: Piece) -> bool:
        line = piece[0].text == "\\mathbb R"
        return line and len(piece) > 3 and piece[1].text == "-" and piece[2].text == r"\{"

    def _set_algebra(self, piece: Piece) -> Node:
        if self._minus_set(piece):
            piece = (piece[0], replace(piece[1], text="setminus"), *piece[2:])
        parts = split(piece, "cup")
        if len(parts) > 1:
            regions = [self._as_set(part) for part in parts]
            return union(regions)
        for sign, combine in (("setminus", difference), ("cap", intersection)):
            parts = split(piece, sign)
            if len(parts) > 1:
                total = self._as_set(parts[0])
                for part in parts[1:]:
                    combined = combine(total, self._as_set(part))
                    if combined is None:
                        raise UnreadableError("sets whose ends have no values")
                    total = combined
                return total
        raise UnreadableError("a set")

    def _as_set(self, piece: Piece) -> Region:
        region = as_region(self.node(piece))
        if region is None:
            raise UnreadableError("a set")
        return region

    def _bracketed(self, piece: Piece) -> Node | None:
        opening, closing = piece[0].text, piece[-1].text
        lost = piece[0].kind == "name" and len(piece) > 4 and piece[1].text in ("(", "[")
        if lost and closing in (")", "]") and closed_by(piece[1:]):
            pair = (piece[1].text, closing)
            if pair in (("(", "]"), ("[", ")")):  # "t(0,4]" lost its sign
                region = as_region(self.node(piece[1:]))
                return None if region is None else replace(region, name=piece[0].text)
        if piece[0].kind != "op" or opening not in OPENERS or not closed_by(piece):
            return None
        inner = piece[1:-1]
        if opening == r"\{" or (opening == "{" and holds(inner, ",")):
            return self._set(inner)
        if opening not in ("(", "[", "langle"):
            return None
        parts = [part for part in split(inner, ",", ";") if part]
        if len(parts) == 1:
            if (opening, closing) in (("(", ")"), ("[", "]")):
                node = self.node(inner)
                return node if not isinstance(node, Unread | Words) else None
            return None
        opening, closing = ("<", ">") if opening == "langle" else (opening, closing)
        return Bracketed(opening, closing, tuple(self.node(part) for part in parts))

    def _set(self, inner: Piece) -> Node:
        if not inner:
            return Many("set", ())
        for sign in ("|", ":"):
            parts = split(inner, sign)
            if len(parts) == 2 and parts[0] and parts[0][0].kind == "name":
                region = as_region(self.node(parts[1]))
                within = split(parts[0], "in")
                reals = len(within) == 1 or [t.text for t in within[1]] == [r"\mathbb R"]
                if region is None or not reals:
                    raise UnreadableError("the condition of a set")
                return replace(region, name="")
        listed = self._list(inner)
        if listed is None:
            item = self.node(inner)
            several = isinstance(item, Many) and item.kind != "set"
            return Many("set", item.items if several and isinstance(item, Many) else (item,))
        return Many("set", listed.items) if isinstance(listed, Many) else Many("set", (listed,))

    def _matrix(self, piece: Piece) -> Node:
        start = next(n for n, token in enumerate(piece) if token.kind == "begin")
        if piece[-1].kind != "end" or any(t.kind == "begin" for t in piece[start + 1 :]):
            raise UnreadableError("an environment inside of something else")
        environment = piece[start].text
        body = piece[start + 1 : -1]
        rows = [row for row in split(body, r"\\") if row]
        cells = [split(row, "&") for row in rows]
        if environment in ("cases", "aligned", "align", "gathered", "split", "dcases"):
            joined = [tuple(t for cell in row for t in cell) for row in cells]
            return conjoined("and", shared_name([self.node(row) for row in joined]))
        if "matrix" not in environment and environment != "array":
            raise UnreadableError(f"the environment {environment}")
        nodes = tuple(tuple(self.node(cell) for cell in row) for row in cells)
        if len({len(row) for row in nodes}) != 1:
            raise UnreadableError("a matrix with rows of different length")
        matrix = Matrix(nodes, bars="v" in environment.lower())
        front = piece[:start]
        if front and front[-1].key == ("op", "*"):
            front = front[:-1]
        if not front:
            return matrix
        factor = (
            Num(Fraction(-1)) if [t.text for t in front] == ["-"] else parse(front, self.functions)
        )
        return scaled(matrix, factor)


def _is_swapped(left: Piece, right: Piece) -> bool:
    """`5 = x`: a number before its name."""
    return len(right) == 1 and right[0].kind == "name" and all(t.kind != "name" for t in left)
