"""A leaderboard's tables as cells of text, for terminal and Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from atts_harness.analysis.leaderboard import columns, columns_of_time, numbers
from atts_harness.analysis.leaderboard.column import Column
from atts_harness.analysis.leaderboard.numbers import UNKNOWN
from atts_harness.analysis.leaderboard.rows import Comparison, Leaderboard, NoWorse, Row, Table
from atts_harness.analysis.leaderboard.spent import Range

ORACLE = "†"
MARK = "*"
VERDICT = "verdict"
SHEETS = (
    ("Accuracy", (columns.ACCURACY,)),
    ("Takeover", (columns.TAKEOVER,)),
    ("Cost a sample, in tokens", (columns.TOKENS, columns.COMPUTE, columns.SETUP)),
    ("Calls a sample, by role and kind", (columns.CALLS,)),
    ("Speed", (columns_of_time.TIME,)),
)
"""The sheets' titles, each with its groups of columns."""
NEED_FIGURES = (columns.TAKEOVER, columns.TOKENS, columns.CALLS, columns_of_time.TIME)
"""Groups whose sheet is left out if no row has a figure for it."""


@dataclass(frozen=True)
class Sheet:
    """One table of text.

    Attributes:
        title: above it.
        head: names of columns; the first column names the row.
        body: rows.
        words: which columns are words; the others are figures.
        intervals: which columns are the interval of the one before them.
    """

    title: str
    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]
    words: tuple[bool, ...]
    intervals: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Section:
    """A table of the leaderboard: its sheets and the remarks on it."""

    title: str
    differs: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...]


def sections(leaderboard: Leaderboard) -> list[Section]:
    """Every table of a leaderboard, in order."""
    return [_section(leaderboard, table) for table in leaderboard.tables]


def about(leaderboard: Leaderboard) -> Iterator[str]:
    """Notes on all tables, and the inputs that are in none of them."""
    level = numbers.percent(leaderboard.level)
    if leaderboard.rows:
        yield (
            f"Intervals: {level}, over problems drawn like these. Differences: paired by problem; "
            "their intervals hold for all comparisons of a table at once, and the verdict is "
            "whether an interval leaves 0 out. No worse by more than a margin: by a bound on one "
            "side at the same level; 'needs N more': about so many more problems would tell."
        )
        yield (
            "Tokens computed are those a forward pass was run for: uncached context, scored and "
            f"written ones. FLOPs are estimates. {UNKNOWN} is not known."
        )
    if any(row.takeover is not None for row in leaderboard.rows):
        yield (
            "Takeover: realised is of judged turns; of all turns counts failed scores and empty "
            "drafts, which nobody judged."
        )
    yield from leaderboard.warnings
    for refusal in leaderboard.refused:
        yield f"left out: {refusal.path}: {refusal.reason}"


def one_pair(rows: Sequence[Row]) -> str | None:
    """The pair of a table's rows, where all have its models; None if they differ."""
    names = [{getattr(row.pair, role) for row in rows} - {None} for role in ("draft", "target")]
    if any(len(models) > 1 for models in names):
        return None
    return " + ".join(name for models in names for name in models)


def _section(leaderboard: Leaderboard, table: Table) -> Section:
    rows = [leaderboard.row(id_) for id_ in table.rows]
    every = columns.shown_columns(rows, "text")
    sheets = []
    for title, groups in SHEETS:
        group_columns = [column for column in every if column.group in groups]
        if groups[0] in NEED_FIGURES and not any(
            _known(group_columns, groups[0], row) for row in rows
        ):
            continue
        sheet_rows = rows if groups[0] == columns.ACCURACY else [r for r in rows if not r.oracle]
        sheets.append(_sheet(title, group_columns, sheet_rows, table, leaderboard.level))
    sheets += _comparisons(leaderboard, table)
    pair = one_pair(rows)
    title = table.title if pair is None else f"{table.title}, {pair}"
    return Section(title, table.differs, tuple(sheets), tuple(_notes(rows, table)))


def _known(every: Sequence[Column], group: str, row: Row) -> bool:
    return any(column.value(row) is not None for column in every if column.group == group)


