"""The columns of the leaderboard. Each is defined once here, and every output uses them.

A column knows its figure, how it is written and what it is called. Terminal, Markdown and the page
show what it writes, CSV its figure, and `key` is where `leaderboard.json` has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Literal

from atts_harness.analysis.leaderboard import numbers
from atts_harness.analysis.leaderboard.column import Column, Value, Visibility, stands
from atts_harness.analysis.leaderboard.columns_of_time import times
from atts_harness.analysis.leaderboard.numbers import UNKNOWN
from atts_harness.analysis.leaderboard.rows import Interval, Row

ACCURACY, TAKEOVER, TOKENS = "accuracy", "takeover", "tokens a sample"
COMPUTE, CALLS, SETUP = "compute", "calls a sample", "set-up"


PAIR = Column(
    "pair.name",
    "pair",
    "pair",
    ACCURACY,
    lambda row: row.pair.name,
    text="differs",
    page="never",
    words=True,
)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """Every column of a leaderboard's rows, whether they have a figure for it or not."""
    return [
        PAIR,
        *_accuracy(rows),
        *_samples(),
        *_takeover(),
        *_tokens(),
        *_compute(rows),
        *times(),
        *_calls(rows),
        *_setup(),
    ]


def shown_columns(rows: Sequence[Row], output: Literal["text", "page"]) -> list[Column]:
    """The columns that a table shows. Groups for which no row has a figure are left out.

    Args:
        rows: of the table.
        output: in which kind of output.
    """
    every = columns_of(rows)
    filled = {
        column.group for column in every if any(column.value(row) is not None for row in rows)
    }
    return [
        column
        for column in every
        if column.group in filled
        and stands(column.text if output == "text" else column.page, column, rows)
    ]


def _accuracy(rows: Sequence[Row]) -> Iterator[Column]:
    yield Column(
        "vote.value",
        "vote",
        "vote",
        ACCURACY,
        lambda row: _of(row.vote),
        numbers.share,
        interval=lambda row: row.vote,
        about="share of questions whose vote is right, ties split, with its interval; what the row "
        "is ranked and compared by. Its tokens, calls and seconds are a problem's",
        text="some",
        page="some",
    )
    for name in ("pass", "maj"):
        by_k = attrgetter(f"{name}_at")
        ks = sorted({int(k) for row in rows for k in by_k(row)})
        common = _common([set(by_k(row)) for row in rows if by_k(row)])
        for k in map(str, ks):
            is_pass_at_1 = name == "pass" and k == "1"
            show: Visibility = "always" if is_pass_at_1 or k == common else "never"
            yield Column(
                f"{name}_at.{k}.value",
                f"{name}@{k}",
                f"{name}@{k}",
                ACCURACY,
                lambda row, k=k, of=by_k: _of(of(row).get(k)),  # type: ignore[misc]
                numbers.share,
                interval=lambda row, k=k, of=by_k: of(row).get(k),  # type: ignore[misc]
                about="mean over questions, with its question-clustered interval; of a task that "
                "grades itself its own metric"
                if is_pass_at_1
                else f"chance that one of {k} samples is right"
                if name == "pass"
                else f"chance that the vote of {k} samples is right",
                text=show,
                page=show,
            )


def _samples() -> list[Column]:
    def of(key: str, about: str, text: Visibility, page: Visibility = "extra") -> Column:
        return Column(
            key,
            key,
            key,
            ACCURACY,
            lambda row: getattr(row, key),
            numbers.count,
            about=about,
            text=text,
            page=page,
        )

    return [
        of("problems", "questions", "differs"),
        of("repeats", "samples a question", "differs"),
        of("samples", "samples in all, missing ones included", "never", "never"),
        of("drawn", "samples that the vote drew, a question", "some", "some"),
        of("stopped", "samples that the vote gave up: neither wrong nor failed", "some", "some"),
        of("not_drawn", "samples that the vote did not need", "never"),
        of("invalid", "ended and gave no answer", "always"),
        of("truncated", "ended because turns, budget or context ran out", "always"),
        of("failed", "failed for good; counted as wrong", "always"),
        of("undecided", "answers that no rule of the grader covers; counted as wrong", "some"),
        of("missing", "missing from the run; counted as wrong", "some", "some"),
    ]


def _takeover() -> list[Column]:
    def of(
        key: str,
        csv: str,
        title: str,
        value: Callable[[Row], float | None],
        about: str,
        show: Visibility = "always",
        page: Visibility | None = None,
        interval: Callable[[Row], Interval | None] | None = None,
    ) -> Column:
        return Column(
            f"takeover.{key}",
            csv,
            title,
            TAKEOVER,
            value,
            numbers.share,
            interval=interval,
            about=about,
            text=show,
            page=page or show,
        )

    def realised(row: Row) -> Interval | None:
        return row.takeover.realised if row.takeover else None

    return [
        of(
            "nominal",
            "takeover_nominal",
            "nominal",
            lambda row: row.takeover.nominal if row.takeover else None,
            "the rate in the settings",
        ),
        of(
            "realised.value",
            "takeover_realised",
            "realised",
            lambda row: _of(realised(row)),
            "takeovers among judged turns",
            interval=realised,
        ),
        of(
            "taken_over",
            "takeover_all_turns",
            "of all turns",
            lambda row: row.takeover.taken_over if row.takeover else None,
            "takeovers, judged or not, among all turns with a decision",
        ),
        of(
            "shares.score-failed",
            "score_failed",
            "score failed",
            lambda row: row.takeover.shares.get("score-failed") if row.takeover else None,
            "share of turns that the target took over because their score failed",
            page="some",
        ),
        of(
            "shares.empty-draft",
            "empty_draft",
            "empty draft",
            lambda row: row.takeover.shares.get("empty-draft") if row.takeover else None,
            "share of turns that the target took over because the draft wrote nothing",
            page="some",
        ),
        of(
            "unjudged",
            "not_judged",
            "not judged",
            lambda row: row.takeover.unjudged if row.takeover else None,
            "share of turns that nobody judged: failed scores, empty drafts and any other",
            "some",
        ),
    ]


