"""`atts report RUN_OR_RESULTS...`: the command around `atts_harness.analysis.leaderboard.build`."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness import terminal
from atts_harness.analysis.html import MOST_SAMPLES
from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from atts_harness.analysis.leaderboard.build import Report
    from atts_harness.analysis.leaderboard.rows import Leaderboard
    from atts_harness.ledger.prices import Price
    from atts_harness.results.golds import Documents

WIDTH = 120
FIGURES = "figures"
PAGE_NEEDS = ("jinja2", "matplotlib")


def report_command(app: typer.Typer, documents: Documents | None = None) -> None:
    """Add `atts report`.

    Args:
        app: the `atts` command.
        documents: gives a task's documents by its name; without it a run directory that has no
            sample logs cannot be graded, for it does not hold the golds.
    """

    @app.command(
        "report",
        rich_help_panel=Stage.REPORT,
        epilog="Example: atts report runs --figures pareto,rate --cite",
    )
    def report(
        paths: Annotated[
            list[Path],
            typer.Argument(help="run directories, lm-eval results, or folders with any of them"),
        ],
        out: Annotated[Path, typer.Option(help="folder of the report's files")] = Path("report"),
        force: Annotated[
            bool,
            typer.Option(
                "--force",
                help="also rank rows that cannot be compared and unfinished runs, with a mark",
            ),
        ] = False,
        prices: Annotated[
            list[str] | None,
            typer.Option(help="dollars per million tokens, ROLE=IN/OUT or ROLE=IN/CACHED/OUT"),
        ] = None,
        parameters: Annotated[
            list[str] | None,
            typer.Option(help="parameters for FLOPs where no weights are here: target=32B"),
        ] = None,
        level: Annotated[float, typer.Option(help="confidence of the intervals")] = 0.95,
        reference: Annotated[
            str | None,
            typer.Option(help="row that all others are compared with: strategy, label or id"),
        ] = None,
        margin: Annotated[
            float, typer.Option(help="pass@1 that may be lost and still count as no worse")
        ] = 0.02,
        html: Annotated[bool, typer.Option(help="write report.html too")] = True,
        figures: Annotated[
            str | None,
            typer.Option(
                help="write figures of the page to OUT/figures, as PDF, SVG and PNG: all, or names "
                "such as pareto,rate"
            ),
        ] = None,
        title: Annotated[str, typer.Option(help="heading of report.html")] = "",
        cite: Annotated[
            bool,
            typer.Option("--cite", help="BibTeX of methods and data sets, here and in OUT"),
        ] = False,
        samples: Annotated[
            int,
            typer.Option(
                "--page-samples", min=0, help="samples whose texts are in report.html, at most"
            ),
        ] = MOST_SAMPLES,
    ) -> None:
        """Make a leaderboard of runs: tables here; Markdown, CSV, LaTeX, JSON and a page in OUT."""
        from atts_harness.analysis.leaderboard import build as leaderboard
        from atts_harness.analysis.leaderboard.comparisons import named
        from atts_harness.analysis.leaderboard.flops import parse_parameters
        from atts_harness.analysis.leaderboard.outputs.terminal import render
        from atts_harness.analysis.leaderboard.sources import Options

        if not 0 < level < 1:
            raise SettingError(f"--level {level}: must lie between 0 and 1, such as 0.95")
        if not 0 < margin < 1:
            raise SettingError(f"--margin {margin:g}: must lie between 0 and 1, such as 0.02")
        names = [name.strip() for name in (figures or "").split(",") if name.strip()]
        if figures is not None:
            check_page()
            check_figures(names)
        options = Options(
            level=level,
            force=force,
            prices=parse_prices(prices or ()),
            parameters=parse_parameters(parameters or ()),
            documents=documents,
            margin=margin,
            reference=reference,
        )
        result = leaderboard.report(paths, options)
        board = result.leaderboard
        if not board.rows:
            raise SettingError(nothing(board))
        if reference is not None and not named(board.rows, reference):
            have = ", ".join(dict.fromkeys(row.label for row in board.rows))
            raise SettingError(f"--reference {reference}: no such row; there are: {have}")
        console = terminal.console()
        if not console.is_terminal:
            console = terminal.console(width=WIDTH)
        console.print(render(board), highlight=False)
        written = write(result, out, html=html, figures=names, samples=samples, title=title)
        if cite:
            written.append(write_references(board, out, console))
        drawn = [path for path in written if path.parent == out / FIGURES]
        files = [str(path) for path in written if path not in drawn]
        figure_lines = [f"{len(drawn)} files of figures in {out / FIGURES}"] if drawn else []
        if names and not drawn:
            console.print(f"--figures {figures}: the rows have nothing to draw there")
        console.print(
            f"written: {', '.join(files + figure_lines)}", highlight=False, soft_wrap=True
        )


def write(
    report: Report,
    out: Path,
    *,
    html: bool = True,
    figures: Sequence[str] = (),
    samples: int = MOST_SAMPLES,
    title: str = "",
) -> list[Path]:
    """Write a report's files.

    Args:
        report: the report.
        out: their folder; made if it is not there.
        html: write `report.html` too.
        figures: names of figures of the page to write as files, too; by default none.
        samples: samples whose texts are in the page, at most.
        title: of the page; "": a general one.

    Returns:
        The paths.

    Raises:
        SettingError: the folder cannot be written, or a package for the page is not installed;
            the other files are then written.
    """
    from atts_harness.analysis.leaderboard.outputs.csv_file import csv_text
    from atts_harness.analysis.leaderboard.outputs.json_file import write_json
    from atts_harness.analysis.leaderboard.outputs.latex import latex
    from atts_harness.analysis.leaderboard.outputs.markdown import markdown

    leaderboard = report.leaderboard
    paths = {name: out / f"leaderboard.{name}" for name in ("md", "csv", "tex", "json")}
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths["md"].write_text(markdown(leaderboard), encoding="utf-8")
        paths["csv"].write_text(csv_text(leaderboard), encoding="utf-8")
        paths["tex"].write_text(latex(leaderboard, report.samples), encoding="utf-8")
        write_json(leaderboard, paths["json"])
    except OSError as error:
        raise SettingError(f"--out {out}: cannot be written: {error.strerror}") from error
    written = list(paths.values())
    if html or figures:
        check_page()
        from atts_harness.analysis.html.page import PageOptions, write_page

        page, options = out / "report.html", PageOptions(most_samples=samples)
        if title:
            options = replace(options, title=title)
        folder = out / FIGURES if figures else None
        written += write_page(
            leaderboard, report.samples, page, figures_dir=folder, figures=figures, options=options
        )
    return written


def write_references(leaderboard: Leaderboard, out: Path, console: Console) -> Path:
    """Print the references that a report should cite, and write them to `references.bib`.

    Raises:
        SettingError: the file cannot be written, or a package's references cannot be read.
    """
    from atts_harness.references import bibtex, references_for

    rows = [row for row in leaderboard.rows if not row.oracle]
    inner = [str(row.options["inner"]) for row in rows if "inner" in row.options]
    text = bibtex(
        references_for([*(row.strategy for row in rows), *inner], [row.task for row in rows])
    )
    console.print(text, highlight=False, soft_wrap=True)
    path = out / "references.bib"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--out {out}: cannot be written: {error.strerror}") from error
    return path


def check_figures(names: Sequence[str]) -> None:
    """Refuse names of figures that do not exist, and an empty list.

    Raises:
        SettingError: names the figures that exist.
    """
    from atts_harness.analysis.html.figures import ALL, NAMES, check_names

    if not names:
        raise SettingError(f"--figures: give {ALL}, or names of {', '.join(NAMES)}")
    check_names(names)


def check_page() -> None:
    """Look for the packages that draw the page.

    Raises:
        MissingExtraError: one is not installed.
    """
    lacking = [name for name in PAGE_NEEDS if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingExtraError("report.html (--no-html leaves it out)", "report", lacking[0])


def parse_prices(texts: list[str] | tuple[str, ...]) -> dict[str, Price]:
    """Prices by role, from texts such as `draft=0.1/0.4`.

    Raises:
        SettingError: not of this form.
    """
    from atts_harness.ledger.prices import parse_price

    by_role: dict[str, Price] = {}
    for text in (part.strip() for whole in texts for part in whole.split(",") if part.strip()):
        role, equals, price = text.partition("=")
        if not equals or role not in ("draft", "target", "extractor"):
            raise SettingError(
                f"--prices {text!r}: expected draft=IN/OUT or target=IN/OUT in dollars per million "
                "tokens, such as target=1/4"
            )
        by_role[role] = parse_price(f"--prices {role}", price)
    return by_role


def nothing(leaderboard: Leaderboard) -> str:
    """A message for a report without rows: one line for each input, with the reason."""
    reasons = "\n".join(f"  {refusal.path}: {refusal.reason}" for refusal in leaderboard.refused)
    return f"nothing to report:\n{reasons}"
