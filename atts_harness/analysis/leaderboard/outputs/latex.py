"""The leaderboard as LaTeX tables for a paper, to be read by `input`; needs the package booktabs.

The best rows are bold, and rows that cannot be told from them at this number of problems are
marked. A table fits the text width of an article in one column or in two: its type is small, long
names are wrapped, headings have two lines, and one column has the accuracy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from atts_harness.analysis.leaderboard import columns, numbers
from atts_harness.analysis.leaderboard.best import best_of, indistinct
from atts_harness.analysis.leaderboard.column import Column
from atts_harness.analysis.leaderboard.outputs.sheets import one_pair
from atts_harness.analysis.leaderboard.rows import Leaderboard, Row, Table
from atts_harness.analysis.leaderboard.samples import RowSamples

HEADINGS = {
    "takeover.realised.value": ("takeover", "realised"),
    "tokens.target_computed": ("target", "tokens"),
    "tokens.draft_computed": ("draft", "tokens"),
    "speed.makespan": ("time", "[s]"),
    "speed.speedup_target_only": ("speed-", "up"),
}
"""Columns of a paper's table where a row has a figure for them, each with the two lines of its
heading; the others are in the CSV."""
MEANINGS = {
    "tokens.target_computed": "Tokens: computed by a model, a sample.",
    "speed.makespan": "Time: from the first sample's start to the last one's end.",
    "speed.speedup_target_only": "Speed-up: against target-only of the same pair.",
}
SAME = r"$^{\approx}$"
ORACLE = r"$^{\ddagger}$"
APART = r"$^{*}$"

SHORT_NAME = 20
"""Characters of a name that never wraps; with longer ones the column is a quarter of the width."""
LINE = 18
"""Characters of a name on a line of that column, about."""
PAGE = 42
"""Lines of names on a page; a longer table is cut into several."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"[": "{[}", "]": "{]}"},  # a row that begins with a bracket would be a length
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "…": r"\ldots{}"},
}
_LAST_LATIN = "\u024f"  # pdfTeX stops at signs of other scripts


@dataclass(frozen=True)
class _Layout:
    """What all parts of one table have in common.

    Attributes:
        columns: behind the accuracy.
        best: the highest accuracy; None where nothing was graded.
        same: ids of the rows that cannot be told from the best.
        votes: whether the accuracy of a row is its vote's.
        pairs: whether rows stand below the names of their pairs.
        narrow: whether names are wrapped.
    """

    columns: tuple[Column, ...]
    best: float | None
    same: frozenset[str]
    votes: bool
    pairs: bool
    narrow: bool

    @property
    def width(self) -> int:
        return 2 + len(self.columns)


def latex(leaderboard: Leaderboard, samples: Mapping[str, RowSamples]) -> str:
    """The tables of a leaderboard.

    Args:
        leaderboard: what is shown.
        samples: the samples behind its rows, by row id; without them nothing is marked as not
            distinguishable.
    """
    head = [
        "% Needs \\usepackage{booktabs}. Made by atts-harness " + leaderboard.harness + ".",
        "% Every figure, and those that are not here, stands in leaderboard.csv.",
        "% table* spans both columns of a text in two; in a text in one column it is a table.",
    ]
    tables = [part for table in leaderboard.tables for part in _parts(leaderboard, table, samples)]
    return "\n".join([*head, *tables])


def escape(text: str) -> str:
    """A text with the characters escaped that mean something to LaTeX.

    Signs that cannot be printed are left out, and those of scripts that pdfTeX does not have are
    question marks.
    """
    return "".join(map(_sign, " ".join(text.split())))


def _sign(sign: str) -> str:
    if sign in _SPECIAL:
        return _SPECIAL[sign]
    if not sign.isprintable():
        return ""
    return sign if sign <= _LAST_LATIN else "?"


def _parts(
    leaderboard: Leaderboard, table: Table, samples: Mapping[str, RowSamples]
) -> Iterator[str]:
    """A table, in as many parts as it needs pages."""
    rows = [leaderboard.row(id_) for id_ in table.rows]
    every = {column.key: column for column in columns.columns_of(rows)}
    best = best_of(rows)
    layout = _Layout(
        columns=tuple(
            every[key] for key in HEADINGS if any(every[key].value(row) is not None for row in rows)
        ),
        best=best.accuracy.value if best and best.accuracy else None,
        same=indistinct(rows, samples, leaderboard.level),
        votes=any(row.vote is not None for row in rows),
        pairs=one_pair(rows) is None,
        narrow=any(len(row.label) > SHORT_NAME for row in rows),
    )
    label = "tab:" + re.sub(r"[^A-Za-z0-9]+", "-", table.id).strip("-")
    for number, part in enumerate(_pages(_ordered(rows, layout), layout)):
        caption = (
            " ".join(_sentences(leaderboard, table, rows, layout))
            if number == 0
            else rf"Table~\ref{{{label}}}, continued."
        )
        yield "\n".join(
            _lines(part, table, layout, caption, label if number == 0 else f"{label}-{number + 1}")
        )


