r"""An answer's characters as tokens: LaTeX, plain text and Unicode in one alphabet.

Decoration is removed here (`\left`, fonts, colours, dollar signs), meaning is not: what is between
two tokens (nothing, a space, a wide space) is kept: "2^6 3" is not "2^63", and "1 2" is not
"12".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from atts_harness.grading.reading.characters import PLAIN, SCRIPTS
from atts_harness.grading.reading.vocabulary import (
    ACCENTS,
    FUNCTIONS,
    IGNORED,
    LETTERS,
    NEGATED,
    PLAIN_NAMES,
    RENAMED,
    STRUCTURES,
    TEXTS,
    TIGHT_UNITS,
    is_unit,
    is_word,
)

LONGEST = 2000
"""Characters of an answer that are compared; final answers are shorter."""

Kind = Literal["num", "name", "word", "func", "cmd", "op", "begin", "end"]


class UnreadableError(ValueError):
    """The grammar does not cover a text; the message says why."""


@dataclass(frozen=True, slots=True)
class Token:
    r"""A piece of an answer.

    Attributes:
        kind: `num`, `name` (a letter), `word`, `func` (sin), `cmd` (frac, sqrt, text over text),
            `op` (signs and brackets), `begin` and `end` of an environment.
        text: one spelling for all spellings of the same thing.
        gap: what stands before it: 0 nothing, 1 a space, 2 a wide space or an empty text.
        upright: written inside `\text`, `\mathrm` or the like.
    """

    kind: Kind
    text: str
    gap: int = 0
    upright: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Equal for tokens with the same meaning, in any surroundings."""
        return self.kind, self.text


_MASTER = re.compile(
    r"""(?P<space>(?:\s|~|\\[ ,;:>!/](?!\\)|\\\n)+)
    |(?P<newline>\\\\(?:\s*\[-?[\d.]+\s*(?:pt|em|ex|cm|mm)\])?|\\cr\b)
    |(?P<cmd>\\operatorname\*|\\[A-Za-z]+)
    |(?P<esc>\\[^A-Za-z])
    |(?P<num>\d+|\.\d)
    |(?P<meridiem>\b[aApP]\.?\s?[mM]\b\.?)
    |(?P<run>[A-Za-z]+)
    |(?P<dots>\.\.\.+)
    |(?P<pair>\*\*|<=|>=|=<|!=|==|\|\||:=)
    |(?P<other>.)""",
    re.X | re.S,
)
_PARAGRAPH = re.compile(r"(?<=\S)\n\n(?=\S)")
# "12^{\\text{th": the published rule for boxes cuts at the first closing brace.
_CUT_ORDINAL = re.compile(r"(?<=\d)\s*\^?\{?\s*\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*$")
_WIDE = {"quad", "qquad", "hfill", "enspace", "hspace"}
_GROUP = r"(?:\{,\}|,\\!\s?|\\,|\\ |\\;|\\:|~| )"
_SPACED = re.compile(rf"\d{{1,3}}(?:(?P<sep>{_GROUP})\d{{3}}(?:(?P=sep)\d{{3}})*)(?!\d)")
_COMMA_RUN = re.compile(r"\d+(?:,\d+)+")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_FRACTION_PART = re.compile(r"\.\d+")
_REPEATING = re.compile(
    r"(?P<lead>\d*)(?:\\(?:overline|bar|overset\{\\frown\})\s*\{(?P<bar>\d+)\}"
    r"|\\(?:overline|bar)\s*(?P<one>\d)"
    r"|\\dot\s*\{?(?P<from>\d)\}?(?:(?P<mid>\d*)\\dot\s*\{?(?P<to>\d)\}?)?)"
)
_REPEATING_ROUND = re.compile(r"\((\d+)\)(?![\d(])")
_REPEATING_DOTS = re.compile(
    r"(?P<lead>\d*?)(?P<block>\d{1,6}?)(?P=block){2,}(?:\.\.\.+|\\l?dots(?![A-Za-z])|\\cdots(?![A-Za-z]))"
)
_EXPONENT = re.compile(r"[eE]([-+]?\d{1,4})(?![\w.])")
_OPENERS = {"(", "[", r"\{"}
_SPLIT_RUN = re.compile(
    r"([A-Za-z]?)(sqrt|arcsin|arccos|arctan|sin|cos|tan|cot|log|ln|pi)([a-zA-Z]?)"
)


def plain(text: str) -> str:
    """Unicode maths, full-width signs and superscripts as LaTeX or ASCII."""
    # Published runs put a blank line between chunks, even inside numbers; no formula has one.
    out = _CUT_ORDINAL.sub("", _PARAGRAPH.sub("", text)).translate(PLAIN)
    for pattern, replacement in SCRIPTS:
        out = pattern.sub(replacement, out)
    return unicodedata.normalize("NFKC", out)


