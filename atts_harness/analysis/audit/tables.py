"""The audit as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from atts_harness import terminal
from atts_harness.analysis.audit.audit import Audit, Band, Rate, Uniformity

BLOCKS = "▁▂▃▄▅▆▇█"


def render(audit: Audit) -> RenderableType:
    """The audit as tables."""
    nominal = "none" if audit.nominal is None else f"{audit.nominal:.3g}"
    parts: list[RenderableType] = [
        Text(
            f"{audit.task}: {audit.samples} samples of {audit.questions} questions, "
            f"nominal rate {nominal}",
            style="bold",
        ),
    ]
    if audit.unfinished:
        parts.append(Text(f"NOT FINISHED: {audit.unfinished}", style="bold red"))
    parts.append(terminal.FittedTable(_rates(audit)))
    if audit.uniformity:
        parts.append(terminal.FittedTable(_uniformity(audit.uniformity)))
    parts.extend(Text(line) for line in _facts(audit))
    parts.extend(Text(f"note: {line}") for line in audit.caveats)
    if audit.signal:
        parts.append(terminal.FittedTable(_signal(audit)))
    return Group(*parts)


def _rates(audit: Audit) -> Table:
    table = Table(
        "turns", "scored", "taken", "questions", "rate", "95 %", "off", "by question", "95 %"
    )
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    sections: list[tuple[Iterable[Rate | None], float | None]] = [
        ([audit.overall], audit.nominal),
        (audit.turns, audit.nominal),
        (_apart_from(audit.groups, audit.turns), audit.nominal),
        (audit.phases, audit.nominal),
        (audit.answering, audit.nominal),
        ([audit.dependence.after_takeover, audit.dependence.after_none], None),
    ]
    for section, nominal in sections:
        for row in section:
            if row is not None:
                table.add_row(*_rate_row(row, nominal))
        table.add_section()
    return table


def _apart_from(groups: Iterable[Rate], turns: Iterable[Rate]) -> list[Rate]:
    """Groups of turns, without groups of one turn, which has a row already."""
    names = {turn.name for turn in turns}
    return [group for group in groups if group.name not in names]


def _rate_row(row: Rate, nominal: float | None) -> tuple[str | Text, ...]:
    off: str | Text = ""
    if nominal is not None:
        outside = row.rate.low is not None and not row.rate.low <= nominal <= (row.rate.high or 1)
        off = Text(f"{row.rate.value - nominal:+.3f}", style="red" if outside else "")
    counts = (str(row.scored), str(row.takeovers), str(row.questions))
    return row.name, *counts, f"{row.rate.value:.3f}", _band(row.rate), off


def _uniformity(rows: Iterable[Uniformity]) -> Table:
    table = Table("p-values", "n", "KS", "95 %", "chance", "0 to 1")
    for row in rows:
        table.add_row(
            row.name,
            str(row.count),
            f"{row.ks.value:.3f}",
            _band(row.ks),
            f"{row.independent:.3f}",
            _histogram(row.bins),
        )
    return table


def _facts(audit: Audit) -> Iterable[str]:
    effects, problems = audit.effects, audit.problems
    if audit.overall is not None:
        yield (
            f"mean of the questions' rates, each counting the same: "
            f"{audit.overall.by_question.value:.3f} ({_band(audit.overall.by_question)}); a "
            "hierarchical bound is about this one, the table counts turns"
        )
    if effects.takeovers:
        yield (
            f"takeovers: {effects.takeovers}; wrote nothing {effects.empty} "
            f"({effects.empty_after_answer} behind an answer), gave the first answer "
            f"{effects.supplied}, another one {effects.changed}, left it {effects.kept}, no "
            f"answer yet {effects.open}"
        )
    if effects.new_answer:
        yield f"gave a first or another answer: {_share(effects.new_answer.rate)}"
    if effects.answering_without_effect:
        yield (
            f"of {effects.answering} takeovers of drafts with an answer it stands in "
            f"{_share(effects.answering_without_effect.rate)}"
        )
    if problems.first_turn_quantiles is not None:
        low, middle, high = problems.first_turn_quantiles
        yield (
            f"rate of single problems on turn 0: {low:.2f} / {middle:.2f} / {high:.2f} "
            f"(10, 50, 90 %); never {problems.never:.0%}, nine times in ten or more "
            f"{problems.always:.0%}"
        )
    if audit.thresholds is not None:
        least, mean, most = audit.thresholds
        yield f"thresholds used: {least:.3g} to {most:.3g}, mean {mean:.3g}"
    decided = sum(audit.apart.values()) + (audit.overall.scored if audit.overall else 0)
    for reason, count in audit.apart.items():
        yield f"counted apart: {count} takeovers ({count / decided:.1%} of turns) for {reason}"


def _signal(audit: Audit) -> Table:
    title = "AUC of the score for wrong answers (0.5 is chance)"
    table = Table("score", "pooled", "95 %", "within question", "95 %", title=title)
    for row in audit.signal:
        table.add_row(
            row.score,
            *_auc(row.pooled, row.pooled_low, row.pooled_high),
            *_auc(row.within, row.within_low, row.within_high),
        )
    return table


def _auc(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if value is None:
        return "-", "-"
    return f"{value:.3f}", "-" if low is None or high is None else f"{low:.3f}–{high:.3f}"


def _band(band: Band) -> str:
    return "-" if band.low is None or band.high is None else f"{band.low:.3f}–{band.high:.3f}"


def _share(band: Band) -> str:
    return f"{band.value:.1%} ({_band(band)})"


def _histogram(bins: Iterable[float]) -> str:
    """A histogram of ten block characters; for uniform values all have the same height."""
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(share * 30))] for share in bins)
