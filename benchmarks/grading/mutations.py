r"""Golds changed in one place each, so that they mean something else: none may be accepted.

    python benchmarks/grading/mutations.py [FOLDER]

For every gold of the sets below FOLDER (laid out like the hubs' sets; default ATTS_DATA_DIR):
a sign, a reciprocal, a bracket, the order or number of members, a power, a base, `**`, a unit, a
name, white space or a percent sign is changed. What an independent check (sympy, through
math-verify's LaTeX reader, at random points) finds equal to the gold is left out. Prints, by kind,
how many there are and every accepted one.
"""

from __future__ import annotations

import collections
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sympy
from golds import golds
from latex2sympy2_extended import latex2sympy

from atts_harness.grading.equivalence import Gold, decide

_BRACKETS = {"(": "[", "[": "(", ")": "]", "]": ")"}
_UNITS = ("cm", "kg", "inches", "minutes", "degrees", "cents")


def all_golds(folder: Path) -> dict[str, Gold]:
    """The golds of the maths sets and of GSM8K by question id."""
    by_id = golds(folder)
    with (folder / "gsm8k" / "test.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            answer = json.loads(line)["answer"].rpartition("####")[2].strip()
            by_id[f"gsm8k/{number}"] = Gold(answer)
    return by_id


def mutations(gold: Gold) -> Iterator[tuple[str, str]]:
    """Changed golds, by kind of change."""
    text = gold.text.replace("$", "") if gold.text.count("$") % 2 == 0 else gold.text
    text = re.sub(r"\\left(?![a-z])|\\right(?![a-z])", "", text)
    yield from _signs(text)
    yield from _fractions(text)
    yield from _brackets(text)
    yield from _members(text, gold.several)
    yield from _powers(text)
    yield from _numbers(text, gold)
    yield from _names(text)
    yield from _units(text, gold)


def _at_each(text: str, pattern: str, replacement: str) -> Iterator[str]:
    for match in re.finditer(pattern, text):
        yield text[: match.start()] + match.expand(replacement) + text[match.end() :]


def _signs(text: str) -> Iterator[tuple[str, str]]:
    for changed in _at_each(text, r"(?<=[\w})])\s*\+", "-"):
        yield "sign", changed
    for changed in _at_each(text, r"(?<=[\w})])\s*-(?=\s*[\w\\(])", "+"):
        yield "sign", changed
    for changed in _at_each(text, r"(?<![\w})^{])-(?=\s*[\d\\.])", ""):
        yield "sign", changed
    if re.match(r"[\d\\a-z.]", text) and not text.startswith(
        (r"\text", r"\{", r"\begin", r"\left")
    ):
        yield "sign", f"-({text})" if re.search(r"[+-]", text[1:]) else f"-{text}"
        if not text.startswith("0"):
            yield "sign", rf"\pm {text}"


def _fractions(text: str) -> Iterator[tuple[str, str]]:
    for changed in _at_each(text, r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\\frac{\2}{\1}"):
        yield "reciprocal", changed
    for changed in _at_each(text, r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1\2"):
        yield "reciprocal", changed
    if re.fullmatch(r"[-\w^{}+ ]+", text):
        yield "reciprocal", rf"\frac{{1}}{{{text}}}"
    for changed in _at_each(text, r"\\sqrt\{([^{}]*)\}", r"\1"):
        yield "root", changed
    for changed in _at_each(text, r"\\sqrt\{([^{}]*)\}", r"\\sqrt[3]{\1}"):
        yield "root", changed
    for changed in _at_each(text, r"\\pi(?![A-Za-z])", ""):
        yield "constant", changed


def _brackets(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"[()\[\]]", text):
        yield "bracket", text[: match.start()] + _BRACKETS[match.group()] + text[match.end() :]
    if "," in text and not re.search(r"[(\[{!]", text):  # braces of a list are its own
        for opening, closing in (("(", ")"), ("[", "]")):
            yield "bracket", f"{opening}{text}{closing}"
    elif re.fullmatch(r"\([^()]*\)", text):
        yield "bracket", rf"\{{{text[1:-1]}\}}"
    for changed in _at_each(text, r"\(([^(),]*[+-][^(),]*)\)", r"\1"):
        yield "bracket", changed
    for changed in _at_each(text, r"\\l(floor|ceil)(.*?)\\r\1", r"(\2)"):
        yield "bracket", changed.replace(r"\left(", "(").replace(r"\right)", ")")
    if re.fullmatch(r"[A-Za-z0-9^{}+ -]*[a-z][A-Za-z0-9^{}+ -]*", text):
        yield "bracket", f"|{text}|"
        yield "bracket", rf"\lfloor {text} \rfloor"


def _members(text: str, several: bool) -> Iterator[tuple[str, str]]:
    tuples = re.findall(r"\([^()]*,[^()]*\)", text)
    for group in tuples:
        parts = group[1:-1].split(",")
        for at in range(len(parts) - 1):
            if parts[at].strip() == parts[at + 1].strip():
                continue
            swapped = [*parts[:at], parts[at + 1], parts[at], *parts[at + 2 :]]
            yield "order", text.replace(group, f"({','.join(swapped)})", 1)
        yield "member", text.replace(group, f"({','.join(parts[:-1])})", 1)
        yield "member", text.replace(group, f"({','.join([*parts, '7919'])})", 1)
    bare = not tuples and "[" not in text and not re.search(r"\d,\\?!?\s?\d{3}(?!\d)", text)
    if "," in text and (several or bare):
        parts = text.split(",")
        if len(set(map(str.strip, parts))) == len(parts):
            yield "member", ",".join(parts[1:])
            yield "member", ",".join(parts[:-1])
        yield "member", f"{text}, 7919"
        yield "member", ",".join([parts[0], *parts[:-1]]) if len(parts) > 2 else parts[0]
    else:
        yield "member", f"{text}, 7919"
        yield "member", rf"{text} \text{{ or }} 7919"
    for changed in _at_each(text, r"\\\\", "&"):
        if "matrix" in text:
            yield "order", changed
    if r"\pm" in text:
        yield "member", text.replace(r"\pm", "+")
        yield "member", text.replace(r"\pm", "-")
    if r"\cup" in text:
        yield "member", text.split(r"\cup")[0]
        yield "member", text.replace(r"\cup", r"\cap")


def _powers(text: str) -> Iterator[tuple[str, str]]:
    for changed in _at_each(text, r"\^\{?(\d)\}?", r"^{1\1}"):
        yield "power", changed
    for changed in _at_each(text, r"\^\{?(\d+)\}?", r"\1"):
        yield "power", changed
    for changed in _at_each(text, r"(?<![\\A-Za-z{])([a-z])(?![A-Za-z^_(])", r"\1^{2}"):
        yield "power", changed
    for changed in _at_each(text, r"(?<![\d^{_.,\[])(\d\d+)(?![\d.,%!])", r"\1^2"):
        yield "power", changed


def _numbers(text: str, gold: Gold) -> Iterator[tuple[str, str]]:
    for changed in _at_each(text, r"(?<![\d.,^_])(\d)(\d+)(?![\d.,])", r"\1**\2"):
        yield "double star", changed
    for changed in _at_each(text, r"(?<![\d.,^_])(\d)(\d+)(?![\d.,])", r"\1^\2"):
        yield "power", changed
    for changed in _at_each(text, r"(?<![\d.,^_c ])(\d)(\d+)(?![\d.,])", r"\1 \2"):
        if not re.search(r"\d \d{3}(?!\d)", changed):  # white space may group thousands
            yield "space", changed
    for changed in _at_each(text, r"(?<![\d.,^_])(\d)(\d+)(?![\d.,])", r"\1, \2"):
        yield "space", changed
    for changed in _at_each(text, r"(?<![\d.,^_])(\d)(\d+)(?![\d.,])", r"\1.\2"):
        yield "decimal point", changed
    for changed in _at_each(text, r"(\d+)_\{?(\d+)\}?", r"\1_{1\2}"):
        yield "base", changed
    if re.fullmatch(r"[0-6]+", text) and len(text) > 1:
        yield "base", f"{text}_7"
        yield "base", rf"{text}_{{\text{{seven}}}}"
    for changed in _at_each(text, r"\d(?!.*\d)", r"\g<0>7"):
        yield "digit", changed if gold.tolerance is None else f"7{changed}"
    if re.fullmatch(r"-?\d+", text):
        yield "scale", rf"{text}\%" if text.strip("-") != "0" else "7"
        yield "scale", rf"{text} \text{{ thousand}}" if text.strip("-") != "0" else "7"
        yield "digit", f"{text}!" if text not in ("1", "2") else "7!"


def _names(text: str) -> Iterator[tuple[str, str]]:
    letters = sorted(set(re.findall(r"(?<![\\A-Za-z])([a-zA-Z])(?![A-Za-z(])", text)) - set("ei"))
    if "text" in text or "mbox" in text:
        return
    for letter in letters:
        other = "q" if letter != "q" else "u"
        changed = re.sub(rf"(?<![\\A-Za-z]){letter}(?![A-Za-z])", other, text)
        bound = re.search(rf"[a-zA-Z]\({letter}\)\s*=", text)
        if not bound:
            yield "name", changed
        if not text.startswith(f"{letter}="):
            yield "name", re.sub(rf"(?<![\\A-Za-z]){letter}(?![A-Za-z(])", "", text, count=1)
        capital = letter.swapcase()
        if capital not in text and not bound:
            yield "name", re.sub(rf"(?<![\\A-Za-z]){letter}(?![A-Za-z])", capital, text)
    if re.match(r"[a-zA-Z]\s*=", text):
        yield "name", "w" + text[1:]
    if len(letters) == 2:
        a, b = letters
        swapped = re.sub(
            rf"(?<![\\A-Za-z])[{a}{b}](?![A-Za-z])", lambda m: b if m.group() == a else a, text
        )
        yield "name", swapped


def _units(text: str, gold: Gold) -> Iterator[tuple[str, str]]:
    if re.fullmatch(r"-?\d+(\.\d+)?", text) and not gold.unit:
        for letter in ("m", "s", "t", "g", "h", "L", "x", "k"):
            yield "unit", f"{text}{letter}"
    if re.search(r"[a-z]$", text) and not re.search(r"text|mbox|\\[a-z]+$", text):
        yield "unit", re.sub(r"[a-z]$", "", text).rstrip("+- ^{") or "1"
    match = re.search(r"\\(?:text|mbox)\{\s*([a-z]+)\}", text)
    if match and match.group(1) in ("cm", "inches", "degrees", "cents"):
        for unit in _UNITS:
            if unit != match.group(1):
                yield "unit", text.replace(match.group(1), unit)
        yield "unit", text + "^3" if "^2" not in text else text.replace("^2", "")
    if r"^\circ" in text or r"^{\circ}" in text:
        yield "unit", text.replace(r"^{\circ}", r"\text{ cm}").replace(r"^\circ", r"\text{ cm}")


def surely_equal(one: str, two: str) -> bool:
    """Whether two formulas have the same values at random points; False where that fails."""
    try:
        a, b = (latex2sympy(text.split("=")[-1]) for text in (one, two))
        if not (isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr)):
            return False
        symbols = sorted(a.free_symbols | b.free_symbols, key=str)
        for shift in range(4):
            point = {s: sympy.Rational(31 + 17 * shift + 7 * n, 13) for n, s in enumerate(symbols)}
            x, y = (complex(e.subs(point).evalf(30)) for e in (a, b))
            if abs(x - y) > 1e-12 * max(1, abs(x)):
                return False
    except Exception:
        return False
    return True


def survey(by_id: dict[str, Gold]) -> tuple[dict[str, int], list[tuple[str, str, str, str]]]:
    """How many mutations of each kind there are, and the accepted ones that are not equal."""
    counts: collections.Counter[str] = collections.Counter()
    accepted = []
    for key, gold in by_id.items():
        for kind, text in dict.fromkeys(mutations(gold)):
            if text.strip() == gold.text.strip():
                continue
            counts[kind] += 1
            if decide(text, gold).right and not surely_equal(gold.text.replace("$", ""), text):
                accepted.append((kind, key, gold.text, text))
    return dict(counts), accepted


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["ATTS_DATA_DIR"])
    start = time.process_time()
    by_id = all_golds(folder)
    counts, accepted = survey(by_id)
    seconds = time.process_time() - start
    print(
        f"{len(by_id)} golds, {sum(counts.values())} mutations, {seconds:.0f} s of processor time"
    )
    for kind, count in sorted(counts.items()):
        wrong = sum(1 for item in accepted if item[0] == kind)
        print(f"  {kind:14} {count:6}  accepted {wrong}")
    for kind, key, gold, text in accepted:
        print(f"  accepted {kind} {key} ({gold}) <- {text}")


if __name__ == "__main__":
    main()
