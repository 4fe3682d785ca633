"""The page: one table of accuracy and cost, one of calls, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from atts_harness.analysis.statistics import Estimate
from atts_harness.records import CallTotals
from benchmarks.strategies.measured import Measured, consistency_at
from benchmarks.strategies.rows import ROWS, TARGET_VOTES, Row

ROOT = Path(__file__).parents[2]
METHODS = {
    "ATTS": ("atts_harness/atts.py", "atts_harness/turns.py"),
    "SpecReason": ("baselines/atts_specreason/specreason.py",),
    "speculative thinking": (
        "baselines/atts_speculative_thinking/strategy.py",
        "baselines/atts_speculative_thinking/options.py",
        "baselines/atts_speculative_thinking/rules.py",
    ),
    "GlimpRouter": ("baselines/atts_glimprouter/glimprouter.py",),
    "what votes share": ("baselines/atts_votes/vote.py", "baselines/atts_votes/counting.py"),
    "self-consistency": ("baselines/atts_votes/self_consistency.py",),
    "adaptive-consistency": ("baselines/atts_votes/adaptive_consistency.py",),
    "ESC": ("baselines/atts_votes/esc.py",),
    "DeepConf": ("baselines/atts_votes/deepconf.py", "baselines/atts_votes/confidence.py"),
}
"""The files of each method, options included; its calibration or its plugin's hooks are not."""
VOTES = (
    " Where samples vote, accuracy and costs are those of a problem, with all samples that were "
    "drawn for it (*drawn*, those given up included), and *pass@1* is that of the drawn samples."
)


def page(
    measured: Mapping[str, Measured],
    intro: str,
    title: str = "Strategies side by side",
    behind: str = "",
    journals: Mapping[str, int] | None = None,
    *,
    seconds: bool = True,
    lines: bool = True,
) -> str:
    """Markdown.

    Args:
        measured: by title the rows.
        intro: the first paragraph.
        title: of the page.
        behind: further sections.
        journals: by title the bytes of a row's journal.
        seconds: whether the seconds of samples are shown.
        lines: whether the lines of each method are counted.
    """
    rows = [row for row in ROWS if row.title in measured]
    parts = [
        f"# {title}",
        intro,
        _accuracy(rows, measured, seconds=seconds),
        "*Computed* tokens are those that the model ran a forward pass for: context that was not "
        "cached, scored and written ones. *Written* tokens are generated, kept or not."
        + (" Seconds are of one sample, from its admission to its end." if seconds else "")
        + (VOTES if _vote(rows, measured) else ""),
    ]
    sections = {
        "Against takeover at random": _verdicts(rows, measured),
        "Against self-consistency at the same tokens": _matched(rows, measured),
        "Calls an answer": _calls(rows, measured),
        "What the judging strategies decided": _judgements(rows, measured),
        "Journals": _journals(rows, measured, journals or {}),
    }
    parts += [f"## {name}\n\n{text}" for name, text in sections.items() if text]
    parts += [behind] if behind else []
    parts += ["## Lines of each method\n\n" + _lines()] if lines else []
    return "\n\n".join(parts) + "\n"


def _vote(rows: list[Row], measured: Mapping[str, Measured]) -> bool:
    """Whether samples of any row vote."""
    return any(measured[row.title].votes for row in rows)


