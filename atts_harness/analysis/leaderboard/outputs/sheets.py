"""A leaderboard's tables as cells of text: what terminal and Markdown both show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from atts_harness.analysis.leaderboard.rows import Comparison, Interval, Leaderboard, Row, Table

UNKNOWN = "–"
ORACLE = "†"
SUFFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MARK = "*"
WORDS = frozenset({"pair", "verdict"})

Cell = Callable[[Row], str]


@dataclass(frozen=True)
class Sheet:
    """One table of text.

    Attributes:
        title: above it.
        head: names of columns; the first column names the row.
        body: rows.
    """

    title: str
    head: tuple[str, ...]
    body: tuple[tuple[str, ...], ...]

    @property
    def words(self) -> tuple[bool, ...]:
        """Which columns are words; the others are figures."""
        return tuple(n == 0 or name in WORDS for n, name in enumerate(self.head))


@dataclass(frozen=True)
class Section:
    """A table of the leaderboard: its sheets and what has to be said of them."""

    title: str
    differs: tuple[str, ...]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...]


def sections(leaderboard: Leaderboard) -> list[Section]:
    """Every table of a leaderboard, in order."""
    return [_section(leaderboard, table) for table in leaderboard.tables]


def _section(leaderboard: Leaderboard, table: Table) -> Section:
    rows = [leaderboard.row(id_) for id_ in table.rows]
    sheets = [_accuracy(rows, table, leaderboard.level)]
    if any(row.calls for row in rows):
        sheets += [_cost(rows, table), _calls(rows, table)]
    if any(row.speed.makespan is not None for row in rows):
        sheets.append(_speed(rows, table))
    if table.comparisons:
        sheets += _comparisons(leaderboard, table)
    pair = one_pair(rows)
    title = table.title if pair is None else f"{table.title}, {pair}"
    return Section(title, table.differs, tuple(sheets), tuple(_notes(rows, table)))


def _accuracy(rows: Sequence[Row], table: Table, level: float) -> Sheet:
    ks = _common([row.pass_at for row in rows])
    votes = _common([row.maj_at for row in rows if row.maj_at])
    columns: list[tuple[str, Cell]] = [("strategy", _name(table))]
    if one_pair(rows) is None:
        columns.append(("pair", lambda row: row.pair.name))
    if len({(row.problems, row.repeats) for row in rows}) > 1:
        columns.append(("n", lambda row: f"{row.problems}x{row.repeats}"))
    columns.append(("pass@1", lambda row: share(row.pass_1)))
    columns.append((percent(level), lambda row: ends(row.pass_1)))
    if ks:
        columns.append((f"pass@{ks}", lambda row: share(row.pass_at.get(ks))))
    if votes:
        columns.append((f"maj@{votes}", lambda row: share(row.maj_at.get(votes))))
    columns.append(("invalid/\ntruncated/\nfailed", _endings))
    if any(row.missing for row in rows):
        columns.append(("missing", lambda row: count(row.missing)))
    columns += [
        ("takeover\nnominal", lambda row: _nominal(row)),
        ("takeover\nrealised", lambda row: _realised(row)),
    ]
    return _sheet("Accuracy", columns, rows)


def _cost(rows: Sequence[Row], table: Table) -> Sheet:
    columns: list[tuple[str, Cell]] = [
        ("strategy", _name(table)),
        ("target\ncomputed", lambda row: tokens(row.tokens.target_computed)),
        ("target\nwritten", lambda row: tokens(row.tokens.target_written)),
        ("draft\ncomputed", lambda row: tokens(row.tokens.draft_computed)),
        ("draft\nwritten", lambda row: tokens(row.tokens.draft_written)),
        ("calibration", _calibration),
        ("FLOPs\nestimated", _flops),
    ]
    if any(row.dollars for row in rows):
        columns.append(("$\nin all", _dollars))
    shown = [row for row in rows if not row.oracle]
    return _sheet("Cost a sample, in tokens", columns, shown)


def _calls(rows: Sequence[Row], table: Table) -> Sheet:
    columns: list[tuple[str, Cell]] = [("strategy", _name(table))]
    columns.append(("turns", lambda row: UNKNOWN if row.turns is None else f"{row.turns:.1f}"))
    kinds = list(dict.fromkeys(name for row in rows for name in row.calls))
    columns += [(kind.replace("/", "\n"), _calls_of(kind)) for kind in kinds]
    return _sheet("Calls a sample, by role and kind", columns, [r for r in rows if not r.oracle])


def _calls_of(kind: str) -> Cell:
    def called(row: Row) -> str:
        if kind in row.calls:
            return f"{row.calls[kind].per_sample:.1f}"
        return "0" if row.calls else UNKNOWN

    return called


def _speed(rows: Sequence[Row], table: Table) -> Sheet:
    columns: list[tuple[str, Cell]] = [
        ("strategy", _name(table)),
        ("makespan\ns", lambda row: seconds(row.speed.makespan)),
        ("samples\na second", lambda row: figure(row.speed.samples_per_second)),
        ("latency\np50, s", lambda row: seconds(row.speed.latency_p50)),
        ("latency\np95, s", lambda row: seconds(row.speed.latency_p95)),
        ("faster than\ntarget-only", lambda row: ratio(row.speed.speedup_target_only)),
        ("faster than\nsynchronous", lambda row: ratio(row.speed.speedup_synchronous)),
        ("computing\n/ waiting", lambda row: _intensity(row.speed.computing_over_waiting)),
    ]
    if any(row.peak_kv for row in rows):
        columns.append(("peak KV", _peak_kv))
    shown = [row for row in rows if not row.oracle]
    return _sheet("Speed", columns, shown)


def _comparisons(leaderboard: Leaderboard, table: Table) -> Iterable[Sheet]:
    """A sheet for each row that others are compared with."""
    found: dict[str, list[Comparison]] = {}
    for one in table.comparisons:
        found.setdefault(one.reference, []).append(one)
    for reference, own in found.items():
        ns = sorted({(one.problems, one.samples) for one in own})
        on = " or ".join(f"{problems} problems, {samples} samples" for problems, samples in ns)
        title = f"pass@1 against {leaderboard.row(reference).label}, paired on {on}"
        interval = percent(leaderboard.level)
        if own[0].family > 1:
            interval += f" for\nall {own[0].family} at once"
        head = ("strategy", "difference", interval, "p, Holm", "McNemar p", "verdict")
        yield Sheet(title, head, tuple(_comparison(leaderboard, one) for one in own))


def _comparison(leaderboard: Leaderboard, one: Comparison) -> tuple[str, ...]:
    decided = "better" if one.difference.value > 0 else "worse"
    return (
        leaderboard.row(one.row).label,
        f"{one.difference.value:+.3f}",
        signed_ends(one.simultaneous),
        probability(one.p_adjusted),
        probability(one.mcnemar.p if one.mcnemar else None),
        decided if one.distinguishable else one.words,
    )


def _notes(rows: Sequence[Row], table: Table) -> Iterable[str]:
    if any(row.oracle for row in rows):
        yield (
            f"{ORACLE} oracle: the better of draft-only and target-only, chosen with the gold "
            "answers in hand; no strategy can do it"
        )
    for row in rows:
        if row.id in table.marks:
            yield f"{row.label} {MARK} is not comparable: {'; '.join(table.marks[row.id])}"
    said: dict[str, list[str]] = {}
    for row in rows:
        for note in () if row.oracle else row.notes:
            said.setdefault(note, []).append(row.label)
        if row.flops is not None and not all(row.flops.attention.values()):
            said.setdefault("FLOPs are without attention", []).append(row.label)
    for note, names in said.items():
        every = len(names) == sum(not row.oracle for row in rows)
        yield note if every else f"{', '.join(names)}: {note}"


def _sheet(title: str, columns: Sequence[tuple[str, Cell]], rows: Sequence[Row]) -> Sheet:
    body = tuple(tuple(cell(row) for _, cell in columns) for row in rows)
    return Sheet(title, tuple(name for name, _ in columns), body)


def _name(table: Table) -> Cell:
    def named(row: Row) -> str:
        marks = f" {ORACLE}" * row.oracle + f" {MARK}" * (row.id in table.marks)
        return row.label + marks

    return named


def _common(found: Sequence[dict[str, Interval]]) -> str:
    """The largest k above 1 that all rows with any have; "" if there is none."""
    sets = [set(own) for own in found if own]
    shared = set.intersection(*sets) if sets else set()
    return max(shared - {"1"}, key=int, default="")


def one_pair(rows: Sequence[Row]) -> str | None:
    """The pair of a table's rows, where all have its models; None if they differ."""
    names = [{getattr(row.pair, role) for row in rows} - {None} for role in ("draft", "target")]
    if any(len(own) > 1 for own in names):
        return None
    return " + ".join(name for own in names for name in own)


