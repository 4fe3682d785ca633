"""Runs an lm-eval task for its scores: what `atts calibrate` needs lm-eval for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atts_harness import neutral
from atts_harness.errors import SettingError
from atts_harness.framework import CalibrationRun
from atts_lm_eval import bridge, upstream

log = neutral.logger("lm_eval.atts")

# The scores have to come from the run that will use them, less its bank; online calibration takes
# over at the nominal rate from the start, which later turns' scores depend on.
ONLINE = {
    "strategy": "atts",
    "calibration": "online",
    "coverage": "turn",
    "control": "fixed",
    "rule": "pvalue",
    "pvalue": "pooled",
}


def run_task(request: CalibrationRun) -> str:
    """Run a task on calibration questions, all of it recorded in the run directory.

    Returns:
        Where the questions are from, in words.

    Raises:
        SettingError: no such task, or it has no other questions than the evaluation's.
    """
    bridge.install()
    from atts_lm_eval.model import model_class

    task = _load(request, overridden=True)
    documents, origin = _documents(request, task)
    model = model_class("atts")(**_model_args(request))
    try:
        upstream.evaluate(
            model,
            task,
            samples={request.task: documents},
            apply_chat_template=request.chat_template,
            system_instruction=request.system_instruction,
        )
    finally:
        model.close()
    return origin


def _load(request: CalibrationRun, *, overridden: bool) -> Any:
    """The task: as the calibration has it, or as an evaluation has it by default."""
    path = None if request.include_path is None else str(request.include_path)
    metadata = request.metadata if overridden else {}
    manager = upstream.task_manager([request.task], path, metadata)
    if request.task not in manager.all_subtasks:
        raise SettingError(f"--task {request.task}: no such task; `lm_eval ls tasks` lists them")
    (task,) = manager.load(request.task)["tasks"].values()
    if overridden and request.split is not None:
        if request.split not in task.dataset:
            splits = ", ".join(task.dataset)
            raise SettingError(f"--split {request.split}: {request.task} has {splits}")
        task.config.test_split = request.split
    return task


def _documents(request: CalibrationRun, task: Any) -> tuple[list[int], str]:
    """Numbers of the documents to run, and where they are from."""
    questions = [task.doc_to_text(doc) for doc in task.eval_docs]
    if request.evaluation_questions:
        numbers = list(range(len(questions)))[: request.evaluated]
        origin = "the evaluation's questions"
    else:
        judged = _load(request, overridden=False)
        evaluated = {
            str(judged.doc_to_text(doc)) for doc in list(judged.eval_docs)[: request.evaluated]
        }
        numbers = [n for n, text in enumerate(questions) if str(text) not in evaluated]
        origin = request.split or "other questions than the evaluation's"
    if not numbers:
        raise SettingError(
            f"{request.task}: all {len(questions)} questions are the evaluation's; give --split, "
            "--metadata that makes others, --evaluated N if the evaluation takes the first N "
            "(--limit N), or --evaluation-questions"
        )
    numbers = numbers[: request.questions]
    log.info("calibrating on %d of %d documents: %s", len(numbers), len(questions), origin)
    return numbers, origin


def _model_args(request: CalibrationRun) -> Mapping[str, Any]:
    args = {k: v for k, v in request.model_args.items() if k not in ("bank", "run_dir")}
    args |= ONLINE | {"run_dir": str(request.run_dir)}
    if request.turns is not None:
        args["turns"] = request.turns
    if request.turns == 1:
        args["rate"] = 0  # first drafts are all there is: nothing to take over
        args.pop("budget", None)
    return args