def tokens(text: str, *, several: bool = False) -> tuple[Token, ...]:
    """Read a text into tokens.

    Args:
        text: LaTeX or plain, without the box.
        several: "100,200" is two numbers; without it a comma between groups of three digits joins.

    Raises:
        UnreadableError: too long, or a brace without a partner.
    """
    if len(text) > LONGEST:
        raise UnreadableError("too long")
    return tuple(_Lexer(plain(text), several).all())


class _Lexer:
    def __init__(self, text: str, several: bool, upright: bool = False) -> None:
        self.text = text
        self.several = several
        self.upright = upright
        self.at = 0
        self.gap = 0
        self.depth = 0
        self.last: Token | None = None
        self.before: Token | None = None

    def all(self) -> Iterator[Token]:
        while self.at < len(self.text):
            for token in self._next():
                self.before, self.last = self.last, token
                self.depth += (token.text in _OPENERS) - (token.text in (")", "]", r"\}"))
                yield token

    def _make(self, kind: Kind, text: str) -> Token:
        token = Token(kind, text, self.gap, self.upright)
        self.gap = 0
        return token

    def _next(self) -> Iterator[Token]:
        match = _MASTER.match(self.text, self.at)
        assert match is not None  # the last alternative takes any character
        group, piece = str(match.lastgroup), match.group()
        if group == "num":
            yield self._number()
            return
        self.at = match.end()
        if group == "space":
            if piece != r"\!":
                self.gap = max(self.gap, 1)
        elif group == "newline":
            yield self._make("op", r"\\")
        elif group == "cmd":
            yield from self._command(piece[1:].removesuffix("*"))
        elif group == "esc":
            yield from self._escaped(piece[1])
        elif group == "meridiem":
            yield from self._meridiem(piece)
        elif group == "run":
            yield from self._run(piece)
        elif group == "dots":
            yield self._make("op", "dots")
        elif group == "pair":
            if piece == "||":
                yield self._make("op", "|")
                piece = "|"
            renamed = {"**": "^", "<=": "le", "=<": "le", ">=": "ge", "!=": "ne", "==": "="}
            yield self._make("op", renamed.get(piece, piece))
        elif piece == "$":
            pass
        elif piece in '`"“”':
            self.gap = max(self.gap, 1)
        elif piece.isalpha():
            yield self._make("word", piece)
        else:
            yield self._make("op", piece)

    def _number(self) -> Token:
        text, at = self.text, self.at
        spaced = _SPACED.match(text, at)
        run = _COMMA_RUN.match(text, at)
        commas_join = not self.several and self.depth <= 0
        if spaced is not None and (self.last is None or self.last.kind != "num"):
            digits, at = re.sub(r"\D", "", spaced.group()), spaced.end()
        elif run is not None and commas_join and _GROUPED.fullmatch(run.group()):
            digits, at = run.group().replace(",", ""), run.end()
        elif text[at] == ".":
            digits = ""
        else:
            whole = re.compile(r"\d+").match(text, at)
            assert whole is not None
            digits, at = whole.group(), whole.end()
        fraction = _FRACTION_PART.match(text, at)
        if at < len(text) and text[at] == ".":
            repeated = _repeating(text, at + 1)
            if repeated is not None:
                self.at = repeated[1]
                return self._make("num", f"{digits or '0'}.{repeated[0]}")
        if fraction is not None:
            digits, at = (digits or "0") + fraction.group(), fraction.end()
        exponent = _EXPONENT.match(text, at)
        if exponent is not None and not self.upright:
            digits, at = f"{digits}e{exponent.group(1)}", exponent.end()
        self.at = at
        return self._make("num", digits)

    def _escaped(self, sign: str) -> Iterator[Token]:
        if sign in "()[]":
            return  # maths delimiters
        if sign in "{}":
            yield self._make("op", "\\" + sign)
        elif sign in "%$&#_|":
            yield self._make("op", {"$": "money", "|": "||"}.get(sign, sign))
        elif sign == "-":
            return

    def _meridiem(self, piece: str) -> Iterator[Token]:
        previous = self.last
        if previous is not None and previous.kind == "num" and ("." in piece or self._spaced()):
            yield self._make("word", piece[0].lower() + "m")
            return
        self.at -= len(piece)
        letters = re.compile(r"[A-Za-z]+").match(self.text, self.at)
        assert letters is not None
        self.at = letters.end()
        yield from self._run(letters.group())

    def _spaced(self) -> bool:
        return self.gap > 0 or self.upright

    def _group(self) -> str:
        """The content of the braces that follow, or the next character; moves behind it."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        if self.at >= len(self.text) or self.text[self.at] != "{":
            content = self.text[self.at : self.at + 1]
            self.at += 1
            return content
        depth, start = 0, self.at + 1
        for match in re.compile(r"\\.|[{}]", re.S).finditer(self.text, self.at):
            depth += (match.group() == "{") - (match.group() == "}")
            if depth == 0:
                self.at = match.end()
                return self.text[start : match.start()]
        raise UnreadableError("a brace is not closed")

    def _command(self, name: str) -> Iterator[Token]:
        name = RENAMED.get(name, name)
        if name in IGNORED:
            if name in ("left", "right", "middle") and self.text[self.at : self.at + 1] == ".":
                self.at += 1
        elif name in _WIDE:
            self.gap = 2
            if name == "hspace":
                self._group()
        elif name in ("color", "textcolor", "phantom", "hphantom", "vphantom", "tag", "label"):
            self._group()
        elif name == "not":
            yield from self._negated()
        elif name in TEXTS:
            yield from self._upright(self._group())
        elif name in ("begin", "end"):
            environment = self._group().rstrip("*")
            if name == "begin" and environment in ("array", "tabular"):
                self._group()
            yield self._make(name, environment)  # type: ignore[arg-type]
        elif name in FUNCTIONS:
            yield self._make("func", FUNCTIONS[name])
        elif name in STRUCTURES or name in ACCENTS:
            yield self._make("cmd", name)
        elif name in LETTERS:
            yield self._make("name", LETTERS[name])
        elif name == "mathbb":
            yield self._make("name", "\\mathbb " + self._group().strip())
        else:
            yield from self._sign(name)

    def _sign(self, name: str) -> Iterator[Token]:
        from atts_harness.grading.reading.vocabulary import SIGNS

        if name not in SIGNS:
            raise UnreadableError(rf"\{name} is not covered")
        sign = SIGNS[name]
        if sign:
            yield self._make("op", sign)

    def _negated(self) -> Iterator[Token]:
        while self.at < len(self.text):
            for token in self._next():
                if token.text not in NEGATED:
                    raise UnreadableError(rf"\not before {token.text}")
                yield replace(token, text=NEGATED[token.text])
                return
        raise UnreadableError(r"\not before nothing")

    def _upright(self, content: str) -> Iterator[Token]:
        if not content.strip(" ~"):
            self.gap = 2
            return
        inner = _Lexer(content, self.several, upright=True)
        inner.last = self.last
        for number, token in enumerate(inner.all()):
            if number == 0:
                token = replace(token, gap=max(token.gap, self.gap))
                self.gap = 0
            yield token
        self.gap = max(self.gap, inner.gap)

    def _run(self, run: str) -> Iterator[Token]:
        following = self.text[self.at : self.at + 1]
        if run in PLAIN_NAMES:
            kind, text = PLAIN_NAMES[run]
            yield self._make(kind, text)  # type: ignore[arg-type]
        elif self.upright and (len(run) > 1 or run in "aAI"):
            yield from self._hyphened(run)
        elif len(run) == 1:
            yield self._make("name", run)
        elif self._is_word(run, following):
            yield from self._hyphened(run)
        elif (split := _SPLIT_RUN.fullmatch(run)) is not None:
            before, name, after = split.groups()
            kind, text = PLAIN_NAMES[name]
            if before:
                yield self._make("name", before)
            yield self._make(kind, text)  # type: ignore[arg-type]
            if after:
                yield self._make("name", after)
        else:
            for letter in run:
                yield self._make("name", letter)

    def _is_word(self, run: str, following: str) -> bool:
        behind_number = self.last is not None and (
            self.last.kind == "num" or self.last.text in (")", "}")
        )
        if behind_number and is_unit(run) and (self.gap or run in TIGHT_UNITS):
            return True
        lowered = self.before is not None and self.before.key == ("op", "_")
        if lowered and self.last is not None and self.last.text == "{" and is_word(run):
            return True
        apart = self.last is None or self.gap > 0 or self.last.text in ("/", "-", "(", ",", "money")
        return apart and is_word(run) and following not in ("(", "^", "_")

    def _hyphened(self, run: str) -> Iterator[Token]:
        yield self._make("word", run)


def _repeating(text: str, at: int) -> tuple[str, int] | None:
    """Digits behind a decimal point with a repeating block, as "1(6)", and where they end."""
    match = _REPEATING.match(text, at)
    if match is not None:
        lead = match.group("lead")
        block = match.group("bar") or match.group("one")
        if block is None:
            block = match.group("from")
            if match.group("to") is not None:
                block += match.group("mid") + match.group("to")
        return f"{lead}({block})", match.end()
    match = _REPEATING_ROUND.match(text, at)
    if match is not None:
        return f"({match.group(1)})", match.end()
    match = _REPEATING_DOTS.match(text, at)
    if match is not None:
        return f"{match['lead']}({match['block']})", match.end()
    return None