def _tokens() -> list[Column]:
    def of(key: str, title: str, about: str, show: Visibility = "always") -> Column:
        return Column(
            f"tokens.{key}",
            f"{key}_tokens",
            title,
            TOKENS,
            lambda row: getattr(row.tokens, key),
            numbers.mean,
            about=about,
            text=show,
            page=show,
        )

    return [
        of(
            "target_computed",
            "target computed",
            "tokens the target ran a forward pass for: uncached context, scored, written",
        ),
        of("target_written", "target written", "tokens the target generated"),
        of("draft_computed", "draft computed", "tokens the draft ran a forward pass for"),
        of("draft_written", "draft written", "tokens the draft generated, kept or not"),
        of("kept", "kept", "tokens that count against the budget", "never"),
    ]


def _compute(rows: Sequence[Row]) -> Iterator[Column]:
    yield Column(
        "flops.total",
        "flops_estimate",
        "FLOPs",
        COMPUTE,
        lambda row: row.flops.total if row.flops else None,
        numbers.short,
        _flops,
        about="floating-point operations a sample: an estimate, 2 x parameters x tokens",
    )
    for role in sorted({role for row in rows for role in row.accepted}):
        yield Column(
            f"accepted.{role}",
            f"accepted_{role.replace(' ', '_')}",
            f"{role} accepted",
            COMPUTE,
            lambda row, role=role: row.accepted.get(role),  # type: ignore[misc]
            numbers.share,
            about="share of the tokens proposed by the engine's own speculative decoding that "
            "became text",
            text="some",
            page="some",
        )
    yield Column(
        "dollars",
        "dollars",
        "$ in all",
        COMPUTE,
        lambda row: sum(row.dollars.values()) if row.dollars else None,
        lambda value: f"{value:.4g}",
        about="dollars of all samples, by the prices given",
        text="some",
        page="some",
    )
    for engine in sorted({engine for row in rows for engine in row.peak_kv}):
        yield Column(
            f"peak_kv.{engine}",
            f"peak_kv_{engine}",
            f"peak KV {engine}",
            COMPUTE,
            lambda row, engine=engine: row.peak_kv.get(engine),  # type: ignore[misc]
            lambda value: f"{value:.0%}",
            about="largest share of the KV cache in use that was seen",
        )


def _calls(rows: Sequence[Row]) -> Iterator[Column]:
    yield Column(
        "turns",
        "turns",
        "turns",
        CALLS,
        lambda row: row.turns,
        lambda value: f"{value:.1f}",
        about="mean turns or steps a sample",
        page="extra",
    )
    for kind in dict.fromkeys(kind for row in rows for kind in row.calls):
        yield Column(
            f"calls.{kind}.per_sample",
            f"calls_{kind.replace('/', '_')}",
            kind,
            CALLS,
            lambda row, kind=kind: _calls_of(row, kind),  # type: ignore[misc]
            cell=lambda row, kind=kind: _calls_cell(row, kind),  # type: ignore[misc]
            page="extra",
        )


def _setup() -> list[Column]:
    def of(key: str, csv: str, value: Callable[[Row], Value], show: Visibility = "never") -> Column:
        return Column(key, csv, csv.replace("_", " "), SETUP, value, text="never", page=show)

    return [
        of("pair.draft", "draft", lambda row: row.pair.draft, "extra"),
        of("pair.target", "target", lambda row: row.pair.target, "extra"),
        Column(
            "calibration.source",
            "calibration",
            "calibration",
            SETUP,
            lambda row: row.calibration.source if row.calibration else None,
            about="where the scores to rank against come from; only those of a file cost calls",
            page="extra",
        ),
        *(
            Column(
                f"calibration.{key}",
                f"calibration_{key}",
                f"calibration {key.replace('_', ' ')}",
                SETUP,
                lambda row, key=key: getattr(row.calibration, key, None),  # type: ignore[misc]
                numbers.count,
                about="of the run that the bank was made from, in all",
                text="some",
                page="some",
            )
            for key in ("target_tokens", "draft_tokens", "seconds")
        ),
        of("metric", "metric", lambda row: row.metric, "some"),
        of("conditions.version", "task_version", lambda row: row.conditions.version),
        of("conditions.budget", "budget", lambda row: row.conditions.budget),
        of("source.seed", "seed", lambda row: row.source.seed),
        of("source.run_dir", "run_dir", lambda row: row.source.run_dir),
        of("source.results", "results", lambda row: row.source.results),
    ]


def _common(sizes: Sequence[set[str]]) -> str:
    """The largest k above 1 that all rows with any have; "" if there is none."""
    shared = set.intersection(*sizes) if sizes else set()
    return max(shared - {"1"}, key=int, default="")


def _of(interval: Interval | None) -> float | None:
    return None if interval is None else interval.value


def _calls_of(row: Row, kind: str) -> float | None:
    return row.calls[kind].per_sample if kind in row.calls else None


def _calls_cell(row: Row, kind: str) -> str:
    if kind in row.calls:
        return f"{row.calls[kind].per_sample:.2f}"
    return "0" if row.calls else UNKNOWN  # a kind that a row never called is known


def _flops(row: Row) -> str:
    if row.flops is None:
        return UNKNOWN
    if row.flops.total is not None:
        return numbers.short(row.flops.total)
    return ", ".join(f"{role} {numbers.short(n)}" for role, n in row.flops.by_role.items())
