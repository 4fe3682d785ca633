"""Tasks of the installed evaluation framework (lm-eval) as inspect_ai tasks.

Prompts, golds and generation settings are the framework's. What only strategies understand travels
in each sample's metadata, so this project's models answer with the budget and the seeds that they
have under `lm_eval`, and other models see nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    get_model,
)

from atts_harness import plugins
from atts_harness.errors import AttsError
from atts_harness.framework import Evaluation, Question
from atts_harness.message import Message
from atts_harness.results.golds import gold_of
from atts_harness.running.problems import terms_of
from atts_inspect import upstream
from atts_inspect.grader import grader
from atts_inspect.naming import KEY
from atts_inspect.provider import AttsAPI

PREFIX = "atts_"
PACKAGE = "atts_harness"
"""What inspect_ai puts before the tasks' names; it takes it from the module that has them."""
_NAMED = re.compile(r"^task:[ \t]*([\w.+-]+)[ \t]*$", re.MULTILINE)
_MESSAGES: Mapping[str, type[Any]] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}
SAMPLING = ("temperature", "top_p", "top_k")


def make_task(
    name: str,
    framework: str | None = None,
    num_fewshot: int | None = None,
    system_instruction: str | None = None,
    extractor: str = "boxed",
    **metadata: Any,
) -> Task:
    """An inspect_ai task of a framework's.

    Args:
        name: the framework's name of the task.
        framework: the framework that has it, if several are installed.
        num_fewshot: examples in the prompt; None: the task's own number.
        system_instruction: system message of every prompt.
        extractor: the one whose answer counts.
        **metadata: for the task, as lm-eval's `--metadata`: `repeats`, `num_problems`, ...
    """
    evaluation = Evaluation(
        name,
        "",
        num_fewshot=num_fewshot,
        metadata=metadata,
        system_instruction=system_instruction,
    )
    try:
        of = plugins.framework(framework)
        questions = of.questions(evaluation)
        repeats = of.sizes(evaluation)[0].repeats
        samples = [_sample(name, question) for question in questions]
        config = _config(name, questions[0].generation) if questions else GenerateConfig()
    except AttsError as error:
        upstream.refuse(str(error))
    return Task(
        dataset=MemoryDataset(samples, name=name),
        scorer=grader(extractor),
        config=config,
        epochs=Epochs(repeats, "mean"),
        metadata={"framework": of.name, "task": name, **metadata},
    )


def register_tasks() -> None:
    """Make the tasks in the folders of installed plugins known, by their names without `atts_`."""
    for folder in plugins.task_dirs().values():
        for path in sorted(folder.value.rglob("*.yaml")):
            for name in _NAMED.findall(path.read_text(encoding="utf-8", errors="replace")):
                _register(name)
    any_task.__module__ = PACKAGE
    task(name="lm_eval")(any_task)


def any_task(task: str, **options: Any) -> Task:  # noqa: D417 - as make_task has them
    """Any task of the framework: `-T task=gsm8k`.

    Args:
        task: its name.
    """
    return make_task(task, **options)


def _register(name: str) -> None:
    def build(
        num_fewshot: int | None = None,
        system_instruction: str | None = None,
        extractor: str = "boxed",
        **metadata: Any,
    ) -> Task:
        return make_task(
            name,
            num_fewshot=num_fewshot,
            system_instruction=system_instruction,
            extractor=extractor,
            **metadata,
        )

    build.__module__ = PACKAGE
    build.__doc__ = f"The task {name}."
    task(name=name.removeprefix(PREFIX))(build)


def _sample(name: str, question: Question) -> Sample:
    terms = terms_of(question.generation, f"generation_kwargs of {name}")
    document = dict(question.document)
    return Sample(
        input=[_chat(message) for message in question.messages],
        target=gold_of(document).text,
        id=question.doc,
        metadata={
            **document,
            KEY: {
                "task": name,
                "doc": question.doc,
                "kind": document.get("kind", "maths"),
                "wording": question.wording,
                "generation": {**terms.values, "until": list(terms.until)},
            },
        },
    )


def _chat(message: Message) -> ChatMessage:
    turn: ChatMessage = _MESSAGES[message.role](content=message.content)
    return turn


def _config(name: str, generation: Mapping[str, Any]) -> GenerateConfig:
    """What every model understands of a task's generation settings."""
    terms = terms_of(generation, f"generation_kwargs of {name}")
    sampling = {key: terms.values[key] for key in SAMPLING if terms.values.get(key) is not None}
    if terms.values.get("do_sample") is False:
        sampling["temperature"] = 0.0
    return GenerateConfig(
        **sampling,
        max_tokens=terms.values.get("max_gen_toks"),
        stop_seqs=list(terms.until) or None,
        max_connections=_connections(),
    )


def _connections() -> int | None:
    """As many as our scheduler can use, where our model is evaluated; others keep their own."""
    try:
        api = get_model().api
    except ValueError:  # no model: the tasks are only listed
        return None
    return api.max_connections() if isinstance(api, AttsAPI) else None
