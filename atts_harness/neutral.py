"""Text from outside made harmless: no control sequence, no markup, no formula.

Names of models, tasks and packages, messages of servers and generated text are shown in terminals,
logs, Markdown and spreadsheets. None of these may take a part of them for an instruction.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the reading order
    "\u2028\u2029\ud800-\udfff\ufeff]"  # other ends of line, half surrogates
)
_PICTURES = 0x2400  # U+2400 to U+241F are pictures of the control characters
_DELETE = 0x7F
_FORMULA = re.compile(r"^\s*[=+\-@|%]|^[\t\r\n]")
_NUMBER = re.compile(r"^\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*$")
_MARKDOWN = re.compile(r"([\\`*_|<>\[\]~#!&])")


def plain(text: str) -> str:
    """Text for a terminal or a log: control characters as their pictures, lines kept."""
    return _CONTROL.sub(_picture, text)


def line(text: str) -> str:
    """Text on one line for a terminal or a log."""
    return " ".join(plain(text).split())


def field(text: str) -> str:
    """Text for a cell of a spreadsheet: what one would take for a formula gets a quote in front.

    Source: OWASP, "CSV Injection".
    """
    text = plain(text)
    if _FORMULA.match(text) and not _NUMBER.match(text):
        return f"'{text}"
    return text


def markdown(text: str) -> str:
    """Text for Markdown, on one line: nothing of it is markup."""
    return _MARKDOWN.sub(r"\\\1", line(text))


def logger(name: str) -> logging.Logger:
    """The logger of that name; control characters in its messages are made harmless."""
    import logging

    instance = logging.getLogger(name)
    if _harmless not in instance.filters:
        instance.addFilter(_harmless)
    return instance


def _harmless(record: logging.LogRecord) -> bool:
    record.msg, record.args = plain(record.getMessage()), None
    return True


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(_PICTURES + code)
    return "\u2421" if code == _DELETE else "\ufffd"
