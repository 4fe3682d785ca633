"""`atts import FOLDER`: a published run becomes a run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness.errors import SettingError
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from atts_harness.results.foreign import PublishedFormat
    from atts_harness.results.golds import Documents


def import_command(app: typer.Typer, documents: Documents) -> None:
    """Add `atts import`.

    Args:
        app: the `atts` command.
        documents: from a task's name to its documents, for `--golds TASK`.
    """

    @app.command(
        "import",
        rich_help_panel=Stage.KEEP,
        epilog="Example: atts import results/qwq --out runs/qwq --task math500",
    )
    def import_run(
        folder: Annotated[Path, typer.Argument(help="result folder of a published program")],
        out: Annotated[Path, typer.Option(help="run directory to write")],
        task: Annotated[str, typer.Option(help="what its task is called")] = "published",
        golds: Annotated[
            str | None,
            typer.Option(
                help="right answers: a file of JSON lines with question and answer, or a task"
            ),
        ] = None,
    ) -> None:
        """Turn a published run (ATTS, SpecReason, speculative thinking) into a run directory."""
        from atts_harness import terminal
        from atts_harness.importing.write import write_run

        found = _format_of(folder)
        known = None if golds is None else _golds(golds, documents)
        run = found.read(folder, task)
        made = write_run(run, out, task=task, program=found.name, golds=known)
        console = terminal.console()
        lines = [
            f"{out}: {made.samples} samples of {made.questions} questions, {made.decisions} "
            f"decisions, strategy {run.strategy}",
            *run.notes,
        ]
        if not made.golds:
            lines.append("without right answers it cannot be graded; give --golds to have them")
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _format_of(folder: Path) -> PublishedFormat:
    from atts_harness import plugins
    from atts_harness.discovery import FAULTS

    if not folder.is_dir():
        raise SettingError(f"{folder}: there is no such folder")
    formats = plugins.published_formats()
    for known in formats:
        try:
            if known.recognises(folder):
                return known
        except FAULTS as error:
            plugins.discovery().leave_out(known.name, f"published format {known.name!r}", error)
    shapes = "; ".join(f"{known.name}: {known.shape}" for known in formats)
    raise SettingError(f"{folder}: no published result folder that can be read ({shapes})")


def _golds(where: str, documents: Documents) -> dict[str, str]:
    """Right answers by the words of their question.

    Raises:
        SettingError: neither a file nor a task; two answers for one question.
    """
    from atts_harness.importing.write import question_words
    from atts_harness.results.golds import golds_of, question_text

    path = Path(where)
    rows: Sequence[Mapping[str, Any]] = _rows(path) if path.is_file() else documents(where)
    found: dict[str, str] = {}
    for row in rows:
        text, known = question_text(row), golds_of(row)
        if not text or not known:
            continue
        if found.setdefault(question_words(text), known[0].text) != known[0].text:
            raise SettingError(f"--golds {where}: two answers for the question {text[:60]!r}")
    if not found:
        raise SettingError(
            f"--golds {where}: holds no questions with answers (fields such as question, problem "
            "and answer, gold)"
        )
    return found


def _rows(path: Path) -> list[dict[str, Any]]:
    from atts_harness.files import decode, read_lines

    what = f"--golds {path}"
    return [
        decode(line, dict[str, Any], f"{what}: line {number}")
        for number, line in read_lines(path, what)
    ]
