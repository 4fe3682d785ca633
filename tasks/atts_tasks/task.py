"""An lm-eval task that keeps and grades all its repeats.

YAML alone cannot: lm-eval has no flag for repeats and drops all but the first by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.filter import FilterEnsemble
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from atts_harness.analysis.statistics import clustered_mean
from atts_harness.errors import SettingError
from atts_harness.generation import GenerationSettings
from atts_harness.grading.equivalence import unreadable
from atts_harness.grading.extraction import EXTRACTORS, extractors_of
from atts_harness.grading.grade import VOTE, VOTES, metric_names
from atts_harness.grading.workers import default
from atts_harness.results.golds import gold_of
from atts_tasks.costs import COSTS, costs_of
from atts_tasks.processing import GRADES, count, process_results, sampled

REPEATS = 16


class AttsTask(ConfigurableTask):  # type: ignore[misc]
    """A task named by `class: !function atts_tasks.task.AttsTask` in its YAML.

    `--metadata '{"repeats": 4, "extractor": "last_expression"}'` sets the number of samples a
    question and whose answer counts; the model argument `extractor` sets the latter too.

    Args:
        config: the YAML's content; see `atts_tasks.data.load` for `dataset_kwargs`.

    Raises:
        SettingError: repeats that are not a positive integer.
        UnknownSettingError: no such extractor.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        config = {key: value for key, value in config.items() if key != "class"}
        metadata = config.get("metadata") or {}
        config["repeats"] = _repeats(metadata.get("repeats", config.get("repeats", REPEATS)))
        config.setdefault("metric_list", [])
        self._extractor = extractors_of(str(metadata.get("extractor", "boxed")))[0]
        super().__init__(config=config)
        # No filter: every repeat reaches `process_results`.
        self._filters = [FilterEnsemble(name="all", filters=[])]
        names = {**metric_names(config["repeats"]), **VOTES}
        # lm-eval's own mean: the standard error it prints for one is over questions.
        self._aggregation_list: dict[str, Callable[..., Any]] = dict.fromkeys(names, mean)
        headlines = ("pass@1", f"maj@{config['repeats']}", VOTE)
        self._headlines = [name for name in names if name in headlines]
        self._aggregation_list |= {f"{name}_interval": interval for name in self._headlines}
        self._aggregation_list[GRADES] = count
        self._aggregation_list |= dict(COSTS)
        self._higher_is_better = dict(names)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Load the documents with the YAML's `custom_dataset`."""
        metadata = self.config.metadata or {}
        splits = self.config.custom_dataset(**{**metadata, **(dataset_kwargs or {})})
        self.dataset = {name: _numbered(split) for name, split in splits.items()}

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> Any:
        """As lm-eval's, with options of strategies where other models do not see them.

        Raises:
            SettingError: the document's gold cannot be compared with any answer.
        """
        self._check_gold(doc)
        request = super().construct_requests(doc, ctx, **kwargs)
        context, generation_kwargs, *rest = request.arguments
        request.arguments = (context, GenerationSettings.of(generation_kwargs), *rest)
        return request

    def _check_gold(self, doc: dict[str, Any]) -> None:
        """Before anything is generated: a gold that no answer can equal is the task's fault."""
        gold = gold_of(doc)
        reason = unreadable(gold)
        if reason is not None:
            raise SettingError(
                f"task {self.config.task}: the gold {gold.text!r} of document "
                f"{doc.get('id', doc.get('doc_id'))} cannot be compared with answers ({reason}); "
                "correct its row, or leave it out with --samples"
            )

    def apply_filters(self) -> None:
        """Hand every repeat on; grade all documents at once, so that all processors work."""
        super().apply_filters()
        if "bypass" not in self._metric_fn_list:
            self._grade_ahead()

    def process_results(self, doc: dict[str, Any], results: list[Any]) -> dict[str, Any]:
        """Grade one document; see `atts_tasks.processing.process_results`."""
        if "bypass" in self._metric_fn_list:
            return {"bypass": None}
        figures = process_results(doc, results, self._extractor) | costs_of(results[0])
        reported = [name for name in self._headlines if name in figures]
        return figures | {f"{name}_interval": figures[name] for name in reported}

    def _grade_ahead(self) -> None:
        """Verdicts are remembered, so that what follows document by document is quick."""
        pairs = []
        for instance in self._instances:
            gold = gold_of(instance.doc)
            for answer in instance.resps:
                sample = sampled(answer)
                rule = EXTRACTORS.get(self._extractor)
                parsed = sample.answers.get(self._extractor)
                if sample.absent:
                    continue
                if rule is not None and not sample.failed:
                    parsed = rule(sample.text, gold.kind)
                if parsed is not None:
                    pairs.append((parsed, gold))
        default().grade(pairs)


def interval(shares: Sequence[float]) -> list[float]:
    """95 % interval of a task's figure over its questions, as the results file shows it.

    Args:
        shares: one value in [0, 1] a question.

    Returns:
        Low and high, rounded to four places; the figure twice where there is one question only.
    """
    estimate = clustered_mean(shares, range(len(shares)), bounds=(0, 1))
    ends = (estimate.low, estimate.high)
    return [round(estimate.value if end is None else end, 4) for end in ends]


def _numbered(split: Any) -> Any:
    """A split whose documents know their place in it, as `doc_id`.

    lm-eval numbers documents by their place among those that run: under `--samples` the sixth is
    the third. By its own number a document keeps seeds and records.
    """
    if "doc_id" in split.column_names:
        return split
    return split.add_column("doc_id", list(range(len(split))))


def _repeats(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError(
            f"repeats: {value!r} is not a positive integer; "
            "give one as --metadata '{\"repeats\": 4}'"
        )
    return value