def _ordered(rows: Sequence[Row], layout: _Layout) -> list[Row]:
    """Rows of a pair together, oracles at the end."""
    if not layout.pairs:
        return list(rows)
    pairs = list(dict.fromkeys(row.pair.name for row in rows))
    return sorted(rows, key=lambda row: (row.oracle, pairs.index(row.pair.name)))


def _pages(rows: Sequence[Row], layout: _Layout) -> Iterator[list[Row]]:
    page: list[Row] = []
    lines = 0
    for row in rows:
        needed = 1 + (len(row.label) // LINE if layout.narrow else 0) + layout.pairs
        if page and lines + needed > PAGE:
            yield page
            page, lines = [], 0
        page.append(row)
        lines += needed
    yield page


def _lines(
    rows: Sequence[Row], table: Table, layout: _Layout, caption: str, label: str
) -> Iterator[str]:
    name = r"p{0.25\linewidth}" if layout.narrow else "l"
    headings = [HEADINGS[column.key] for column in layout.columns]
    accuracy = "accuracy" if layout.votes else "pass@1"
    yield r"\begin{table*}[t]"
    yield r"\centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"\caption{{{caption}}}"
    yield rf"\label{{{label}}}\smallskip"
    yield rf"\begin{{tabular}}{{@{{}}{name}{'r' * (layout.width - 1)}@{{}}}}"
    yield r"\toprule"
    yield " & ".join(["", "", *(escape(above) for above, _ in headings)]) + r" \\"
    yield " & ".join(["strategy", accuracy, *(escape(below) for _, below in headings)]) + r" \\"
    yield r"\midrule"
    pair = None
    for before, row in zip((None, *rows), rows, strict=False):
        if row.oracle and before is not None and not before.oracle:
            yield r"\midrule"
        if layout.pairs and row.pair.name != pair:
            pair = row.pair.name
            yield rf"\multicolumn{{{layout.width}}}{{@{{}}l}}{{\emph{{{escape(pair)}}}}} \\"
        cells = [_name(row, table, layout), _accuracy(row, layout)]
        cells += [escape(column.show(row)) for column in layout.columns]
        yield " & ".join(cells) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}", r"\end{table*}", "")


def _name(row: Row, table: Table, layout: _Layout) -> str:
    name = escape(row.label)
    if layout.narrow:
        name = r"\raggedright " + re.sub(r"([=/]|\\_)", r"\1\\allowbreak{}", name)
    marks = APART * (row.id in table.marks) + ORACLE * row.oracle + SAME * (row.id in layout.same)
    return name + marks


def _accuracy(row: Row, layout: _Layout) -> str:
    if row.accuracy is None:
        return escape(numbers.UNKNOWN)
    figure = numbers.share(row.accuracy.value)
    if row.accuracy.value == layout.best and not row.oracle:
        figure = rf"\textbf{{{figure}}}"
    ends = escape(numbers.ends(row.accuracy))
    return rf"{figure} {{\scriptsize [{ends}]}}" if ends else figure


def _sentences(
    leaderboard: Leaderboard, table: Table, rows: Sequence[Row], layout: _Layout
) -> Iterator[str]:
    pair = one_pair(rows)
    title = escape(table.title if pair is None else f"{table.title}, {pair}")
    yield title.replace(" x ", r" $\times$ ") + "."
    level = escape(numbers.percent(leaderboard.level)).replace(" ", r"\,")
    if layout.votes:
        yield (
            "Accuracy: of the vote where samples vote, else pass@1; where they vote, tokens are a "
            "problem's."
        )
    yield f"In brackets: {level} intervals, clustered by question. Bold: the best."
    if layout.same:
        yield (
            f"{SAME}: not distinguishable from the best, all comparisons with it at {level} "
            "together."
        )
    yield from (MEANINGS[column.key] for column in layout.columns if column.key in MEANINGS)
    if any(row.oracle for row in rows):
        yield f"{ORACLE}: made with the gold answers in hand; no strategy can do it."
    if table.marks:
        reasons = dict.fromkeys(
            words for differences in table.marks.values() for words in differences
        )
        yield f"{APART}: not comparable: {escape('; '.join(reasons))}."
    for words in table.differs:
        yield escape(f"Not beside the first table: {words}.")