def _endings(row: Row) -> str:
    return " / ".join(count(value) for value in (row.invalid, row.truncated, row.failed))


def _nominal(row: Row) -> str:
    told = row.takeover.nominal if row.takeover is not None else None
    return "" if told is None else f"{told:.3f}"


def _realised(row: Row) -> str:
    return "" if row.takeover is None else share(row.takeover.realised)


def _calibration(row: Row) -> str:
    found = row.calibration
    if found is None:
        return UNKNOWN if not row.calls else "none"
    if found.source != "file":
        return "in the run"
    if found.target_tokens is None:
        return UNKNOWN
    return tokens((found.target_tokens + (found.draft_tokens or 0)) / row.samples)


def _flops(row: Row) -> str:
    if row.flops is None:
        return UNKNOWN
    if row.flops.total is None:
        role, known = next(iter(row.flops.by_role.items()))
        return f"{role} {si(known)}"
    return si(row.flops.total)


def _intensity(value: float | None) -> str:
    return ">1,000" if value is not None and value > 1000 else figure(value)


def _dollars(row: Row) -> str:
    return f"{sum(row.dollars.values()):.4g}" if row.dollars else UNKNOWN


def _peak_kv(row: Row) -> str:
    return ", ".join(f"{name} {used:.0%}" for name, used in row.peak_kv.items()) or UNKNOWN


def share(found: Interval | None) -> str:
    """A share to three places."""
    return UNKNOWN if found is None else f"{found.value:.3f}"


def ends(found: Interval | None) -> str:
    """The interval of a share."""
    if found is None or found.low is None or found.high is None:
        return UNKNOWN
    return f"{found.low:.3f}–{found.high:.3f}"


def signed_ends(found: Interval) -> str:
    """The interval of a difference."""
    if found.low is None or found.high is None:
        return UNKNOWN
    return f"{found.low:+.3f} to {found.high:+.3f}"


def count(value: int | None) -> str:
    """A number of samples."""
    return UNKNOWN if value is None else f"{value:,}"


def tokens(value: float | None) -> str:
    """Tokens a sample."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """Seconds, with as many places as say something."""
    return UNKNOWN if value is None else f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def figure(value: float | None) -> str:
    """Three figures."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """How many times."""
    return UNKNOWN if value is None else f"{value:.2f}x"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return UNKNOWN
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(level: float) -> str:
    """A level of confidence."""
    return f"{100 * level:g} %"


def si(value: float) -> str:
    """Three figures and a prefix: 209,660,469 is `210 M`."""
    for size, suffix in SUFFIXES:
        if value >= size:
            return f"{value / size:.3g} {suffix}"
    return f"{value:.3g}"
