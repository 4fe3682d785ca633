"""`atts calibrate`: a bank from a task, or from an existing run.

The command line is here; the function that runs a task comes from its evaluation framework, and is
handed to `calibrate_command`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from atts_harness import terminal
from atts_harness.arguments import parse_arguments, parse_object
from atts_harness.conformal.bank import Bank
from atts_harness.conformal.bankfile import write_bank
from atts_harness.conformal.calibrate import bank_from_run, by_turn, too_small
from atts_harness.conformal.pvalues import scores_needed
from atts_harness.errors import SettingError
from atts_harness.framework import CalibrationRun
from atts_harness.hookspecs import Stage

LiveRun = Callable[[CalibrationRun], str]
"""Runs a task to its end in `run_dir`; returns where its questions are from, in words.

Raises SettingError, and what a run raises when it is interrupted; it can then be resumed.
"""


def calibrate_command(app: typer.Typer, live: LiveRun | None = None) -> None:
    """Add `atts calibrate`; without `live` it makes banks from runs only."""

    def calibrate(
        out: Annotated[Path, typer.Argument(help="the bank to write: .json or .npz")],
        from_run: Annotated[
            Path | None, typer.Option(help="take the scores of this run directory; runs nothing")
        ] = None,
        task: Annotated[str | None, typer.Option(help="lm-eval task")] = None,
        model_args: Annotated[
            str, typer.Option(help="settings of the run to calibrate for, as --model_args")
        ] = "",
        split: Annotated[
            str | None, typer.Option(help="another split of the task's data set (train, ...)")
        ] = None,
        questions: Annotated[int | None, typer.Option(min=1, help="at most so many")] = None,
        repeats: Annotated[int | None, typer.Option(min=1, help="samples a question")] = None,
        evaluated: Annotated[
            int | None,
            typer.Option(
                min=1, help="the evaluation takes the first N documents (its --limit): use others"
            ),
        ] = None,
        evaluation_questions: Annotated[
            bool,
            typer.Option(
                "--evaluation-questions", help="calibrate on the evaluation's own questions"
            ),
        ] = False,
        turns: Annotated[
            int | None, typer.Option(min=1, help="score the first N turns; 1: no takeovers")
        ] = None,
        run_dir: Annotated[
            Path | None, typer.Option(help="where the run is kept and resumed; default OUT.run")
        ] = None,
        metadata: Annotated[str, typer.Option(help="as lm-eval's --metadata (JSON)")] = "{}",
        system_instruction: Annotated[str | None, typer.Option(help="as lm-eval's")] = None,
        no_chat_template: Annotated[
            bool, typer.Option("--no-chat-template", help="without lm-eval's chat template")
        ] = False,
        include_path: Annotated[Path | None, typer.Option(help="as lm-eval's")] = None,
        framework: Annotated[
            str | None, typer.Option(help="which framework has the task, where several are there")
        ] = None,
        partial: Annotated[
            bool,
            typer.Option(
                "--partial", help="accept a run that is not finished (leans to short samples)"
            ),
        ] = False,
    ) -> None:
        """Make a bank of scores to rank a run's turns against.

        Takes other questions than the evaluation's by default; an interrupted calibration is
        resumed by the same command.
        """
        _check_suffix(out)
        if from_run is not None:
            bank = bank_from_run(from_run, task, turns=turns, partial=partial)
            _write(bank, out, from_run)
            return
        if live is None or task is None:
            raise SettingError("give --task TASK to run one, or --from-run RUN to use a run")
        folder = run_dir or out.with_name(out.name + ".run")
        request = CalibrationRun(
            task=task,
            run_dir=folder,
            model_args=parse_arguments(model_args, "--model-args"),
            split=split,
            questions=questions,
            evaluated=evaluated,
            evaluation_questions=evaluation_questions,
            metadata=_metadata(metadata, repeats),
            turns=turns,
            system_instruction=system_instruction,
            chat_template=not no_chat_template,
            include_path=include_path,
            framework=framework,
        )
        origin = live(request)
        bank = bank_from_run(
            folder, turns=turns, evaluation_questions=evaluation_questions, split=origin
        )
        _write(bank, out, folder)

    app.command(
        "calibrate",
        rich_help_panel=Stage.PREPARE,
        epilog="Example: atts calibrate bank.json --task atts_chain --questions 100",
    )(calibrate)


def _metadata(text: str, repeats: int | None) -> dict[str, Any]:
    metadata = parse_object(text, "--metadata")
    return metadata if repeats is None else {**metadata, "repeats": repeats}


def _check_suffix(out: Path) -> None:
    if out.suffix not in (".json", ".npz"):
        raise SettingError(f"{out}: a bank is .json or .npz")
    if not out.parent.is_dir():
        raise SettingError(f"{out}: there is no folder {out.parent}")


def _write(bank: Bank, out: Path, run: Path) -> None:
    write_bank(bank, out)
    console = terminal.console()
    rows = by_turn(bank)
    rate = bank.rate or 0.0
    small = {row.turn for row in too_small(rows, rate)}
    table = Table("turn", "scores", "questions", "least rate", "", title=f"bank {out}")
    for row in rows:
        note = f"fewer than {scores_needed(rate)}" if row.turn in small else ""
        counts = (str(row.scores), str(row.questions))
        table.add_row(str(row.turn), *counts, f"{row.least_rate:.4f}", note)
    console.print(table)
    console.print(_cost(run))


def _cost(run: Path) -> Table:
    """The tokens and seconds that the scores took, for calibration is target work, too."""
    from atts_harness.journal.reader import open_run
    from atts_harness.ledger.recorded import ledger_of

    with open_run(run) as recorded:
        ledger = ledger_of(recorded)
    title = f"cost of the run: {ledger.seconds:.1f} s"
    table = Table("calls", "number", "computed tokens", "generated", "scored", title=title)
    for name, account in sorted(ledger.accounts.items()):
        totals = account.totals
        counts = (totals.calls, totals.computed_tokens, totals.completion_tokens)
        table.add_row(name, *map(str, counts), str(totals.scored_tokens))
    return table
