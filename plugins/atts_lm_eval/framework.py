"""lm-eval as `atts compare`, `calibrate`, `report` and `regrade` see it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.arguments import format_arguments
from atts_harness.errors import RunDirError, SettingError
from atts_harness.framework import (
    CalibrationRun,
    Evaluation,
    EvaluationOutcome,
    ProbeFigures,
    Question,
    TaskSize,
)
from atts_harness.results import plain_json

# The figures that stand for a task, best first; each is followed by the name of a filter.
HEADLINES = ("vote", "pass@1", "exact_match", "acc", "acc_norm", "f1")


class _Results(msgspec.Struct):
    results: dict[str, dict[str, Any]]


class LmEval:
    """An `atts_harness.framework.EvalFramework`; imports lm-eval when it is asked for tasks."""

    name = "lm-eval"
    packages = ("lm-eval",)

    def tasks(self, names: Sequence[str], include_path: str | None) -> Collection[str]:
        """Names of tasks; lm-eval's own are included only if one of `names` is not ours."""
        from atts_lm_eval import upstream

        of_plugins = upstream.tasks_of_plugins(include_path)
        if of_plugins.issuperset(names):
            return of_plugins
        return set(upstream.task_manager(names, include_path).all_tasks)

    def sizes(self, evaluation: Evaluation) -> list[TaskSize]:
        """By the task's own documents and configuration; may fetch its data."""
        from atts_lm_eval import bridge, upstream

        bridge.install()
        name = evaluation.task
        manager = upstream.task_manager([name], evaluation.include_path, evaluation.metadata)
        return [
            TaskSize(
                documents=len(task.eval_docs),
                repeats=int(task.config.repeats or 1),
                generation=dict(task.config.generation_kwargs or {}),
            )
            for task in manager.load(name)["tasks"].values()
        ]

    def command(self, evaluation: Evaluation, folder: Path) -> list[str]:
        """`atts lm-eval`, which is lm-eval's own command and needs no start-up code."""
        args = {**evaluation.settings, "run_dir": str(folder)}
        command = ["lm-eval", "--model", evaluation.strategy]
        command += ["--model_args", format_arguments(args), "--tasks", evaluation.task]
        if evaluation.apply_chat_template:
            command.append("--apply_chat_template")
        if evaluation.system_instruction is not None:
            command += ["--system_instruction", evaluation.system_instruction]
        if evaluation.include_path is not None:
            command += ["--include_path", evaluation.include_path]
        if evaluation.limit is not None:
            command += ["--limit", str(evaluation.limit)]
        if evaluation.num_fewshot is not None:
            command += ["--num_fewshot", str(evaluation.num_fewshot)]
        if evaluation.metadata:
            command += ["--metadata", format_arguments(evaluation.metadata)]
        # With a file's name lm-eval makes up no folder of its own.
        return [*command, "--output_path", str(folder / "results.json"), "--log_samples"]

    def outcome(self, folder: Path) -> EvaluationOutcome | None:
        """The newest results file that lm-eval wrote, and its main figure."""
        files = sorted(folder.glob("results_*.json"), key=lambda path: path.stat().st_mtime)
        return headline(files[-1]) if files else None

    def probe(self, evaluation: Evaluation, samples: int) -> ProbeFigures:
        """Run it by `simple_evaluate`."""
        from atts_lm_eval.probe import probe

        return probe(evaluation, samples)

    def calibrate(self, run: CalibrationRun) -> str:
        """Run it by `simple_evaluate`."""
        from atts_lm_eval.calibrate import run_task

        return run_task(run)

    def documents(
        self,
        task: str,
        system_instruction: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """Those of the installed plugins' tasks and of lm-eval's own."""
        from atts_lm_eval.documents import of_task

        return of_task(task, system_instruction, metadata)

    def questions(self, evaluation: Evaluation) -> Sequence[Question]:
        """Those of one of the installed plugins' tasks, or of lm-eval's own."""
        from atts_lm_eval.documents import questions_of

        return questions_of(evaluation)


def headline(results: Path) -> EvaluationOutcome:
    """The main figure of a results file.

    Raises:
        RunDirError: it cannot be read.
    """
    try:
        file = msgspec.convert(plain_json.read(results, "a results file of lm-eval"), _Results)
    except (SettingError, msgspec.ValidationError) as error:
        raise RunDirError(f"{results}: cannot be read: {error}") from error
    for metric in HEADLINES:
        values = [
            value
            for figures in file.results.values()
            for name, figure in figures.items()
            if name.partition(",")[0] == metric and (value := plain_json.number(figure)) is not None
        ]
        if values:
            return EvaluationOutcome(results, metric, sum(values) / len(values))
    return EvaluationOutcome(results)