def _sheet(
    title: str, every: Sequence[Column], rows: Sequence[Row], table: Table, level: float
) -> Sheet:
    printed = [c for c in every if c is not columns.PAIR or one_pair(rows) is None]
    head, words = ["strategy"], [True]
    body = [[_name(row, table)] for row in rows]
    intervals = set()
    for column in printed:
        head.append("\n".join(column.title.rsplit(" ", 1)).replace("/", "/\n", 1))
        words.append(column.words)
        for row, line in zip(rows, body, strict=True):
            line.append(column.show(row) + _range(column.key, row))
        if column.key in ("vote.value", "pass_at.1.value", "takeover.realised.value"):
            intervals.add(len(head))
            head.append(numbers.percent(level))
            words.append(False)
            for row, line in zip(rows, body, strict=True):
                line.append(column.ends(row) or (UNKNOWN if line[-1] else ""))
    return Sheet(title, tuple(head), tuple(map(tuple, body)), tuple(words), frozenset(intervals))


def _range(key: str, row: Row) -> str:
    """The range of a time that was measured more than once, to print after its figure; else ""."""
    speed, interval = row.speed, None
    if key == "speed.makespan":
        interval = speed.makespan_range
    elif key == "speed.samples_per_second" and speed.makespan_range is not None:
        ends = speed.makespan_range
        interval = Range(low=row.samples / ends.high, high=row.samples / ends.low)
    elif key == "speed.speedup_target_only":
        interval = speed.speedup_range
    return "" if interval is None else f" ({interval.low:.3g}–{interval.high:.3g})"


def _comparisons(leaderboard: Leaderboard, table: Table) -> Iterable[Sheet]:
    """A sheet for each row that others are compared with."""
    by_reference: dict[str, list[Comparison]] = {}
    for comparison in table.comparisons:
        by_reference.setdefault(comparison.reference, []).append(comparison)
    for reference, comparisons in by_reference.items():
        ns = sorted({(comparison.problems, comparison.samples) for comparison in comparisons})
        on = " or ".join(f"{problems} problems, {samples} samples" for problems, samples in ns)
        compared = (reference, *(comparison.row for comparison in comparisons))
        votes = any(leaderboard.row(row).vote is not None for row in compared)
        figure = "accuracy" if votes else "pass@1"
        title = f"{figure} against {leaderboard.row(reference).label}, paired on {on}"
        interval = numbers.percent(leaderboard.level)
        if comparisons[0].family > 1:
            interval += f" for\nall {comparisons[0].family} at once"
        margins = {comparison.no_worse.margin for comparison in comparisons if comparison.no_worse}
        within = f"no worse by more\nthan {min(margins):g}" if margins else "no worse"
        head = ("strategy", "difference", interval, "p", VERDICT, within)
        body = tuple(_comparison(leaderboard, comparison) for comparison in comparisons)
        words = tuple(name in ("strategy", VERDICT) for name in head)
        yield Sheet(title, head, body, words, frozenset({head.index(interval)}))


def _comparison(leaderboard: Leaderboard, comparison: Comparison) -> tuple[str, ...]:
    decided = "better" if comparison.difference.value > 0 else "worse"
    return (
        leaderboard.row(comparison.row).label,
        f"{comparison.difference.value:+.3f}",
        numbers.signed_ends(comparison.simultaneous),
        numbers.probability(comparison.p_adjusted),
        decided if comparison.distinguishable else comparison.words,
        _within(comparison.no_worse),
    )


def _within(no_worse: NoWorse | None) -> str:
    if no_worse is None:
        return UNKNOWN
    if no_worse.outcome == "inconclusive":
        return f"needs {no_worse.more:,} more"
    return "yes" if no_worse.outcome == "no worse" else "no"


def _notes(rows: Sequence[Row], table: Table) -> Iterable[str]:
    if any(row.oracle for row in rows):
        yield (
            f"{ORACLE} oracle: the better of draft-only and target-only, chosen with the gold "
            "answers in hand; no strategy can do it"
        )
    for row in rows:
        if row.id in table.marks:
            yield f"{row.label} {MARK} is not comparable: {'; '.join(table.marks[row.id])}"
    labels_by_note: dict[str, list[str]] = {}
    for row in rows:
        if row.speed.makespan and row.speed.measured == 1 and not row.oracle:
            once = "times are one measurement, so their spread is not known (a plan's `times`)"
            labels_by_note.setdefault(once, []).append(row.label)
    for row in rows:
        for note in () if row.oracle else row.notes:
            labels_by_note.setdefault(note, []).append(row.label)
        if row.flops is not None and not all(row.flops.attention.values()):
            labels_by_note.setdefault("FLOPs are without attention", []).append(row.label)
    for note, names in labels_by_note.items():
        every = len(names) == sum(not row.oracle for row in rows)
        yield note if every else f"{', '.join(names)}: {note}"


def _name(row: Row, table: Table) -> str:
    return row.label + f" {ORACLE}" * row.oracle + f" {MARK}" * (row.id in table.marks)
