"""A few samples of a task in this process: what `atts compare --dry-run` measures."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from atts_harness.framework import Evaluation, ProbeFigures
from atts_lm_eval import bridge, upstream


def probe(evaluation: Evaluation, samples: int) -> ProbeFigures:
    """Run a few samples, with nothing written and nothing printed.

    Args:
        evaluation: its `limit` says how many documents.
        samples: for each document, in place of the task's repeats.
    """
    bridge.install()
    from atts_lm_eval.model import model_class

    name = evaluation.task
    manager = upstream.task_manager([name], evaluation.include_path, evaluation.metadata)
    task = next(iter(manager.load(name)["tasks"].values()))  # the first one of a group
    task.set_config(key="repeats", value=samples)
    with _quiet():
        began = time.monotonic()
        model = model_class(evaluation.strategy)(**evaluation.settings)
        opening = time.monotonic() - began
        try:
            upstream.evaluate(
                model,
                task,
                task_manager=manager,  # or lm-eval reads the index of all its own tasks
                limit=evaluation.limit,
                num_fewshot=evaluation.num_fewshot,
                apply_chat_template=evaluation.apply_chat_template,
                system_instruction=evaluation.system_instruction,
            )
            statistics = model.get_model_info()["atts"]["statistics"]
            return ProbeFigures(opening, statistics, model.harness.summary.ledger)
        finally:
            model.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without lm-eval's and the models' own messages; errors come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    errors = os.dup(2)  # lm-eval asks git, which answers there
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
                yield
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        logging.disable(before)
