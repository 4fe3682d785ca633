"""Unicode characters of mathematics and their spelling in LaTeX or ASCII."""

from __future__ import annotations

import re
from collections.abc import Callable

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta",
    "η": "eta", "θ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi", "χ": "chi",
    "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda",
    "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_SIGNS = {
    "∞": "infty", "∪": "cup", "∩": "cap", "∈": "in", "∉": "notin", "≤": "le", "≥": "ge",
    "⩽": "le", "⩾": "ge", "≦": "le", "≧": "ge", "≠": "ne", "±": "pm", "∓": "mp", "∅": "emptyset",
    "⟨": "langle", "⟩": "rangle", "〈": "langle", "〉": "rangle", "≈": "approx", "≃": "approx",
    "≅": "cong", "≡": "equiv", "×": "times", "·": "cdot", "⋅": "cdot", "∙": "cdot", "•": "cdot",
    "∗": "cdot", "÷": "div", "√": "sqrt", "∑": "sum", "∏": "prod", "∫": "int", "⌊": "lfloor",
    "⌋": "rfloor", "⌈": "lceil", "⌉": "rceil", "∖": "setminus", "°": "degree", "º": "degree",
    "∠": "angle", "△": "triangle", "…": "ldots", "⋯": "cdots", "→": "to", "⇒": "Rightarrow",
    "✓": "checkmark", "✔": "checkmark", "□": "square", "■": "blacksquare",
}  # fmt: skip
_LETTERS = {"ℝ": "R", "ℤ": "Z", "ℕ": "N", "ℚ": "Q", "ℂ": "C"}
_FRACTIONS = {
    "½": "12", "⅓": "13", "⅔": "23", "¼": "14", "¾": "34", "⅕": "15", "⅖": "25", "⅗": "35",
    "⅘": "45", "⅙": "16", "⅚": "56", "⅛": "18", "⅜": "38", "⅝": "58", "⅞": "78",
}  # fmt: skip
_SUPER = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₖ", "0123456789+-()nk", strict=True))

PLAIN: dict[int, str] = str.maketrans(
    {sign: f"\\{name} " for sign, name in {**_GREEK, **_SIGNS}.items()}
    | {sign: rf"\mathbb{{{name}}}" for sign, name in _LETTERS.items()}
    | {sign: rf"\frac{{{pair[0]}}}{{{pair[1]}}}" for sign, pair in _FRACTIONS.items()}
    | dict.fromkeys("−–—‒―－﹣", "-")
    | dict.fromkeys("，、﹐", ",")
    | dict.fromkeys("；;", ";")
    | dict.fromkeys("’‘′ʹ", "'")
    | dict.fromkeys("\u00a0\u202f\u2009\u2002\u2003\u200a\u3000", " ")
    | dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060", "")
    | {
        "∣": "|",
        "⁄": "/",
        "∕": "/",
        "‖": "||",
        "∶": ":",
        "。": ".",
        "∛": r"\sqrt[3]",
        "∜": r"\sqrt[4]",
        "ℓ": r"\ell ",
    }
)
"""Table for `str.translate`."""


def _script(sign: str, table: dict[str, str]) -> Callable[[re.Match[str]], str]:
    def written(match: re.Match[str]) -> str:
        return f"{sign}{{{''.join(table[letter] for letter in match.group())}}}"

    return written


SCRIPTS: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(f"[{''.join(map(re.escape, _SUPER))}]+"), _script("^", _SUPER)),
    (re.compile(f"[{''.join(map(re.escape, _SUB))}]+"), _script("_", _SUB)),
    # A digit under a bar (a combining character) repeats.
    (re.compile("((?:\\d[\u0304\u0305])+)"), lambda m: _barred(m.group())),
]
"""Applied in order, after `PLAIN`."""


def _barred(text: str) -> str:
    return rf"\overline{{{re.sub('[^0-9]', '', text)}}}"
