"""From lm-eval's requests to problems and samples.

lm-eval hands over every request at once: documents x repeats, all tasks. Repeats of a document
are the same request object several times over; they are numbered here in the order they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atts_harness.generation import GenerationSettings, all_settings
from atts_harness.grading.extraction import Kind
from atts_harness.message import Message
from atts_harness.neutral import logger
from atts_harness.records import SampleId
from atts_harness.running.problems import BUDGET, Terms, framing, make_problem, terms_of
from atts_harness.settings import Settings
from atts_harness.strategy import Group, MakeStrategy, Sample, Strategy
from atts_lm_eval.prompts import ChatPrompt, messages_of
from atts_lm_eval.wording import wording_of

log = logger("lm_eval.atts")


@dataclass(frozen=True)
class RequestPlan:
    """What to run for a list of requests.

    Attributes:
        groups: problems with their samples.
        order: for each request its sample.
    """

    groups: tuple[Group, ...]
    order: tuple[SampleId, ...]


def make_plan(
    requests: Sequence[Any], settings: Settings, make_strategy: MakeStrategy
) -> RequestPlan:
    """Problems, samples and strategies for lm-eval's requests.

    Args:
        requests: lm-eval instances; `args` are (context, generation settings).
        settings: the settings of the run.
        make_strategy: makes a strategy from a task's generation settings and provenance; called
            once for each task.

    Raises:
        SettingError: settings of a task that cannot be used, or an empty prompt.
    """
    by_problem: dict[tuple[str, int], list[SampleId]] = {}
    prompts: dict[tuple[str, int], tuple[tuple[Message, ...], Mapping[str, Any], Kind | None]] = {}
    order: list[SampleId] = []
    documents = document_ids(requests)
    for request in requests:
        context, kwargs = request.args[0], all_settings(request.args[1])
        # A document may ask more than one question; each is a problem of its own.
        task = request.task_name if request.idx == 0 else f"{request.task_name}#{request.idx}"
        key = (task, documents[request.task_name, request.doc_id])
        if key not in prompts:
            kind = _kind(request, votes=settings.strategy.votes)
            prompts[key] = (messages_of(context), kwargs, kind)
            by_problem[key] = []
        sample = SampleId(*key, len(by_problem[key]))
        by_problem[key].append(sample)
        order.append(sample)
    if not all(isinstance(request.args[0], ChatPrompt) for request in requests):
        _say_once_that_prompts_are_raw()

    checked: dict[str, Terms] = {}
    strategies: dict[str, Strategy] = {}
    groups: list[Group] = []
    for (task, doc), (messages, generation, kind) in prompts.items():
        if task not in checked:
            checked[task] = terms_of(generation, f"generation_kwargs of {task}")
            worded = wording_of(task.partition("#")[0])
            provenance = {"task": task, "prompt": framing(messages), "wording": worded}
            strategies[task] = make_strategy(checked[task].values, provenance)
            _log_settings(task, checked[task], settings)
        problem = make_problem(task, doc, messages, checked[task], settings, kind)
        samples = tuple(Sample(id_, problem) for id_ in by_problem[task, doc])
        groups.append(Group(problem, samples, strategies[task]))
    return RequestPlan(tuple(groups), tuple(order))


def document_ids(requests: Sequence[Any]) -> dict[tuple[str, int], int]:
    """Map each task and lm-eval document number to the number used in records and seeds.

    lm-eval numbers documents by their position among those that run, so with `--samples` a
    document gets another number. If every document of a task has an integer `doc_id`, and all of
    these differ, they are used, so that a document keeps its seeds.
    """
    doc_ids: dict[str, dict[int, Any]] = {}
    for request in requests:
        doc = request.doc if isinstance(request.doc, Mapping) else {}
        doc_ids.setdefault(request.task_name, {})[request.doc_id] = doc.get("doc_id")
    ids: dict[tuple[str, int], int] = {}
    for task, named in doc_ids.items():
        usable = all(type(n) is int for n in named.values()) and len(set(named.values())) == len(
            named
        )
        ids |= {(task, n): named[n] if usable else int(n) for n in named}
    return ids


def _kind(request: Any, *, votes: bool) -> Kind | None:
    """The kind of answer a document asks for; only our tasks say it, others count as maths.

    None where answers have to be told apart and only the task's own grader could: that grader would
    take a sample that was not drawn for a wrong answer, too.
    """
    if votes and not isinstance(request.args[1], GenerationSettings):
        return None
    doc = request.doc
    kind = doc.get("kind") if isinstance(doc, Mapping) else None
    return "choice" if kind == "choice" else "maths"


_said: set[str] = set()


def _say_once_that_prompts_are_raw() -> None:
    if "raw" not in _said:
        _said.add("raw")
        log.info(
            "without --apply_chat_template each raw prompt becomes one user message; every role "
            "renders it with its own chat template"
        )


def _log_settings(task: str, terms: Terms, settings: Settings) -> None:
    """Say what is used, and where a model argument wins over the task."""
    options = settings.options(terms.values)
    used = {name: getattr(options, name) for name in options.__struct_fields__}
    log.info(
        "%s: budget %d tokens a sample; until %s; %s",
        task,
        settings.max_tokens(terms.values),
        list(terms.until),
        ", ".join(f"{name}={value!r}" for name, value in used.items()),
    )
    explicit = {**settings.explicit, BUDGET: settings.run.max_gen_toks}
    for name, value in terms.values.items():
        mine = explicit.get(name)
        if mine is not None and str(mine) != str(value):
            log.info("%s: %s=%s (model_args) wins over the task's %s", task, name, mine, value)
