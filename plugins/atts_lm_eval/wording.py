"""How a task words its prompts, as a digest that a bank carries.

Requests hold finished prompts, in which template and question cannot be told apart. The template is
the task's: the first time this package's model is imported it has lm-eval's tasks remember
themselves when they build their requests, and asks the remembered one.
"""

from __future__ import annotations

import inspect
import json
import re
import weakref
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

from atts_harness.conformal.provenance import fingerprint
from atts_lm_eval import upstream

# Of a task's configuration: what stands in every prompt, and what makes its few-shot examples.
WORDED = (
    *("description", "process_docs", "doc_to_text", "doc_to_choice"),
    *("gen_prefix", "target_delimiter", "fewshot_delimiter"),
)
FEW_SHOT = ("doc_to_target", "fewshot_split")

_tasks: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()


def remember_tasks() -> None:
    """Have tasks remember themselves by name as they build requests; once."""
    upstream.when_requests_are_built(_remember)


def _remember(task: Any) -> None:
    _tasks[str(task.config.task)] = task


def wording_of(task: str) -> str | None:
    """Digest of a task's template, description and few-shot set-up.

    Args:
        task: the name of a task that has built its requests.

    Returns:
        A digest; None if the task has built no requests in this process.
    """
    loaded = _tasks.get(task)
    return None if loaded is None else wording(loaded)


def wording(task: Any) -> str:
    """Digest of what a task's prompts are made with: texts as they are, functions by their source.

    A function's source counts together with the constants and the functions of the same file that
    it uses. Neither the questions nor the way they are answered and graded are in it.

    Args:
        task: an lm-eval task.
    """
    config = task.config
    shots = config.num_fewshot or 0
    values = {name: getattr(config, name, None) for name in WORDED}
    if shots:
        values |= {name: getattr(config, name, None) for name in FEW_SHOT}
        values["fewshot_config"] = getattr(task, "fewshot_cfg", config.fewshot_config)
    description = _described({**values, "num_fewshot": shots}, set())
    return fingerprint(json.dumps(description, sort_keys=True))


def _described(value: Any, visited: set[str]) -> Any:
    """A value as JSON has it; `visited` are the functions described already."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _described(inner, visited) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_described(inner, visited) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted(json.dumps(_described(inner, visited)) for inner in value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _described(getattr(value, field.name), visited) for field in fields(value)
        }
    if isinstance(value, partial):
        return [_described(inner, visited) for inner in (value.func, value.args, value.keywords)]
    if isinstance(value, re.Pattern):
        return value.pattern if isinstance(value.pattern, str) else repr(value.pattern)
    if isinstance(value, FunctionType):
        return _function(value, visited)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _function(function: FunctionType, visited: set[str]) -> Any:
    """A function's source, and that of the names it uses from its file."""
    name = f"{function.__module__}.{function.__qualname__}"
    if name in visited:
        return name
    visited.add(name)
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # made at run time: there is no file
        source = repr((function.__code__.co_code, function.__code__.co_names))
    used = {}
    for word in sorted(_names(function.__code__)):
        value = function.__globals__.get(word)
        foreign = isinstance(value, FunctionType) and (
            value.__code__.co_filename != function.__code__.co_filename
        )
        if value is not None and not foreign and not isinstance(value, ModuleType | type):
            used[word] = _described(value, visited)
    return [source, used]


def _names(code: CodeType) -> set[str]:
    """Global names that a function uses, in functions inside it too."""
    inner = [const for const in code.co_consts if isinstance(const, CodeType)]
    return set(code.co_names).union(*map(_names, inner))
