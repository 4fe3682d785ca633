r"""Extractors: the answer of a generated text, by a rule called `boxed`, `regex`, ...

Every extractor is a function of the generated text alone (never of the prompt, for the box in its
example would be found) and of the kind of answer that is asked for. All of them run in
linear time, so a text of any length is safe.

Reasoning models write `</think>` before their final words: `boxed` and `last_expression` look
there first, and into the thoughts only if the final words hold nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from atts_harness.errors import UnknownSettingError
from atts_harness.grading.choices import boxed_letter, letter_of, phrased_letter
from atts_harness.grading.wordlists import words_of

Kind = Literal["maths", "choice"]
"""What the task asks for: an expression, or one of the letters A to D."""

Extractor = Callable[[str, Kind], str | None]

THINK_END = "</think>"
LLM = "llm"
"""An extractor that is a model's call, made when the sample ends: `atts_harness.judging.llm`."""

_OPENER = re.compile(r"\\(?:boxed|fbox)\s*$")
_BRACES = re.compile(r"\\[{}\\]|[{}]")
# A box without braces holds only a number: any word may follow a mention of the command.
_UNBRACED = re.compile(r"\\boxed\s*(-?\d+(?:[.,/]\d+)*)")
_OPEN_NUMBER = re.compile(r"\\boxed\s*-?[\d.,/]*\Z")
# The content of a box that is a placeholder: nothing, dots, or words for "your answer here".
_BLANK = re.compile(
    r"x{3,}|(?:\\(?:l|c|d|v)?dots|\\cdot|\\square|\\phantom|\\hspace|\\underline|\\_|[.…?_\s*□■<>\[\]()-])*"
)
_FORM_NOUNS = frozenset(
    words_of("answer answers solution solutions result ans number integer value expression")
)
_FORM_WORDS = _FORM_NOUNS | frozenset(
    words_of(
        "your the a an final here goes insert put write enter place number numeric numerical "
        "value letter choice option expression correct integer of to for this problem "
        "question in is as simplified single exact only my our "
    )
)
_ALL_LETTERS = re.compile(r"A\W+(?:or\W+)?B\W+(?:or\W+)?C\W+(?:or\W+)?D\W*")
# What may stand between the boxes of one answer: punctuation, "and", maths delimiters, "y =".
_BETWEEN = re.compile(
    r"(?:[\s,;&$-]|\\[()\[\],;:! ]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\}|\band\b|\bor\b"
    r"|\b[A-Za-z](?:_\{?\w\}?)?\s*=)*"
)
_LONGEST_GAP = 40
_DEEPEST_BOX = 3


@dataclass(frozen=True)
class _Box:
    content: str
    start: int
    end: int


def _boxes(text: str) -> list[_Box]:
    """Closed outermost boxes in order, found in one pass over the braces."""
    stack: list[tuple[int, int | None]] = []
    boxes: list[_Box] = []
    for match in _BRACES.finditer(text):
        brace = match.group()
        if brace == "{":
            opener = _OPENER.search(text, max(0, match.start() - 12), match.start())
            stack.append((match.end(), opener.start() if opener else None))
        elif brace == "}" and stack:
            content_at, start = stack.pop()
            if start is not None:
                while boxes and boxes[-1].start > start:
                    boxes.pop()
                boxes.append(_Box(text[content_at : match.start()], start, match.end()))
    return boxes


def _unwrapped(content: str) -> str:
    for _ in range(_DEEPEST_BOX):
        inner = _boxes(content) if "\\boxed" in content or "\\fbox" in content else []
        if not inner:
            break
        content = inner[-1].content
    return content.strip()


def _is_answer(content: str) -> bool:
    """Whether a box holds more than a placeholder, such as dots."""
    bare = re.sub(
        r"\\(?:text|mathrm|mathbf|boxed)[a-z]*\s*|\\q?quad|\\hspace\{.*?\}|\\[,;:!$_ ]|[{}$~]",
        " ",
        content,
    )
    bare = re.sub(r"\\(?:langle|rangle|left|right)(?![A-Za-z])", " ", bare).strip()
    if _BLANK.fullmatch(bare) or _ALL_LETTERS.fullmatch(bare):
        return False
    words = re.findall(r"[a-z]+", bare.lower())
    in_words = re.fullmatch(r"[A-Za-z\s.,:;'_/<>\[\]()-]+", bare) is not None
    form = in_words and set(words) <= _FORM_WORDS
    return not (form and (_FORM_NOUNS & set(words) or "your" in words or "here" in words))


def _last_boxes(text: str) -> list[str]:
    """One answer from the last box and the boxes next to it."""
    boxes = [box for box in _boxes(text) if _is_answer(box.content)]
    if not boxes:
        unbraced = _UNBRACED.findall(text)
        return unbraced[-1:]
    group = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        gap = text[box.end : group[-1].start]
        if len(gap) > _LONGEST_GAP or "\n\n" in gap or not _BETWEEN.fullmatch(gap):
            break
        group.append(box)
    return list(dict.fromkeys(_unwrapped(box.content) for box in reversed(group)))


def _regions(text: str) -> Iterable[str]:
    """The final words, then everything."""
    _, end, final = text.rpartition(THINK_END)
    if end:
        yield final
    yield text


