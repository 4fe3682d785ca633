"""`atts regrade`: the command around `atts_harness.analysis.regrade.regrade`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from atts_harness import terminal
from atts_harness.errors import SettingError
from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from atts_harness.analysis.regrade.regrade import TaskGrades
    from atts_harness.judging.calls import JudgeCalls

_MOST_NAMED = 10


def regrade_command(
    app: typer.Typer, documents: Callable[..., Sequence[Mapping[str, Any]]] | None = None
) -> None:
    """Add `atts regrade`.

    Args:
        app: the `atts` command.
        documents: a function that returns a task's documents
            (`atts_harness.results.golds.Documents`). Its arguments are the task's name, and the
            run's `system_instruction` and `metadata`. Without it a run directory without sample
            logs cannot be graded, because only the documents have the golds.
    """

    @app.command(
        "regrade",
        rich_help_panel=Stage.REPORT,
        epilog="Example: atts regrade runs/first --extractor last_expression",
    )
    def regrade(
        run: Annotated[Path, typer.Argument(help="run directory, sample logs, or traces")],
        extractor: Annotated[
            str, typer.Option(help="the extractor that counts: boxed, last_expression, regex, llm")
        ] = "boxed",
        judge: Annotated[
            str | None, typer.Option(help="a model that judges every answer, beside the grader")
        ] = None,
        repeats: Annotated[int | None, typer.Option(help="samples a question should have")] = None,
        system_instruction: Annotated[
            str | None,
            typer.Option(help="as the run had it; for a run directory without sample logs"),
        ] = None,
        metadata: Annotated[
            str, typer.Option(help="as the run had it (JSON); for a run directory likewise")
        ] = "{}",
        out: Annotated[
            Path | None, typer.Option(help="where results go; default: beside the run")
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="call no model and write nothing")
        ] = False,
    ) -> None:
        """Grade a saved run again without generating; original answers stay."""
        from atts_harness.analysis.regrade import regrade as logic
        from atts_harness.grading.extraction import LLM
        from atts_harness.results.find import saved_tasks

        documents_of_run = None
        if documents is not None:
            arguments = {"system_instruction": system_instruction, "metadata": _object(metadata)}
            documents_of_run = partial(documents, **arguments)
        tasks, broken = logic.readable(saved_tasks(run, documents_of_run))
        folder = out or (run if run.is_dir() else run.parent)
        console = terminal.console()
        for task, error in broken:
            console.print(f"left out: {task}: {error}")
        needed = logic.calls_needed(tasks, extractor)
        if dry_run:
            if needed or judge:
                judged = sum(len(q.samples) for task in tasks for q in task) if judge else 0
                console.print(
                    f"dry run: {needed} calls to extract and at most {judged} to judge would "
                    "be made"
                )
            if extractor == LLM and needed:
                return
        else:
            _check_folder(folder)
        asks = (needed > 0 and not dry_run, judge is not None and not dry_run)
        calls = _calls(None, folder / "llm-extractions.jsonl") if asks[0] else None
        judging = _calls(judge, folder / f"judged-{_plain(judge)}.jsonl") if asks[1] else None
        means = logic.Means(extractor, repeats, calls, judging)
        results = logic.regrade(tasks, means)
        for result in results:
            _show(console, result)
        for purpose, judge_calls in (("extraction", calls), ("judge", judging)):
            if judge_calls is not None:
                console.print(f"{purpose}: {judge_calls.words()}", markup=False)
        if not dry_run:
            head, body = logic.write(results, folder)
            console.print(f"written: {head} and {body.name}")
        if broken:
            raise typer.Exit(1)


def _check_folder(folder: Path) -> None:
    """Make the results' folder before any call is paid for.

    Raises:
        SettingError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingError(
            f"--out: {folder} cannot be written ({error.strerror}); give another folder"
        ) from error


def _calls(model: str | None, file: Path) -> JudgeCalls:
    from atts_harness.judging.calls import JudgeCalls
    from atts_harness.judging.llm import ask, endpoint

    server = endpoint()
    client = server.client()
    name = model or server.model
    return JudgeCalls(lambda request: ask(client, name, request), file, name)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingError(f"--metadata: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise SettingError("--metadata: must be a JSON object")
    return value


def _plain(name: str | None) -> str:
    return "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in name or "")


def _show(console: Console, result: TaskGrades) -> None:
    if result.ungraded:
        console.print(
            f"{result.task}: {len(result.questions)} questions are not graded: {result.ungraded}",
            markup=False,
        )
        return
    samples = sum(len(grades) for grades in result.grades)
    title = f"{result.task}: {len(result.questions)} questions, {samples} samples"
    table = Table(title=f"{title}, extractor {result.extractor}")
    for name in ("figure", "value", "stderr", "95 % interval", "samples"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for name, figure in result.figures.items():
        table.add_row(name, *_cells(figure), "")
    table.add_section()
    for name, figure in result.extractors.items():
        table.add_row(f"pass@1 by {name}", *_cells(figure), f"{figure['samples']:.0f}")
    console.print(table)
    if result.judged is not None:
        console.print(
            "judge: right {right:.4f}, differs from the grader {differs:.4f}, unknown "
            "{unknown:.4f}".format(**result.judged)
        )
    if result.missing:
        named = ", ".join(f"{key}/{repeat}" for key, repeat in result.missing[:_MOST_NAMED])
        unnamed = len(result.missing) - _MOST_NAMED
        console.print(
            f"{len(result.missing)} samples are missing and count as wrong: {named}"
            + (f" and {unnamed} more" if unnamed > 0 else "")
        )


def _cells(figure: dict[str, float | None]) -> tuple[str, str, str]:
    value, stderr, low, high = (figure[key] for key in ("value", "stderr", "low", "high"))
    if value is None:
        return "", "", ""
    if stderr is None or low is None or high is None:
        return f"{value:.4f}", "", ""
    return f"{value:.4f}", f"{stderr:.4f}", f"[{low:.4f}, {high:.4f}]"
