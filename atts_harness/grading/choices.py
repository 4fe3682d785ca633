r"""The letter that a text gives to a multiple-choice question.

One letter or none: hedges ("A or B", two boxes), letters that are something else ("A racemic
mixture", "C-H activation") and sentences about another option give none.
"""

from __future__ import annotations

import re
import unicodedata

_FONTS = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|textnormal|mathrm|mathbf|mathsf|mathtt|mathit"
    r"|boldsymbol|bm|underline|boxed|fbox|mbox|hbox|bf|rm|it|large|Large|displaystyle"
    r"|left|right)(?![A-Za-z])"
)
_GAPS = re.compile(r"\\q?quad(?![A-Za-z])|\\[,;:! ]|~|&")
_MARKS = re.compile(r"[{}$*`\"“”_]|\\[()\[\]]")
_WORDS_BEFORE = (
    r"(?:(?:so|thus|hence|therefore|the|my|our|final|correct|right|best|answer|option|choice|is"
    r"|letter)\b[\s:]*)*"
)
_CLOSED = r"[(\[]\s*([A-Da-d])\s*[)\]]"
_HELD = re.compile(
    rf"(?i:{_WORDS_BEFORE})(?:{_CLOSED}|([A-Da-d]))"
    r"(?=\s*$|\s*[.):,;]\s*$|\s*[.):;,](?=\s)|\s+[-–—]\s|\s{2,}|\s+\(|\s+(?i:because|since|as|which)\b)"
)
_CLOSED_HELD = re.compile(rf"(?i:{_WORDS_BEFORE}){_CLOSED}(?=\s|$|[.:,;])")
_OTHER = re.compile(
    r"^[\s).:,;/|&-]*(?i:and|or|und|oder|及|和|或)?\s*[(\[]?\s*[A-D]\s*(?:[)\]]|\b(?!['’-]))"
)


def _bare(content: str) -> str:
    """The text without fonts, maths delimiters and emphasis; wide gaps become two spaces."""
    text = unicodedata.normalize("NFKC", content)
    text = _FONTS.sub(" ", _GAPS.sub("  ", text))
    return re.sub(r"^\s+", "", _MARKS.sub("", text)).strip()


def letter_of(content: str) -> str | None:
    r"""The letter that a box or a gold holds: `B`, `(B)`, `\text{B}`, `B. because`, `Option B`.

    Args:
        content: what stands in the box.

    Returns:
        A capital letter A to D; None if it holds none, or more than one.
    """
    bare = re.sub(r"^\s*(?:\d+\s*[.)]\s*)?", "", _bare(content))
    match = _CLOSED_HELD.match(bare) or _HELD.match(bare)
    if match is None:
        return None
    rest = bare[match.end() :]
    if _OTHER.match(rest) or re.match(r"\s*(?i:and|or)\b", rest):
        return None
    return next(group for group in match.groups() if group).upper()


