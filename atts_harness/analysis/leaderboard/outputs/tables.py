"""The leaderboard for a terminal, as Markdown, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from atts_harness.analysis.leaderboard.outputs.sheets import (
    ORACLE,
    Section,
    Sheet,
    percent,
    sections,
)
from atts_harness.analysis.leaderboard.rows import INDISTINCT, Interval, Leaderboard, Row


def render(leaderboard: Leaderboard) -> RenderableType:
    """The leaderboard as tables for a terminal."""
    parts: list[RenderableType] = []
    for section in sections(leaderboard):
        parts.append(Text(section.title, style="bold"))
        parts.extend(Text(f"not beside the first table: {words}") for words in section.differs)
        parts.extend(_rich(sheet) for sheet in section.sheets)
        parts.extend(Text(note, style="dim") for note in section.notes)
        parts.append(Text(""))
    parts.extend(Text(words) for words in about(leaderboard))
    return Group(*parts)


def markdown(leaderboard: Leaderboard) -> str:
    """The leaderboard as Markdown."""
    lines = ["# Leaderboard", ""]
    for section in sections(leaderboard):
        lines += list(_markdown(section))
    lines += ["## How to read this", ""]
    lines += [f"- {_escaped(words)}" for words in about(leaderboard)]
    return "\n".join(lines) + "\n"


def about(leaderboard: Leaderboard) -> Iterator[str]:
    """What holds for all tables, and what is in none of them."""
    level = percent(leaderboard.level)
    if leaderboard.rows:
        yield (
            f"Intervals: {level}, clustered by problem. Differences: paired by problem; p by "
            "flipping the signs of problems' differences,"
            f" Holm-corrected within a table; '{INDISTINCT}' where that is above "
            f"{1 - leaderboard.level:.2g}. McNemar takes samples as independent: a second opinion."
        )
        yield (
            "Tokens computed are those a forward pass was run for: uncached context, scored and "
            "written ones. FLOPs are estimates. – is not known."
        )
    yield from leaderboard.warnings
    for refusal in leaderboard.refused:
        yield f"left out: {refusal.path}: {refusal.reason}"


def csv_text(leaderboard: Leaderboard) -> str:
    """One line a row with every figure; an empty field is not known."""
    lines = [_flat(leaderboard, row) for row in leaderboard.rows]
    names = list(dict.fromkeys(name for line in lines for name in line))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _rich(sheet: Sheet) -> RichTable:
    table = RichTable(
        title=sheet.title,
        title_justify="left",
        title_style="italic",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
    )
    for name, words in zip(sheet.head, sheet.words, strict=True):
        table.add_column(name, justify="left" if words else "right", no_wrap=not words)
    for row in sheet.body:
        table.add_row(*(Text(cell, style="dim" if row[0].endswith(ORACLE) else "") for cell in row))
    return table


def _markdown(section: Section) -> Iterator[str]:
    yield f"## {_escaped(section.title)}"
    yield ""
    for words in section.differs:
        yield f"Not beside the first table: {_escaped(words)}."
        yield ""
    for sheet in section.sheets:
        yield f"**{_escaped(sheet.title)}**"
        yield ""
        yield _line(name.replace("\n", " ") for name in sheet.head)
        yield _line("---" if words else "---:" for words in sheet.words)
        for row in sheet.body:
            yield _line(row)
        yield ""
    for note in section.notes:
        yield f"- {_escaped(note)}"
    if section.notes:
        yield ""


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Names of models and strategies come from outside: nothing of them is markup."""
    for sign in "\\`*_|<>[]":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def _flat(leaderboard: Leaderboard, row: Row) -> dict[str, object]:
    table = next(table for table in leaderboard.tables if row.id in table.rows)
    line: dict[str, object] = {
        "table": table.id,
        "id": row.id,
        "strategy": row.strategy,
        "label": row.label,
        "oracle": row.oracle,
        "not_comparable": "; ".join(table.marks.get(row.id, ())),
        "pair": row.pair.name,
        "draft": row.pair.draft,
        "target": row.pair.target,
        "task": row.task,
        "task_version": row.conditions.version,
        "budget": row.conditions.budget,
        "problems": row.problems,
        "repeats": row.repeats,
        "samples": row.samples,
        **_interval("pass@1", row.pass_1),
    }
    line |= {f"pass@{k}": found.value for k, found in row.pass_at.items() if k != "1"}
    line |= {f"maj@{k}": found.value for k, found in row.maj_at.items()}
    line |= {name: getattr(row, name) for name in ("invalid", "truncated", "failed", "missing")}
    takeover = row.takeover
    line["takeover_nominal"] = takeover.nominal if takeover else None
    line |= _interval("takeover_realised", takeover.realised if takeover else None)
    for name in row.tokens.__struct_fields__:
        line[f"{name}_tokens"] = getattr(row.tokens, name)
    line["turns"] = row.turns
    line |= {f"calls_{name.replace('/', '_')}": own.per_sample for name, own in row.calls.items()}
    for name in (
        *("makespan", "samples_per_second", "latency_p50", "latency_p95"),
        *("computing_over_waiting", "speedup_target_only", "speedup_synchronous"),
    ):
        line[name] = getattr(row.speed, name)
    calibration = row.calibration
    line["calibration"] = calibration.source if calibration else None
    for name in ("target_tokens", "draft_tokens", "seconds"):
        line[f"calibration_{name}"] = getattr(calibration, name) if calibration else None
    line["flops_estimate"] = row.flops.total if row.flops else None
    line["peak_kv"] = max(row.peak_kv.values(), default=None)
    line["dollars"] = sum(row.dollars.values()) if row.dollars else None
    line |= {"seed": row.source.seed, "run_dir": row.source.run_dir, "results": row.source.results}
    line["notes"] = "; ".join(row.notes)
    return line


def _interval(name: str, found: Interval | None) -> dict[str, object]:
    return {
        name: found.value if found else None,
        f"{name}_low": found.low if found else None,
        f"{name}_high": found.high if found else None,
    }
