r"""Every gold of the maths sets, rewritten, crossed and spoilt: what the grader makes of it.

    python benchmarks/grading/golds.py [FOLDER]

FOLDER is laid out like the hubs' sets (`math500/test.jsonl`, ...); default: ATTS_DATA_DIR. Prints
the share of rewritten golds that are graded right, the shares of other questions' golds and of
golds with one changed digit that are (both should be none), and every exception by question id.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from atts_harness.grading.algebra.values import real
from atts_harness.grading.equivalence import Gold, decide
from atts_harness.grading.extraction import boxed
from atts_harness.grading.reading.answers import read
from atts_harness.grading.tree import (
    Many,
    Name,
    Node,
    Op,
    Quantity,
    Relation,
    variables,
    walk,
)

OTHERS = 20
SETS = {
    "math500": "math500/test.jsonl",
    "aime24": "aime24/train.jsonl",
    "aime25": "aime25/test.jsonl",
    "amc23": "amc23/test.jsonl",
    "olympiadbench": "olympiadbench/train.jsonl",
}


def golds(folder: Path) -> dict[str, Gold]:
    """All golds of the five maths sets by question id."""
    by_id: dict[str, Gold] = {}
    for name, file in SETS.items():
        with (folder / file).open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if name == "olympiadbench":
                    by_id[f"{name}/{row['id']}"] = Gold(
                        row["final_answer"][0],
                        several=row["is_multiple_answer"],
                        tolerance=float(row["error"]) if row["error"] else None,
                        unit=row["unit"],
                    )
                else:
                    key = row.get("unique_id", row.get("id"))
                    by_id[f"{name}/{key}"] = Gold(str(row["answer"]))
    return by_id


def rewrites(gold: Gold) -> Iterator[tuple[str, str]]:
    """Other spellings of a gold that mean the same, by kind of rewriting; unboxed."""
    text = gold.text
    plain = text.replace("$", "") if text.count("$") % 2 == 0 else text
    yield "as it is", text
    yield "without dollars", plain
    yield "in dollars", f"${plain}$"
    yield "display fractions", plain.replace(r"\frac", r"\dfrac")
    yield "text fractions", plain.replace(r"\frac", r"\tfrac").replace(r"\dfrac", r"\tfrac")
    slashed = re.sub(r"\\d?frac\{(\d+)\}\{(\d+)\}(?!\s*[\w(\\])", r"(\1)/(\2)", plain)
    if not re.search(r"\d\s*\(", slashed):
        yield "slashed fractions", slashed
    if rational(gold) is None or "," not in plain:  # a comma inside a number is not a separator
        yield "wide spacing", re.sub(r"(?<=[\d)}])\s*([-+=,])\s*(?=[\d(\\a-z])", r" \1 ", plain)
    yield "no spacing", re.sub(r"(?<![A-Za-z\\]) +| +(?![A-Za-z])", "", plain)
    yield "thin spaces", re.sub(r"(?<=[\d)}])\s*([-+=])\s*(?=[\d(\\a-z])", r"\\,\1\\;", plain)
    yield "full stop", plain.rstrip(".") + "."
    if "(" in plain and r"\left" not in plain:
        yield "left and right", plain.replace("(", r"\left(").replace(")", r"\right)")
    yield "plain brackets", plain.replace(r"\left", "").replace(r"\right", "")
    yield from _numbers(plain, gold)
    node = read(text, several=gold.several, unit=gold.unit)
    if isinstance(node, Many) or r"\cup" in plain:
        yield from _reordered(plain, node)
    word = re.fullmatch(r"\\text\{\(?([A-Za-z]+)\)?\}", plain)
    if word:
        yield "bare word", word.group(1)
        yield "bold word", rf"\textbf{{{word.group(1)}}}"
        yield "roman word", rf"\mathrm{{{word.group(1)}}}"


def _numbers(plain: str, gold: Gold) -> Iterator[tuple[str, str]]:
    number = rational(gold)
    if number is None or gold.several:
        return
    value, percent = number
    sign = "%" if percent else ""
    yield "text", rf"\text{{{plain}}}" if plain.lstrip("-").isdigit() else plain
    yield "named", f"x = {plain}"
    if re.search(r"\d\}?$", plain) and "mbox" not in plain and r"\$" not in plain:
        yield "units", rf"{plain}\text{{ units}}"
    yield "bold", f"**{plain}**"
    if value.denominator == 1:
        yield "leading zeros", f"{'-' if value < 0 else ''}{abs(int(value)):04d}{sign}"
        yield "separators", f"{int(value):,}{sign}"
        yield "TeX separators", f"{int(value):,}{sign}".replace(",", "{,}")
        yield "decimal point", f"{int(value)}.0{sign}"
    elif not percent:
        yield "one fraction", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        yield "unreduced", rf"\frac{{{value.numerator * 3}}}{{{value.denominator * 3}}}"
        yield "ratio", f"{value.numerator}/{value.denominator}"
        if (decimal := _decimal(value)) is not None:
            yield "exact decimal", decimal


def rational(gold: Gold) -> tuple[Fraction, bool] | None:
    """The rational number that a gold is, and whether it counts per cent."""
    node = read(gold.text, several=gold.several, unit=gold.unit)
    if not isinstance(node, Quantity) or variables(node.value):
        return None
    value, percent = node.value, False
    if isinstance(value, Op) and value.head == "%":
        value, percent = value.args[0], True
    rough = any(
        isinstance(p, Name) or (isinstance(p, Op) and p.head == "root") for p in walk(value)
    )
    number = None if rough else real(value)
    if number is None or max(abs(number.numerator), number.denominator) > 10**18:
        return None
    return number, percent


def _decimal(value: Fraction) -> str | None:
    for places in range(1, 12):
        if (value * 10**places).denominator == 1:
            digits = f"{abs(int(value * 10**places)):0{places + 1}d}"
            return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    return None


def _reordered(plain: str, node: Node) -> Iterator[tuple[str, str]]:
    items = node.items if isinstance(node, Many) else ()
    simple = all(isinstance(item, Quantity | Relation) for item in items)
    parts = [part.strip() for part in re.sub(r"^\\\{|\\\}$", "", plain.rstrip(".")).split(",")]
    if simple and len(parts) == len(items) and parts and "=" not in parts[0].replace("=", "", 1):
        yield "reversed", ", ".join(reversed(parts))
        yield "with and", r" \text{ and } ".join(reversed(parts))
        yield "in braces", r"\{" + ", ".join(reversed(parts)) + r"\}"
    elif r"\cup" in plain:
        yield "reversed union", r" \cup ".join(reversed(plain.rstrip(".").split(r"\cup")))
    else:
        pieces = re.findall(r"\([^()]*\)", plain)
        if pieces and len(pieces) == len(items):
            yield "reversed", ", ".join(reversed(pieces))


def graded_right(answer: str, gold: Gold) -> bool:
    """Box, extract and grade."""
    extracted = boxed(f"So the answer is \\boxed{{{answer}}}, as asked.")
    return extracted is not None and decide(extracted, gold).right


def rewritten(by_id: dict[str, Gold]) -> tuple[int, list[tuple[str, str, str]]]:
    """How many rewritings there are, and those not graded right: (id, kind, answer)."""
    missed = []
    count = 0
    for key, gold in by_id.items():
        for kind, answer in dict(rewrites(gold)).items():
            count += 1
            if not graded_right(answer, gold):
                missed.append((key, kind, answer))
    return count, missed


def same_value(one: Gold, two: Gold) -> bool:
    """Whether two golds are the same by text or exact value, so that accepting is right."""
    a, b = (
        re.sub(r"[\s$]|\\\$|\\left|\\right", "", gold.text).split("=")[-1] for gold in (one, two)
    )
    x, y = (rational(Gold(text)) for text in (a, b))
    return a == b or sorted(a.split(",")) == sorted(b.split(",")) or (x is not None and x == y)


def crossed(by_id: dict[str, Gold], others: int = OTHERS) -> tuple[int, list[tuple[str, str]]]:
    """How many pairs of different golds there are, and those wrongly accepted."""
    rng = random.Random(20)
    keys = list(by_id)
    accepted = []
    count = 0
    for key in keys:
        picked = (k for k in iter(lambda: rng.choice(keys), None) if k != key)
        distinct = (k for k in picked if not same_value(by_id[k], by_id[key]))
        for other in itertools.islice(distinct, others):
            count += 1
            if graded_right(by_id[other].text, by_id[key]):
                accepted.append((key, other))
    return count, accepted


def spoilt(by_id: dict[str, Gold]) -> tuple[int, list[tuple[str, str]]]:
    """Golds with one digit changed: how many, and those still accepted."""
    rng = random.Random(21)
    accepted = []
    count = 0
    for key, gold in by_id.items():
        digits = [m.start() for m in re.finditer(r"\d", gold.text)]
        if not digits:
            continue
        at = rng.choice(digits)
        text = gold.text[:at] + str((int(gold.text[at]) + 1) % 10) + gold.text[at + 1 :]
        count += 1
        if graded_right(text, gold):
            accepted.append((key, text))
    return count, accepted


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["ATTS_DATA_DIR"])
    by_id = golds(folder)
    start = time.perf_counter()
    count, missed = rewritten(by_id)
    seconds = time.perf_counter() - start
    share = 1 - len(missed) / count
    print(f"{len(by_id)} golds, {count} rewritings: {share:.4%} graded right in {seconds:.1f} s")
    for key, kind, answer in missed:
        print(f"  missed   {key}  {kind}: {answer}")
    start = time.perf_counter()
    count, accepted = crossed(by_id)
    seconds = time.perf_counter() - start
    share = len(accepted) / count
    print(f"{count} pairs of different golds: {share:.4%} accepted in {seconds:.1f} s")
    for key, other in accepted:
        print(f"  accepted {key} ({by_id[key].text}) <- {other} ({by_id[other].text})")
    count, survivors = spoilt(by_id)
    print(f"{count} golds with one digit changed: {len(survivors) / count:.4%} accepted")
    for key, text in survivors:
        print(f"  accepted {key} ({by_id[key].text}) <- {text}")


if __name__ == "__main__":
    main()