_SAYS = (
    r"(?:(?i:\b(?:ans|answer|(?:correct|right|best)\s+(?:option|choice|one|letter)|(?:option|choice)"
    r"(?=\s+(?:is|must|should|would)\b))\b"
    r"(?:\s+(?:to\s+\w+\s+\w+|here|choice|option|letter))?"
    r"\s*(?:(?:is|would\s+be|must\s+be|should\s+be|has\s+to\s+be|=|:|[-–—](?=\s))\s*)+)"
    r"(?i:(?:therefore|thus|clearly|simply|indeed|definitely|most\s+likely|option|choice|letter|"
    r"indeed)\b[\s:]*)*"
    r"|(?i:\b(?:go\s+with|choose|pick|select|selecting|choosing)\s+(?:option|choice|answer|letter)?\s*)"
    r"|(?:故选|应选|所以选|因此选|答案选|正确选项(?:是|为)|(?<!不)选择|(?<!不)选|答案(?:是|为)?)\s*[::]?\s*(?:选项)?)"
)
_ARTICLE = r"(?!\s+(?!because|since|as|which|and|or|for|with|due|is|in|from)[a-z])"
# No "C-H activation", "B's", "C=O" or "B = 3 T".
_END = r"(?!\w|['’]\w)(?![-–—]\w)(?!\s*(?:[=≡≈+^]|[<>]\s*\d))"
_OPEN = r"[\s({\['‘]*"
_SAID = re.compile(
    rf"{_SAYS}(?:[(\[]\s*(?P<closed>[A-Da-d])\s*[)\]]|{_OPEN}(?P<bare>[A-D]){_END}{_ARTICLE}"
    rf"|(?P<small>[b-d])(?=\s*(?:[.;,]?\s*$|[.;,]\s)))",
    re.M,
)
_PRAISED = re.compile(
    r"(?<![\w'’-])[(\[]?(?P<letter>[A-D])[)\]]?\s+(?:is|must\s+be)\s+(?:(?:the|clearly|therefore|thus"
    r"|indeed)\s+)*(?:correct|right|best|answer)\b(?!\s*\?)"
    r"|(?:选项|选)(?P<chosen>[A-D])\s*(?:是|为)?\s*(?:正确|对)"
)
_SMALL_OPTION = re.compile(
    r"(?i:\b(?:option|choice)\s+)(?P<letter>[a-d])(?=\s*(?:[.;,]?\s*$|[.;,]\s))"
)
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.S | re.I)
_ALONE = re.compile(
    r"(?:(?i:so|thus|hence|therefore|option|choice)\b|[\s,:({\['‘])*([A-D])[\s)}\]'’.]*"
)
_HEADED = re.compile(r"[(\[]?([A-D])[)\].:](?:\s.*)?")
_HEADER = re.compile(r"(?i:(?:final|correct|my)?\s*answer\s*:?)")
_HEDGE = re.compile(
    r"\s*[)\].]?\s*(?:,|/|(?i:\bor\b|\band\b|或|和))\s*(?i:option\s+)?[(\[]?\s*[A-D](?![\w'’])(?![-–—]\w)"
)


def phrased_letter(text: str) -> str | None:
    """The letter that a text without a lettered box names.

    "The answer is (B)", "B is correct", an `answer` tag, a last line "**B**". The last one of these
    counts. A stray "(R)" of a compound's name, the article "a" or a remark on another option is no
    choice; a hedge gives none.

    Args:
        text: generated text.

    Returns:
        A capital letter A to D, or None.
    """
    tagged = _TAGGED.findall(text)
    if tagged:
        return letter_of(tagged[-1])
    plain = "\n".join(_bare(line) for line in unicodedata.normalize("NFKC", text).split("\n"))
    last: re.Match[str] | None = None
    for pattern in (_SAID, _PRAISED):
        for match in pattern.finditer(plain):
            if last is None or match.end() > last.end():
                last = match
    if last is not None:
        if _HEDGE.match(plain, last.end()):
            return None
        return next(group for group in last.groups() if group).upper()
    return _last_line(plain)


def _last_line(plain: str) -> str | None:
    lines = [line.strip(" #") for line in plain.split("\n") if line.strip(" #")]
    if not lines:
        return None
    alone = _ALONE.fullmatch(lines[-1])
    if alone:
        return alone.group(1)
    headed = _HEADED.fullmatch(lines[-1])
    if headed and len(lines) > 1 and _HEADER.fullmatch(lines[-2]):
        return headed.group(1)
    return None


def boxed_letter(contents: list[str]) -> tuple[bool, str | None]:
    """The letter of boxes that stand side by side.

    Returns:
        Whether they decide (they hold a letter or more), and the letter if it is one.
    """
    letters = {letter_of(content) for content in contents}
    if letters <= {None}:
        return any(_lists_letters(content) for content in contents), None
    return True, next(iter(letters)) if len(letters) == 1 else None


def _lists_letters(content: str) -> bool:
    """`A and C`, `(A), (B)`, `A/B`: several letters of which none is preferred."""
    bare = re.sub(r"(?i:\b(?:and|or|option|options|choice|choices|both)\b)", " ", _bare(content))
    return re.fullmatch(r"(?:[\s(\[,;/|&]*[A-D][\s)\],;/|&.]*){2,}", bare) is not None
