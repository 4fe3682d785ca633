"""Splitting of token sequences at separators that are outside of brackets."""

from __future__ import annotations

from atts_harness.grading.reading.tokens import Token

Piece = tuple[Token, ...]
OPENERS = {"(", "[", "{", r"\{", "langle", "lfloor", "lceil"}
CLOSERS = {")", "]", "}", r"\}", "rangle", "rfloor", "rceil"}
_CONNECTIVES = {"and", "or"}


def split(piece: Piece, *separators: str) -> list[Piece]:
    """Parts between separators (signs or words) outside of all brackets; empty ones stay."""
    parts: list[Piece] = []
    start = depth = 0
    for at, token in enumerate(piece):
        if token.kind in ("op", "begin", "end"):
            opens = token.text in OPENERS if token.kind == "op" else token.kind == "begin"
            closes = token.text in CLOSERS if token.kind == "op" else token.kind == "end"
            depth += opens - closes
        word = token.kind == "word" and token.text.lower() in _CONNECTIVES & set(separators)
        if depth == 0 and (word or (token.kind == "op" and token.text in separators)):
            parts.append(piece[start:at])
            start = at + 1
    parts.append(piece[start:])
    return parts


def holds(piece: Piece, *signs: str) -> bool:
    """Whether a sign or word occurs outside of all brackets."""
    return len(split(piece, *signs)) > 1


def closed_by(piece: Piece) -> bool:
    """Whether the bracket that opens the piece is closed by its last token."""
    depth = 0
    for at, token in enumerate(piece):
        if token.kind == "op":
            depth += (token.text in OPENERS) - (token.text in CLOSERS)
        if depth == 0:
            return at == len(piece) - 1
    return False


def canonical(piece: Piece) -> str:
    r"""A name's spelling, by which names are compared: `|AB|` and `\overline{AB}` are `AB`."""
    texts = [
        token.text
        for at, token in enumerate(piece)
        if not (token.text == "{" and at + 2 < len(piece) and piece[at + 2].text == "}")
        and not (token.text == "}" and at > 1 and piece[at - 2].text == "{")
    ]
    letters = [t for t in texts if t not in ("|", "overline", "bar", "{", "}")]
    segment = letters != texts and letters and all(t.isalpha() and t.isupper() for t in letters)
    return " ".join(letters if segment else texts)
