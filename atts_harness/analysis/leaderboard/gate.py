"""`atts gate RUN... --against ROW`: is a row no worse than another by more than a margin?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atts_harness.errors import SettingError
from atts_harness.hookspecs import Stage
from atts_harness.neutral import plain

if TYPE_CHECKING:
    from atts_harness.analysis.leaderboard.rows import Comparison, Leaderboard
    from atts_harness.results.golds import Documents

Word = Literal["GO", "NO-GO", "INCONCLUSIVE"]

STATUS: dict[Word, int] = {"GO": 0, "NO-GO": 1, "INCONCLUSIVE": 4}
"""Exit status by decision; what cannot be decided at all is 2."""


WORDS: dict[str, Word] = {"no worse": "GO", "worse": "NO-GO", "inconclusive": "INCONCLUSIVE"}


class GateError(SettingError):
    """There is nothing to decide on. Its exit status is not that of any decision."""

    exit_status = 2


def gate_command(app: typer.Typer, documents: Documents | None = None) -> None:
    """Add `atts gate`.

    Args:
        app: the `atts` command.
        documents: from a task's name to its documents, as for `atts report`.
    """

    @app.command(
        "gate",
        rich_help_panel=Stage.REPORT,
        epilog="Example: atts gate runs --against target-only --margin 0.05",
    )
    def gate(
        paths: Annotated[
            list[Path],
            typer.Argument(help="run directories, lm-eval results, or folders with any of them"),
        ],
        against: Annotated[
            str, typer.Option(help="row to hold the others against: strategy, label or id")
        ],
        margin: Annotated[
            float, typer.Option(help="pass@1 that may be lost, between 0 and 1")
        ] = 0.02,
        level: Annotated[
            float, typer.Option(help="chance, at least, that no decision of a table is wrong")
        ] = 0.95,
    ) -> None:
        """Decide GO (status 0), NO-GO (1) or INCONCLUSIVE (4) on rows against one of them.

        GO: no row is worse by more than the margin. NO-GO: some row is. INCONCLUSIVE: the problems
        do not tell. Status 2: there is nothing to decide on.
        """
        from atts_harness.analysis.leaderboard.build import report
        from atts_harness.analysis.leaderboard.sources import Options

        if not 0 < margin < 1:
            raise GateError(f"--margin {margin:g}: must lie between 0 and 1, such as 0.02")
        if not 0.5 < level < 1:
            raise GateError(f"--level {level:g}: must lie between 0.5 and 1, such as 0.95")
        options = Options(level=level, documents=documents, margin=margin, reference=against)
        leaderboard = report(paths, options).leaderboard
        words = []
        comparisons = compared(leaderboard, against)
        # A run that was named and is not there may be the one that is worse.
        if missed := [refusal for refusal in leaderboard.refused if Path(refusal.path) in paths]:
            raise GateError("; ".join(f"{refusal.path}: {refusal.reason}" for refusal in missed))
        for comparison in comparisons:
            word, text = decided(leaderboard, comparison)
            words.append(word)
            typer.echo(plain(text))
        for refusal in leaderboard.refused:
            typer.echo(plain(f"left out: {refusal.path}: {refusal.reason}"), err=True)
        raise typer.Exit(STATUS[overall(words)])


def compared(leaderboard: Leaderboard, against: str) -> list[Comparison]:
    """The comparisons to decide on.

    Raises:
        GateError: no row of this name, no other row beside it, or no problem in common.
    """
    from atts_harness.analysis.leaderboard.comparisons import named

    rows = [row for row in leaderboard.rows if not row.oracle]
    if not rows:
        reasons = "; ".join(f"{r.path}: {r.reason}" for r in leaderboard.refused)
        raise GateError(f"no row to decide on: {reasons or 'nothing was found'}")
    if not named(rows, against):
        have = ", ".join(dict.fromkeys(row.label for row in rows))
        raise GateError(f"--against {against}: no such row; there are: {have}")
    if len(rows) == 1:
        raise GateError(f"--against {against}: there is no other row to decide on")
    comparisons = [comparison for table in leaderboard.tables for comparison in table.comparisons]
    in_comparisons = {comparison.row for comparison in comparisons} | {
        comparison.reference for comparison in comparisons
    }
    if absent := [row.label for row in rows if row.id not in in_comparisons]:
        raise GateError(
            f"--against {against}: no problem in common, or other conditions, with "
            f"{', '.join(absent)}; `atts report` on the same runs says what differs"
        )
    if alone := next(
        (comparison for comparison in comparisons if comparison.no_worse is None), None
    ):
        raise GateError(f"{leaderboard.row(alone.row).label}: one problem in common is too few")
    return comparisons


def decided(leaderboard: Leaderboard, comparison: Comparison) -> tuple[Word, str]:
    """A decision and the line that says it, with the interval that it used."""
    no_worse = comparison.no_worse
    if no_worse is None:
        raise GateError("one problem in common is too few")
    word = WORDS[no_worse.outcome]
    side = 100 * no_worse.confidence
    row, reference = leaderboard.row(comparison.row), leaderboard.row(comparison.reference)
    return word, (
        f"{word}: {row.label} against {reference.label}: {no_worse.words}; "
        f"difference {comparison.difference.value:+.3f}, bounds {no_worse.low:+.3f} and "
        f"{no_worse.high:+.3f} ({side:.4g} % each), margin {no_worse.margin:g}, "
        f"{comparison.problems} problems and {comparison.samples} samples in common, "
        f"power {no_worse.power:.2f} if equally good"
    )


def overall(words: Sequence[Word]) -> Word:
    """One decision of several: NO-GO if any is, else INCONCLUSIVE if any is."""
    if "NO-GO" in words:
        return "NO-GO"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in words else "GO"
