"""Words that an answer may hold: commands, functions, and which letters make a word."""

from __future__ import annotations

from atts_harness.grading.units import UNITS
from atts_harness.grading.wordlists import words_of

TEXTS = frozenset(
    words_of(
        "text textrm textnormal textbf textit textsf texttt textup mbox hbox mathrm rm "
        "operatorname mathsf mathtt"
    )
)
"""Commands whose argument is words."""

IGNORED = frozenset(
    words_of(
        "left right middle big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr bigm "
        "displaystyle textstyle scriptstyle limits nolimits mathstrut strut boldsymbol mathbf "
        "mathit mathcal mathscr mathfrak bm bf it rm underline ensuremath boxed fbox mathop "
        "mathopen mathclose mathord checkmark blacksquare square qed thinspace "
        "negthinspace therefore Huge huge LARGE Large large small footnotesize tiny "
        "normalsize nobreak noindent smash protect relax pmb "
    )
)
"""Commands that only decorate their argument, which is kept."""

RENAMED = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac", "nicefrac": "frac",
    "dbinom": "binom", "tbinom": "binom", "varepsilon": "epsilon", "varphi": "phi",
    "vartheta": "theta", "varrho": "rho", "varnothing": "emptyset", "empty": "emptyset",
    "widehat": "hat", "widetilde": "tilde", "overrightarrow": "vec", "overbar": "overline",
    "imath": "i", "imaginaryI": "i", "imaginaryJ": "i", "exponentialE": "e",
    "differentialD": "d", "pounds": "textsterling",
}  # fmt: skip

FUNCTIONS = {
    name: name
    for name in words_of(
        "sin cos tan cot sec csc sinh cosh tanh coth ln log lg exp max min gcd lcm det arcsin "
        "arccos arctan arccot arcsec arccsc sgn floor ceil abs"
    )
} | {
    "tg": "tan", "ctg": "cot", "cotg": "cot", "arctg": "arctan", "asin": "arcsin",
    "acos": "arccos", "atan": "arctan", "sign": "sgn", "ceiling": "ceil", "cosec": "csc",
    "gcf": "gcd", "arsinh": "arcsinh", "Abs": "abs",
}  # fmt: skip

STRUCTURES = frozenset(words_of("frac sqrt binom sum prod int lim over choose pmod root"))
ACCENTS = frozenset(words_of("overline bar vec hat tilde dot ddot"))

_GREEK = words_of(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma "
    "tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi "
    "Omega"
)
LETTERS = {name: f"\\{name}" for name in _GREEK} | {
    "pi": "pi", "infty": "oo", "e": "e", "i": "i", "d": "d", "ell": "\\ell", "hbar": "\\hbar",
    "emptyset": "\\emptyset", "R": "\\mathbb R", "Z": "\\mathbb Z", "N": "\\mathbb N",
    "Re": "\\Re", "Im": "\\Im", "aleph": "\\aleph",
}  # fmt: skip
"""Commands that stand for one letter or constant."""

SIGNS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "bmod": "bmod", "mod": "bmod",
    "le": "le", "leq": "le", "leqslant": "le", "leqq": "le", "lt": "<",
    "ge": "ge", "geq": "ge", "geqslant": "ge", "geqq": "ge", "gt": ">",
    "ne": "ne", "neq": "ne", "pm": "pm", "mp": "mp", "in": "in", "notin": "notin",
    "cup": "cup", "bigcup": "cup", "cap": "cap", "bigcap": "cap", "setminus": "setminus",
    "backslash": "setminus", "smallsetminus": "setminus", "mid": "|", "vert": "|", "lvert": "|",
    "rvert": "|", "Vert": "||", "lVert": "||", "rVert": "||", "lfloor": "lfloor",
    "rfloor": "rfloor", "lceil": "lceil", "rceil": "rceil", "langle": "langle",
    "rangle": "rangle", "lbrace": r"\{", "rbrace": r"\}", "lbrack": "[", "rbrack": "]",
    "lparen": "(", "rparen": ")", "approx": "approx", "approxeq": "approx", "simeq": "approx",
    "thickapprox": "approx", "doteq": "approx", "equiv": "equiv", "circ": "deg", "degree": "deg",
    "textdegree": "deg", "prime": "'", "colon": ":", "ldots": "dots", "dots": "dots",
    "cdots": "dots", "dotsc": "dots", "dotsb": "dots", "vdots": "dots", "to": "to",
    "rightarrow": "to", "Rightarrow": "to", "implies": "to", "mapsto": "to", "iff": "iff",
    "Leftrightarrow": "iff", "angle": "angle", "measuredangle": "angle", "triangle": "triangle",
    "percent": "%", "textsterling": "£", "euro": "€", "yen": "¥", "rupee": "₹",
    "textdollar": "money", "dollar": "money", "forall": "forall", "land": "land",
    "wedge": "land", "lor": "lor", "vee": "lor", "coloneqq": "=", "parallel": "parallel",
    "perp": "perp", "cong": "cong", "sim": "sim", "subset": "subset", "subseteq": "subset",
}  # fmt: skip
"""Commands that are signs."""

NEGATED = {"=": "ne", "in": "notin", "<": "ge", ">": "le", "le": ">", "ge": "<"}
r"""What `\not` makes of a sign."""

PLAIN_NAMES: dict[str, tuple[str, str]] = {
    **{name: ("func", text) for name, text in FUNCTIONS.items() if len(name) > 1},
    **{name: ("name", f"\\{name}") for name in _GREEK if len(name) > 3 or name in ("phi", "rho")},
    "sqrt": ("cmd", "sqrt"), "cbrt": ("cmd", "cbrt"), "pi": ("name", "pi"), "Pi": ("name", "pi"),
    "infty": ("name", "oo"), "infinity": ("name", "oo"), "Infinity": ("name", "oo"),
    "inf": ("name", "oo"), "oo": ("name", "oo"), "mod": ("op", "bmod"), "union": ("op", "cup"),
}  # fmt: skip
"""Words that mean a function, name or sign when written without a backslash."""

TIGHT_UNITS = frozenset(words_of("cm mm km kg mg ml mL mph dm kph kWh ft")) - {"ft"}
"""Unit symbols that follow a number without a space and are not a product of letters."""

_SHORT_WORDS = frozenset(
    words_of(
        "and or is an of no yes cm mm km the all not for any are has if but nor odd even cat "
        "dog boy man men day one two six ten red sum set bus box cup ft in yd mi lb oz hr min "
        "sec cents cent cost most best days left base pct per to at by on it so"
    )
)
_VOWELS = frozenset("aeiouyAEIOUY")


def is_unit(run: str) -> bool:
    """Whether letters are the symbol or the name of a unit."""
    return len(run) > 1 and run in UNITS


def is_word(run: str) -> bool:
    """Whether plain letters are a word rather than a product of variables.

    Products are written in the order of the alphabet (`abc`, `xyz`) or in capitals (`ABCD`).
    """
    if run in _SHORT_WORDS or run.lower() in _SHORT_WORDS:
        return True
    if len(run) < 3 or run.isupper() or not _VOWELS & set(run):
        return False
    small = run.lower()
    return list(small) != sorted(set(small)) and (run.islower() or run.istitle() or len(run) > 4)