def _accuracy(rows: list[Row], measured: Mapping[str, Measured], *, seconds: bool) -> str:
    votes = _vote(rows, measured)
    titles = [
        "strategy",
        *(("accuracy [95 %]", "pass@1", "drawn") if votes else ("pass@1 [95 %]",)),
        *("takeover rate", "target tokens computed", "written", "draft tokens computed"),
        *("written", "truncated"),
        *(("s p50", "s p95") if seconds else ()),
    ]
    lines = [f"| {' | '.join(titles)} |", "|---|---|" + "--:|" * (len(titles) - 2)]
    for row in rows:
        m = measured[row.title]
        rate = None if row.strategy == "draft-only" else m.takeover.realised_rate
        cells = [
            row.title,
            f"{m.accuracy.value:.3f} {_interval(m.accuracy)}",
            *((f"{m.pass_1:.3f}", _drawn(m)) if m.votes else ("", "") if votes else ()),
            "" if rate is None else f"{rate:.3f}",
            *(
                f"{m.tokens(role, count):.0f}"
                for role in ("target", "draft")
                for count in ("computed_tokens", "completion_tokens")
            ),
            f"{m.share('truncated'):.3f}",
            *(f"{m.seconds(percentile):.2f}" for percentile in (50, 95) if seconds),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdicts(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    lines = [
        "Paired by question: the same problems, repeats and seeds. The coin takes over as often as "
        "the row that it is compared with really did. *Better* and *worse*: the interval does not "
        "contain 0.",
        "",
    ]
    for row in rows:
        if row.against is None or row.against not in measured:
            continue
        difference = measured[row.title].minus(measured[row.against])
        lines.append(
            f"- **{row.title}** minus {row.against}: {difference.value:+.3f} "
            f"{_interval(difference)}: {_verdict(difference)}"
        )
    return "\n".join(lines)


def _matched(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    """Every row against self-consistency at what it costs."""
    at_written = list(filter(None, (_at_the_same_written(row, measured) for row in rows)))
    targets = list(filter(None, (_at_the_same_of_the_target(row, measured) for row in rows)))
    if not at_written and not targets:
        return ""
    parts = [
        "The number of samples is chosen so that the tokens are equal on average: where k samples "
        "take too few and k + 1 too many, a random draw chooses between them. Where more samples "
        "would be needed than were drawn, all of them are taken; they cost less than the row that "
        "is compared with them.",
    ]
    if at_written:
        parts += [
            "### Over the same inner strategy",
            "At the same number of written tokens of both models. (How many are computed depends "
            "on how many samples are in progress at the same time.)",
            "\n".join(at_written),
        ]
    if targets:
        parts += [
            "### Over the target alone",
            "At the same target tokens computed. Where these are fewer than one sample of the "
            "target takes, a random draw chooses between one such sample and the draft alone.",
            "\n".join(targets),
        ]
    return "\n\n".join(parts)


def _at_the_same_written(row: Row, measured: Mapping[str, Measured]) -> str | None:
    m, by = measured[row.title], row.voted_by
    if by is None or by == row.title or by not in measured:
        return None
    return _against(row.title, m, by, consistency_at(measured[by], m.written), m.written, "written")


def _at_the_same_of_the_target(row: Row, measured: Mapping[str, Measured]) -> str | None:
    m, below = measured[row.title], measured.get("draft only")
    tokens = m.tokens("target", "computed_tokens")
    alone = row.strategy == "target-only" or row.voted_by == TARGET_VOTES
    if alone or not tokens or below is None or TARGET_VOTES not in measured:
        return None
    at = consistency_at(measured[TARGET_VOTES], tokens, below)
    return _against(row.title, m, "the target", at, tokens, "computed")


def _against(
    title: str,
    m: Measured,
    other: str,
    at: tuple[dict[int, float], float] | None,
    tokens: float,
    unit: str,
) -> str | None:
    """One line: a row minus self-consistency that takes so many tokens, or all it has."""
    if at is None:
        return None
    difference = m.minus(at[0])
    at_tokens = f"{at[1]:.0f} tokens {unit}"
    if at[1] < tokens - 0.5:
        at_tokens += f" (the row takes {tokens:.0f})"
    return (
        f"- **{title}** minus {other} at {at_tokens}: {difference.value:+.3f} "
        f"{_interval(difference)}: {_verdict(difference)}"
    )


def _drawn(m: Measured) -> str:
    stopped = sum(record.finish == "stopped" for record in m.records)
    words = f"{len(m.drawn) / m.answers:.2f}"
    return f"{words} ({stopped / m.answers:.2f} stopped)" if stopped else words


def _journals(
    rows: list[Row], measured: Mapping[str, Measured], journals: Mapping[str, int]
) -> str:
    """What a run directory takes: everything that resuming, audit and reports need."""
    lines = [
        "Bytes of `journal.sqlite3`: every call, decision and sample. DeepConf's has each token's "
        "confidence in place of its 20 candidates.",
        "",
        "| strategy | a drawn sample | a token that either model wrote |",
        "|---|--:|--:|",
    ]
    for row in rows:
        if row.title in journals:
            m, size = measured[row.title], journals[row.title]
            tokens = m.written * m.answers
            lines.append(f"| {row.title} | {size / len(m.drawn):,.0f} | {size / tokens:.0f} |")
    return "\n".join(lines) if journals else ""


def _lines() -> str:
    """Lines of the files as they stand, comments and docstrings included."""
    lines = [
        "Lines of its files, with docstrings and options.",
        "",
        "| method | lines | files |",
        "|---|--:|---|",
    ]
    for method, files in METHODS.items():
        count = sum(len((ROOT / file).read_text().splitlines()) for file in files)
        lines.append(f"| {method} | {count} | {', '.join(f'`{file}`' for file in files)} |")
    return "\n".join(lines)


def _verdict(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return "one problem only, no interval"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "not distinguishable"


def _calls(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    kinds = sorted({name for row in rows for name in measured[row.title].calls})
    lines = [f"| strategy | {' | '.join(kinds)} |", "|---|" + "--:|" * len(kinds)]
    for row in rows:
        m = measured[row.title]
        counts = [m.calls.get(kind, CallTotals()).calls / m.answers for kind in kinds]
        cells = ["" if count == 0 else f"{count:.2f}" for count in counts]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _judgements(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    """Counts over all samples: a branch that hardly occurs says nothing about its row."""
    branches = sorted({name for row in rows for name in measured[row.title].branches})
    branch_rows = [f"| branches of | {' | '.join(branches)} |", "|---|" + "--:|" * len(branches)]
    kept_rows = ["| acceptance of | steps judged | kept | share kept |", "|---|--:|--:|--:|"]
    for row in rows:
        counts, judged = measured[row.title].branches, measured[row.title].judged
        if row.strategy == "speculative-thinking":
            branch_rows.append(f"| {row.title} | {' | '.join(str(counts[b]) for b in branches)} |")
        elif row.strategy == "specreason":
            share = f"{sum(judged) / len(judged):.3f}" if judged else ""
            kept_rows.append(f"| {row.title} | {len(judged)} | {sum(judged)} | {share} |")
    return "\n\n".join("\n".join(table) for table in (branch_rows, kept_rows) if len(table) > 2)


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"
