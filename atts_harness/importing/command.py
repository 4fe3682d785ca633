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

        published_format = _format_of(folder)
        golds_by_question = None if golds is None else _golds(golds, documents)
        run = published_format.read(folder, task)
        result = write_run(
            run, out, task=task, program=published_format.name, golds=golds_by_question
        )
        console = terminal.console()
        lines = [
            f"{out}: {result.samples} samples of {result.questions} questions, {result.decisions} "
            f"decisions, strategy {run.strategy}",
            *run.notes,
        ]
        if not result.golds:
            lines.append("without right answers it cannot be graded; give --golds to have them")
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _format_of(folder: Path) -> PublishedFormat:
    from atts_harness import plugins
    from atts_harness.discovery import FAULTS

    if not folder.is_dir():
        raise SettingError(f"{folder}: there is no such folder")
    formats = plugins.published_formats()
    for candidate in formats:
        try:
            if candidate.recognises(folder):
                return candidate
        except FAULTS as error:
            plugins.discovery().leave_out(
                candidate.name, f"published format {candidate.name!r}", error
            )
    shapes = "; ".join(f"{candidate.name}: {candidate.shape}" for candidate in formats)
    raise SettingError(f"{folder}: no published result folder that can be read ({shapes})")


def _golds(source: str, documents: Documents) -> dict[str, str]:
    """Right answers by the words of the question.

    Raises:
        SettingError: neither a file nor a task; two answers for one question.
    """
    from atts_harness.importing.write import question_words
    from atts_harness.results.golds import golds_of, question_text

    path = Path(source)
    rows: Sequence[Mapping[str, Any]] = _rows(path) if path.is_file() else documents(source)
    by_question: dict[str, str] = {}
    for row in rows:
        text, golds = question_text(row), golds_of(row)
        if not text or not golds:
            continue
        if by_question.setdefault(question_words(text), golds[0].text) != golds[0].text:
            raise SettingError(f"--golds {source}: two answers for the question {text[:60]!r}")
    if not by_question:
        raise SettingError(
            f"--golds {source}: holds no questions with answers (fields such as question, problem "
            "and answer, gold)"
        )
    return by_question


def _rows(path: Path) -> list[dict[str, Any]]:
    from atts_harness.files import decode, read_lines

    label = f"--golds {path}"
    return [
        decode(line, dict[str, Any], f"{label}: line {number}")
        for number, line in read_lines(path, label)
    ]