def boxed(text: str, kind: Kind = "maths") -> str | None:
    r"""The last `\boxed{...}`, braces balanced; boxes side by side are several answers of one.

    A box that is never closed, empty, or that only quotes the instruction (`\boxed{...}`) is
    not an answer. For `choice` the box must hold one letter; where it holds none, the usual
    phrasings count.

    Args:
        text: generated text.
        kind: what is asked for.

    Returns:
        The content, several joined by ", "; None if there is no answer.
    """
    for region in _regions(text):
        contents = _last_boxes(region)
        if kind == "maths":
            if contents:
                return ", ".join(contents)
            continue
        decided, letter = boxed_letter(contents)
        if not decided:
            letter = phrased_letter(region)
        if letter is not None or decided:
            return letter
    return None


_PHRASED = re.compile(r"(?i:\banswer\b)[^\S\n]*(?:(?i:is|equals)\b[^\S\n]*:?|:|=)\s*(.*)")
_DELIMITER = re.compile(r"\\[\[\]()]|\$\$|(?<!\\)\$")
_CLOSER = {"\\[": "\\]", "\\(": "\\)", "$$": "$$", "$": "$"}
_NUMBER = re.compile(r"[-−]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?\s*%?")


def _last_maths(text: str) -> str | None:
    """Content of the last closed pair of maths delimiters, found in one pass."""
    opened: re.Match[str] | None = None
    last = None
    for match in _DELIMITER.finditer(text):
        token = match.group()
        if opened is not None and token == _CLOSER[opened.group()]:
            content = text[opened.end() : match.start()].strip()
            if content and not (token == "$" and "\n" in content):
                last, opened = content, None
                continue
        opened = match if token in _CLOSER else None
    return last


def _last_number(text: str) -> str | None:
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return None if last is None else last.group().strip()


def last_expression(text: str, kind: Kind = "maths") -> str | None:
    """The last box or "the answer is ...", else the last maths in delimiters, else a number.

    As `boxed`, with a guess for texts without a box.

    Args:
        text: generated text.
        kind: what is asked for; `choice` takes a phrased letter before a boxed one.

    Returns:
        The expression, or None.
    """
    if kind == "choice":
        answers = (phrased_letter(region) or boxed(region, kind) for region in _regions(text))
    else:
        rules = (_announced, _last_maths, _last_number)
        answers = (rule(region) for rule in rules for region in _regions(text))
    return next((answer for answer in answers if answer), None)


def _announced(text: str) -> str | None:
    """The last box, or what follows a later "the answer is" on its line."""
    boxes = [box for box in _boxes(text) if _is_answer(box.content)]
    phrases = list(_PHRASED.finditer(text))
    if boxes and (not phrases or phrases[-1].start() < boxes[-1].end):
        return ", ".join(_last_boxes(text))
    if not phrases:
        return None
    line = text[phrases[-1].start(1) :].strip().split("\n", 1)[0].strip().strip("*").strip()
    return _last_maths(line) or _last_number(line)


def _last_lazy_box(text: str) -> str | None:
    r"""What the last match of `\\boxed\{(.*?)\}` holds, but in linear time."""
    opener = "\\boxed{"
    last = None
    close = newline = -1
    at = text.find(opener)
    while at >= 0:
        start = at + len(opener)
        if close < start:
            close = text.find("}", start)
        if close < 0:
            break
        if newline < start:
            newline = text.find("\n", start)
            newline = len(text) if newline < 0 else newline
        if close < newline:
            last, start = text[start:close], close + 1
        at = text.find(opener, start)
    return last


def regex(text: str, kind: Kind = "maths") -> str | None:
    r"""The published rule: the last `\boxed{...}` up to the first closing brace on its line.

    It cuts `\frac{1}{2}` to `\frac{1`. Kept for comparison with published numbers only.

    Args:
        text: generated text.
        kind: what is asked for; `choice` takes the letter of the box, as published.

    Returns:
        The content, or None.
    """
    content = _last_lazy_box(text)
    return letter_of(content) if content is not None and kind == "choice" else content


EXTRACTORS: dict[str, Extractor] = {
    "boxed": boxed,
    "last_expression": last_expression,
    "regex": regex,
}


def extract(name: str, text: str, kind: Kind = "maths") -> str | None:
    """Apply the extractor called `name`.

    Args:
        name: a key of `EXTRACTORS`.
        text: generated text.
        kind: what is asked for.

    Returns:
        The answer, or None if the text gives none.

    Raises:
        UnknownSettingError: no such rule; names the nearest.
    """
    if name not in EXTRACTORS:
        raise UnknownSettingError(name, [*EXTRACTORS, LLM], source="extractor", what="extractor")
    return EXTRACTORS[name](text, kind)


def check_extractor(name: str) -> str:
    """The name itself, if there is such an extractor; `llm` is one.

    Raises:
        UnknownSettingError: there is none; names the nearest.
    """
    if name not in EXTRACTORS and name != LLM:
        raise UnknownSettingError(name, [*EXTRACTORS, LLM], source="extractor", what="extractor")
    return name


def extractors_of(setting: str) -> tuple[str, ...]:
    """The extractors that a setting names: `boxed`, or several joined by `+`.

    The first one grades. Rules are always applied to every text, so a further name only decides
    whether `llm` is called: `boxed+llm` grades by the box and stores the model's answer, too.

    Raises:
        UnknownSettingError: there is no such extractor; names the nearest.
    """
    return tuple(dict.fromkeys(check_extractor(name.strip()) for name in setting.split("+")))


def has_answer(text: str) -> bool:
    """Whether a text holds a final answer: a closed box that is not empty.

    It ends a sample early, and is the test that `boxed` grades by. A number without braces at the
    end of the text may go on in the next turn.
    """
    return bool(_last_boxes(_OPEN_NUMBER.sub("", text)))
