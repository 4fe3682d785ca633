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


def page(
    measured: Mapping[str, Measured], intro: str, title: str = "Strategies side by side"
) -> str:
    """Markdown."""
    rows = [row for row in ROWS if row.title in measured]
    parts = [
        f"# {title}",
        intro,
        _accuracy(rows, measured),
        "*computed* tokens are those the model ran a forward pass for: context that no cache held, "
        "scored and written ones; *written* are generated, kept or not. Seconds are of one sample, "
        "from its admission to its end. Where samples vote, accuracy, tokens and seconds are of a "
        "problem, with all samples that were drawn for it (*drawn*, those given up included), and "
        "*pass@1* is of the drawn ones.",
        "## Against takeover at random\n\n" + _verdicts(rows, measured),
        "## Against self-consistency at the same tokens\n\n" + _matched(rows, measured),
        "## Calls an answer\n\n" + _calls(rows, measured),
        "## What the judging strategies decided\n\n" + _judgements(rows, measured),
        "## Lines of each method\n\n" + _lines(),
    ]
    return "\n\n".join(parts) + "\n"


def _accuracy(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    lines = [
        "| strategy | accuracy [95 %] | pass@1 | drawn | takeover rate | target tokens computed "
        "| written | draft tokens computed | written | truncated | s p50 | s p95 |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        m = measured[row.title]
        rate = None if row.strategy == "draft-only" else m.takeover.realised_rate
        cells = [
            row.title,
            f"{m.accuracy.value:.3f} {_interval(m.accuracy)}",
            f"{m.pass_1:.3f}" if m.votes else "",
            _drawn(m) if m.votes else "",
            "" if rate is None else f"{rate:.3f}",
            *(
                f"{m.tokens(role, what):.0f}"
                for role in ("target", "draft")
                for what in ("computed_tokens", "completion_tokens")
            ),
            f"{m.share('truncated'):.3f}",
            f"{m.seconds(50):.2f}",
            f"{m.seconds(95):.2f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _verdicts(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    lines = [
        "Paired by question: the same problems, repeats and seeds. The coin takes over as often as "
        "the row that it is held against really did.",
        "",
    ]
    for row in rows:
        if row.against is None or row.against not in measured:
            continue
        difference = measured[row.title].minus(measured[row.against])
        lines.append(
            f"- **{row.title}** minus {row.against}: {difference.value:+.3f} "
            f"{_interval(difference)}: {_words(row.title, difference)}"
        )
    return "\n".join(lines)


def _matched(rows: list[Row], measured: Mapping[str, Measured]) -> str:
    """Every row against self-consistency at what it costs."""
    lines = [
        "A vote is held against self-consistency over the same inner strategy at the same tokens "
        "written by both models (how many are computed depends on how many samples are in progress "
        "beside each other: the in-process cache holds a few). What does not vote is held against "
        "self-consistency of the target alone at the same target tokens computed, and where these "
        "are fewer than one sample of the target takes, against a lot between one such sample and "
        "the draft alone. Between k and k + 1 samples a lot decides, too, so the tokens are equal "
        "on average.",
        "",
    ]
    for row in rows:
        found = _at_the_same_tokens(row, measured)
        if found is None:
            continue
        difference, tokens, reference = found
        unit = "" if row.voted_by is None else " written"
        said = _verdict(row.title, difference, "that")
        lines.append(
            f"- **{row.title}** minus {reference} at {tokens:.0f} tokens{unit}: "
            f"{difference.value:+.3f} {_interval(difference)}: {said}"
        )
    return "\n".join(lines)


def _at_the_same_tokens(
    row: Row, measured: Mapping[str, Measured]
) -> tuple[Estimate, float, str] | None:
    m = measured[row.title]
    by, below = row.voted_by, None
    tokens = m.written
    if by is None:
        by, below = TARGET_VOTES, measured.get("draft only")
        tokens = m.tokens("target", "computed_tokens")
        if not tokens or below is None or row.title.startswith("target only"):
            return None
    if by not in measured or by == row.title:
        return None
    at = consistency_at(measured[by], tokens, below)
    return None if at is None else (m.minus(at), tokens, by if below is None else "the target")


def _drawn(m: Measured) -> str:
    stopped = sum(record.finish == "stopped" for record in m.records)
    words = f"{len(m.drawn) / m.answers:.2f}"
    return f"{words} ({stopped / m.answers:.2f} stopped)" if stopped else words


def _lines() -> str:
    """Lines of the files as they stand, comments and docstrings included."""
    lines = [
        "Of its files as they stand, docstrings and options included; the hooks of a plugin are in "
        "files of their own, or counted where they stand in the same one.",
        "",
        "| method | lines | files |",
        "|---|--:|---|",
    ]
    for method, files in METHODS.items():
        count = sum(len((ROOT / file).read_text().splitlines()) for file in files)
        lines.append(f"| {method} | {count} | {', '.join(f'`{file}`' for file in files)} |")
    return "\n".join(lines)


def _words(title: str, difference: Estimate) -> str:
    return _verdict(title, difference, "takeover at random")


def _verdict(title: str, difference: Estimate, other: str) -> str:
    if difference.low is None or difference.high is None:
        return "one problem only, no interval."
    if difference.low > 0:
        return f"{title} beats {other}."
    if difference.high < 0:
        return f"{title} is worse than {other}."
    return f"{title} does not beat {other}, as far as this n can tell."


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
    taken = [f"| branches of | {' | '.join(branches)} |", "|---|" + "--:|" * len(branches)]
    kept = ["| acceptance of | steps judged | kept | share kept |", "|---|--:|--:|--:|"]
    for row in rows:
        counts, judged = measured[row.title].branches, measured[row.title].judged
        if row.strategy == "speculative-thinking":
            taken.append(f"| {row.title} | {' | '.join(str(counts[b]) for b in branches)} |")
        elif row.strategy == "specreason":
            share = f"{sum(judged) / len(judged):.3f}" if judged else ""
            kept.append(f"| {row.title} | {len(judged)} | {sum(judged)} | {share} |")
    return "\n\n".join("\n".join(table) for table in (taken, kept) if len(table) > 2)


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"
