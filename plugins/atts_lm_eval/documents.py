"""Loads a task's documents by its name, to grade run directories without sample logs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from atts_harness.errors import SettingError
from atts_harness.framework import Evaluation, Question
from atts_harness.journal.hashing import prompt_hash
from atts_harness.results.golds import METRIC, PROMPTS
from atts_harness.transcript import Message
from atts_lm_eval import upstream
from atts_lm_eval.prompts import ChatPrompt
from atts_lm_eval.wording import wording

GRADES = "graded"
"""What tasks aggregate that leave the grades of this project's grader."""
FEWSHOT_SEED = 1234
"""lm-eval's own default."""


def of_task(
    name: str,
    system_instruction: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Sequence[Mapping[str, Any]]:
    """A task's documents, in lm-eval's order; those of other packages' tasks get an `answer`.

    Args:
        name: of one of the installed plugins' tasks, or of lm-eval's own.
        system_instruction: what the run was given as lm-eval's `--system_instruction`.
        metadata: what the run was given as lm-eval's `--metadata`.

    Returns:
        The documents, each with the digests of the prompts that a run makes of it, with and without
        `--apply_chat_template`, under `atts_harness.results.golds.PROMPTS`.

    Raises:
        SettingError: no such task, or its data cannot be loaded.
    """
    manager = upstream.task_manager([name], metadata=metadata)
    if name not in manager.all_subtasks:
        raise SettingError(f"{name}: no such task is installed, so its golds are not known")
    task = manager.load([name])["tasks"][name]
    documents = list(task.eval_docs)
    fingerprints = zip(
        *(_asked(task, documents, system_instruction, chat) for chat in (True, False)),
        strict=True,
    )
    return [
        {**_with_target(doc, task), PROMPTS: hashes}
        for doc, hashes in zip(documents, fingerprints, strict=True)
    ]


def questions_of(evaluation: Evaluation) -> list[Question]:
    """A task's documents with the messages that lm-eval makes of them.

    Args:
        evaluation: what to ask; see `EvalFramework.questions`.

    Raises:
        SettingError: no such task, or its data cannot be loaded.
    """
    name = evaluation.task
    manager = upstream.task_manager([name], evaluation.include_path, evaluation.metadata)
    if name not in manager.all_subtasks:
        raise SettingError(f"{name}: no such task is installed; `lm_eval ls tasks` lists them")
    task = manager.load([name])["tasks"][name]
    if evaluation.num_fewshot is not None:
        task.set_config("num_fewshot", evaluation.num_fewshot)
    if task.OUTPUT_TYPE != "generate_until":
        raise SettingError(f"{name}: it asks for log-probabilities ({task.OUTPUT_TYPE}), not texts")
    documents = list(task.eval_docs)[: evaluation.limit]
    prompts = _messages(task, documents, evaluation.system_instruction, chat=True)
    worded, generation = wording(task), dict(task.config.generation_kwargs or {})
    doc_ids = [doc.get("doc_id") if isinstance(doc, Mapping) else None for doc in documents]
    numbered = all(type(n) is int for n in doc_ids) and len(set(doc_ids)) == len(doc_ids)
    return [
        Question(
            doc=doc["doc_id"] if numbered else number,
            messages=tuple(messages),
            document=_with_target(doc, task),
            generation=generation,
            wording=worded,
        )
        for number, (doc, messages) in enumerate(zip(documents, prompts, strict=True))
    ]


def _asked(
    task: Any, documents: Sequence[Any], system_instruction: str | None, chat: bool
) -> list[str]:
    """Digests of the documents' prompts."""
    return [
        prompt_hash(messages) for messages in _messages(task, documents, system_instruction, chat)
    ]


def _messages(
    task: Any, documents: Sequence[Any], system_instruction: str | None, chat: bool
) -> list[list[Message]]:
    """The documents' prompts; few-shot examples are drawn in order, as in a run."""
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    prompts = []
    for doc in documents:
        context = task.fewshot_context(
            doc,
            num_fewshot=task.config.num_fewshot or 0,
            system_instruction=system_instruction,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            chat_template=_unrendered if chat else None,
            gen_prefix=task.doc_to_prefix(doc),
        )
        turns = json.loads(context) if chat else [{"role": "user", "content": context}]
        prompts.append([Message(turn["role"], turn["content"]) for turn in turns])
    return prompts


def _unrendered(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
    return ChatPrompt.of(messages)


def _with_target(doc: Mapping[str, Any], task: Any) -> Mapping[str, Any]:
    if "gold" in doc:
        return doc
    row = {**doc, "answer": task.doc_to_target(doc)}
    if GRADES not in task.aggregation():
        metrics = [str(metric.get("metric")) for metric in task.config.metric_list or ()]
        row[METRIC] = next(iter(metrics), "a metric of its own")
    return row
