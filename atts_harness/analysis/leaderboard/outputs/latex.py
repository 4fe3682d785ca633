"""The leaderboard as LaTeX tables for a paper, to be read by `input`; needs the package booktabs.

The best row is bold, and rows that cannot be told from it at this number of problems are marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from atts_harness.analysis.leaderboard import columns, numbers
from atts_harness.analysis.leaderboard.best import best_of, indistinct
from atts_harness.analysis.leaderboard.column import Column
from atts_harness.analysis.leaderboard.outputs.sheets import one_pair
from atts_harness.analysis.leaderboard.rows import Leaderboard, Row, Table
from atts_harness.analysis.leaderboard.samples import RowSamples

KEYS = (
    *("vote.value", "pass_at.1.value", "takeover.realised.value"),
    *("tokens.target_computed", "tokens.draft_computed"),
    *("speed.makespan", "speed.speedup_target_only"),
)
"""Columns of a paper's table, where a row has a figure for them; the others are in the CSV."""
WITH_INTERVAL = frozenset({"vote.value", "pass_at.1.value"})
SAME = r"$^{\approx}$"
ORACLE = r"$^{\ddagger}$"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"[": "{[}", "]": "{]}"},  # a row that begins with a bracket would be a length
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "…": r"\ldots{}"},
}
_ONE = re.compile("|".join(map(re.escape, _SPECIAL)))


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
    ]
    return "\n".join(
        [*head, *(_table(leaderboard, table, samples) for table in leaderboard.tables)]
    )


def escape(text: str) -> str:
    """A text in which no sign means anything to LaTeX; what it has no sign for is left out."""
    escaped = _ONE.sub(lambda match: _SPECIAL[match[0]], " ".join(text.split()))
    return "".join(sign for sign in escaped if sign.isprintable())


def _table(leaderboard: Leaderboard, table: Table, samples: Mapping[str, RowSamples]) -> str:
    rows = [leaderboard.row(id_) for id_ in table.rows]
    every = {column.key: column for column in columns.columns_of(rows)}
    chosen_columns = [every[key] for key in KEYS if key in every and _has_figures(every[key], rows)]
    best, same = best_of(rows), indistinct(rows, samples, leaderboard.level)
    with_pair = one_pair(rows) is None
    names = [
        "strategy",
        *(["pair"] if with_pair else []),
        *(column.title for column in chosen_columns),
    ]
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_caption(leaderboard, table, rows, same)}}}",
        rf"\label{{tab:{re.sub(r'[^A-Za-z0-9]+', '-', table.id).strip('-')}}}",
        rf"\begin{{tabular}}{{@{{}}{'l' * (1 + with_pair)}{'r' * len(chosen_columns)}@{{}}}}",
        r"\toprule",
        " & ".join(escape(name) for name in names) + r" \\",
        r"\midrule",
    ]
    for row in rows:
        cells = [_name(row, row.id in same), *([escape(row.pair.name)] if with_pair else [])]
        cells += [_cell(column, row, bold=row is best) for column in chosen_columns]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _has_figures(column: Column, rows: Sequence[Row]) -> bool:
    return any(column.value(row) is not None for row in rows)


def _name(row: Row, same: bool) -> str:
    return escape(row.label) + (ORACLE if row.oracle else "") + (SAME if same else "")


def _cell(column: Column, row: Row, *, bold: bool) -> str:
    figure = escape(column.show(row))
    if column.key not in WITH_INTERVAL:
        return figure
    figure = rf"\textbf{{{figure}}}" if bold else figure
    ends = escape(column.ends(row))
    return rf"{figure} {{\small [{ends}]}}" if ends else figure


def _caption(
    leaderboard: Leaderboard, table: Table, rows: Sequence[Row], same: frozenset[str]
) -> str:
    return " ".join(_sentences(leaderboard, table, rows, same))


def _sentences(
    leaderboard: Leaderboard, table: Table, rows: Sequence[Row], same: frozenset[str]
) -> Iterator[str]:
    pair = one_pair(rows)
    yield escape(table.title if pair is None else f"{table.title}, {pair}") + "."
    level = escape(numbers.percent(leaderboard.level))
    yield f"In brackets: {level} intervals, clustered by question. Bold: the best."
    if same:
        yield (
            f"{SAME}: not distinguishable from the best, all comparisons with it at {level} "
            "together."
        )
    if any(row.oracle for row in rows):
        yield f"{ORACLE}: made with the gold answers in hand; no strategy can do it."
    for words in table.differs:
        yield escape(f"Not beside the first table: {words}.")
