"""Words around an answer: which may stand there, which change its meaning, which only name it.

A text behind a number is dropped only where it is a unit, a noun phrase without any word that could
change the number, or a remark that opens with one of a few words ("since ...", "for all n").
"""

from __future__ import annotations

from collections.abc import Sequence

from atts_harness.grading.reading.tokens import Token
from atts_harness.grading.wordlists import words_of

_ANSWER = {"answer", "result", "value", "solution", "number", "total", "sum", "probability"}
_LEAD = (
    {"the", "so", "thus", "hence", "therefore", "final", "correct", "exact", "our", "my", "is"}
    | {"are", "equals", "there", "it", "exactly", "only", "ans"}
    | _ANSWER
)
_ENDS_LEAD = {"is", "are", "equals", "exactly", "only"}
ROUNDED = {"about", "approximately", "approx", "roughly", "around", "nearly", "circa"}
_REMARKS = {"since", "because", "where", "approximately", "approx", "about", "as", "by", "exact",
            "exactly", "rounded", "using", "given", "due"}  # fmt: skip
_QUANTIFIERS = {"all", "every", "any", "each"}

# Negations, comparisons, conditions; numbers and operations; verbs; letters.
MEANINGFUL = frozenset(
    words_of(
        "not no never none nor neither without wrong incorrect false but except excluding if "
        "when unless while whether and or plus minus more less fewer greater smaller larger "
        "bigger least most over under above below beyond between from to up until at than "
        "within either both zero one two three four five six seven eight nine ten eleven "
        "twelve hundred thousand million billion trillion dozen dozens score tens hundreds "
        "thousands millions billions half halves third thirds quarter quarters fourth fifth "
        "sixth eighth tenth tenths hundredth hundredths thousandth thousandths pair pairs "
        "couple double triple twice thrice squared cubed factorial percent percentage pct per "
        "base modulo mod remainder r divided multiplied power root negative positive prime "
        "infinite infinity reciprocal inverse choose is are was were be being been has have "
        "had does do did can cannot could would should may might must will isn't aren't "
        "equals exceeds divides am pm noon midnight odd even integer rational irrational real "
        "imaginary undefined unknown impossible maybe possibly perhaps probably approximately "
        "about roughly almost nearly x y z n k a b c fails fail failed contradicts invalid "
        "excluded rejected extraneous gross bce bc ad ce brace thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety "
        "fifths sixths seventh sevenths eighths ninth ninths eleventh elevenths twelfth twelfths "
        "twentieth twentieths fiftieth fiftieths millionth millionths billionth billionths lakh "
        "lakhs crore crores grand fold couples triples quadruple quadruples quadrillion "
        "quintillion factorials repeating recurring repeated periodic permille mille ppm ppb "
        "promille basis orders magnitude decibel decibels opposite complement conjugate short "
    )
)
"""Words that may change what a number means; an answer with one of them is not read as a number."""

_MEASURES = frozenset(words_of(
        "个 人 名 只 张 本 条 件 块 次 种 支 辆 岁 页 行 列 组 位 颗 朵 棵 头 匹 双 对 边 角 面 点"
    )) - {
    "双", "对"
}  # fmt: skip

NUMBERS = {
    word: number
    for number, word in enumerate(
        words_of("zero one two three four five six seven eight nine ten eleven twelve")
    )
}
MONTHS = {
    name: number
    for number, names in enumerate(
        words_of(
            "january jan february feb march mar april apr may june jun july jul august aug "
            "september sep sept october oct november nov december dec"
        ),
        1,
    )
    for name in names.split()
}
BASES = {
    word: number
    for number, word in enumerate(
        words_of(
            "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
            "sixteen"
        ),
        2,
    )
} | {"binary": 2, "octal": 8, "decimal": 10, "hexadecimal": 16, "hex": 16}


_CHINESE = ("答案是", "答案为", "结果是", "结果为", "答案", "答", "所以", "因此")


def _chinese_lead(tokens: Sequence[Token]) -> int:
    start = "".join(token.text for token in tokens[:3] if token.kind == "word")
    for lead in _CHINESE:
        if start.startswith(lead) and len(tokens) > len(lead):
            return len(lead) + (tokens[len(lead)].text in (":", ","))
    return 0


def lead_in(tokens: Sequence[Token]) -> int:
    """How many tokens at the start only announce the answer ("the answer is", "Answer:")."""
    at = _chinese_lead(tokens)
    if at:
        return at
    words: list[str] = []
    while at < len(tokens) and tokens[at].kind == "word" and tokens[at].text.lower() in _LEAD:
        words.append(tokens[at].text.lower())
        at += 1
    if at < len(tokens) and tokens[at].key in (("op", ":"), ("op", "=")):
        return at + 1 if words and (words[-1] in _ANSWER or words[-1] == "ans") else 0
    if at == len(tokens) or tokens[at].text == ",":
        return 0
    return at if words and (words[-1] in _ENDS_LEAD or words == ["therefore"]) else 0


def remark_at(tokens: Sequence[Token]) -> int | None:
    """Where a remark that does not change the answer before it begins; None if there is none."""
    depth = 0
    for at, token in enumerate(tokens):
        depth += (token.text in ("(", "[", "{", r"\{")) - (token.text in (")", "]", "}", r"\}"))
        if at == 0:
            continue
        if depth == 0 and token.kind == "word" and _opens_remark(tokens[at:]):
            return at - (tokens[at - 1].text == ",")
        opened = depth == 1 and token.text == "(" and tokens[-1].text == ")"
        if opened and at + 1 < len(tokens) and _opens_remark(tokens[at + 1 :]):
            return at
    return None


def _opens_remark(tokens: Sequence[Token]) -> bool:
    first = tokens[0].text.lower()
    if tokens[0].kind != "word":
        return False
    if first == "for":
        return len(tokens) > 1 and tokens[1].text.lower() in _QUANTIFIERS
    if first == "by":  # "5 by 7" has two sides
        return len(tokens) > 1 and tokens[1].kind == "word"
    return first in _REMARKS


def without_remark(tokens: Sequence[Token], at: int) -> tuple[Token, ...]:
    """The tokens before a remark; of "about 1.73" the number stays, behind a sign for it."""
    remark = [token for token in tokens[at:] if token.text not in ("(", ")", ",", ".")]
    if len(remark) == 2 and remark[0].text.lower() in ROUNDED and remark[1].kind == "num":
        return (*tokens[:at], Token("op", "approx", 1), remark[1])
    return tuple(tokens[:at])


_SMALL_WORDS = frozenset(["of", "in", "on", "an", "a", "the"])


def noun(tokens: Sequence[Token]) -> str | None:
    """A noun phrase that names what a number counts, None if it may be more than that."""
    words = [token.text.lower().rstrip(".") for token in tokens if token.text != "."]
    if any(token.kind != "word" and token.text != "." for token in tokens) or not words:
        return None
    if all(not word.isascii() for word in words):
        return "".join(words) if set(words) <= _MEASURES else None
    if len(words) > 6 or any(
        word in MEANINGFUL or len(word) < 3 for word in words if word not in _SMALL_WORDS
    ):
        return None
    return " ".join(words)


def same_noun(a: str, b: str) -> bool:
    """Whether two noun phrases differ only in articles and in singular or plural."""

    def bare(text: str) -> list[str]:
        words = [w for w in text.split() if w not in ("the", "of", "an", "in", "total")]
        return [w[:-1] if w.endswith("s") and len(w) > 3 else w for w in words]

    return bare(a) == bare(b)
