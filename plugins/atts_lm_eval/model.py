"""The lm-eval model: one class for every strategy."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from atts_harness import neutral, plugins
from atts_harness.errors import SettingError
from atts_harness.ledger.statistics import by_task
from atts_harness.records import SampleRecord
from atts_harness.running.harness import Harness
from atts_harness.transcript import Message, Prompt
from atts_lm_eval import ending, excepthook, scoring, upstream, wording
from atts_lm_eval.answer import Answer
from atts_lm_eval.launch import changed_flags, refuse_many_processes, settings_for
from atts_lm_eval.planning import make_plan
from atts_lm_eval.prompts import ChatPrompt

if TYPE_CHECKING:
    Instance = Any
    """An `lm_eval.api.instance.Instance`."""

excepthook.install()
wording.remember_tasks()
log = neutral.logger("lm_eval.atts")
_LM: Any = upstream.model_base()


class AttsLM(_LM):  # type: ignore[misc]
    """Evaluate a draft/target strategy as an lm-eval model.

    Args:
        batch_size: most samples in progress, as `live_samples`; `auto` means no bound.
        max_batch_size: for backends that run in this process.
        device: likewise.
        model_args: settings of the run, the strategy and the backends; see `atts plugins`.

    Raises:
        SettingError: one line that names the setting and the remedy.
    """

    strategy: ClassVar[str] = "atts"

    def __init__(
        self,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        device: str | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__()
        refuse_many_processes()
        args = _with_strategy(self.strategy, model_args)
        self.settings = settings_for(
            args, batch_size=batch_size, max_batch_size=max_batch_size, device=device
        )
        upstream.load_tasks_first()
        self._device = device
        self._records: list[SampleRecord] = []
        self._nominal: dict[str, float | None] = {}
        self._run: dict[str, Any] = {}
        self.harness = Harness(self.settings)
        # lm-eval has no end of a model's life; engines that we started must not outlive us.
        atexit.register(self.close)
        self._check_templates()

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> AttsLM:
        """As lm-eval makes models; a model argument wins over the flag of its name."""
        return cls(**{**changed_flags(additional_config or {}), **arg_dict})

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> AttsLM:
        """As lm-eval makes models from `a=1,b=2`."""
        return cls.create_from_arg_obj(upstream.parse_model_args(arg_string), additional_config)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Produce a sample for every request, all at once.

        Returns:
            For each request, in order, an `Answer`.
        """
        plan = make_plan(requests, self.settings, self.harness.strategy)
        # lm-eval hands over everything at once, so another call is another evaluation.
        self._records, self._nominal = [], {}
        for group in plan.groups:
            self._nominal[group.problem.task] = group.strategy.nominal_rate
        self._run = msgspec.to_builtins(self.harness.record(plan.groups))
        records = self.harness.run(plan.groups, show=not disable_tqdm)
        self._records = records
        by_id = {record.id: record for record in records}
        failed = [record for record in records if record.failed is not None]
        if failed:
            log.error(
                "%d of %d samples failed for good and count as wrong; the first: %s",
                len(failed),
                len(records),
                failed[0].failed,
            )
        ending.add(records, self.settings.run.run_dir)
        for task, statistics in by_task(records, self._nominal).items():
            ending.add_unjudged(task, statistics.takeover, self.settings.run.max_unjudged)
        return [Answer.of(by_id[sample]) for sample in plan.order]

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation under the target, and whether it is greedy."""
        return scoring.loglikelihoods(self.harness, requests, show=not disable_tqdm)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-probability of each text under the target."""
        return scoring.rolling(self.harness, requests, show=not disable_tqdm)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages themselves, as a string that still is messages.

        A last message of the assistant is a turn to be continued, so `add_generation_prompt` adds
        no information.
        """
        return ChatPrompt.of(chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Nothing to log: each role uses its own template (see `get_model_info`).

        Raises:
            SettingError: a template was asked for by name.
        """
        if isinstance(chat_template, str):
            raise SettingError(
                f"--apply_chat_template {chat_template}: draft and target render by their own "
                "templates; give the flag without a name, and draft_chat_template or "
                "target_chat_template to replace one"
            )
        return ""

    @property
    def tokenizer_name(self) -> str:
        """A part of the key of lm-eval's request cache; the same for all models."""
        return "atts-messages"

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse `--use_cache`.

        Raises:
            SettingError: a response cache is asked for.
        """
        if getattr(cache_hook, "dbdict", None) is not None:
            raise SettingError(
                "--use_cache: it tells answers apart by the request's text alone, so strategies "
                "and repeats would share them; use model_args run_dir=DIR, which resumes a run"
            )
        super().set_cache_hook(cache_hook)

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval writes under `config` of its results: the run and its statistics."""
        return {
            "atts": {
                **(self._run or msgspec.to_builtins(self.harness.record([]))),
                "statistics": msgspec.to_builtins(by_task(self._records, self._nominal)),
                "run": msgspec.to_builtins(self.harness.summary),
            }
        }

    def close(self) -> None:
        """Close the engines; servers that were started for this run end."""
        atexit.unregister(self.close)
        self.harness.close()

    def _check_templates(self) -> None:
        """A model without a chat template surfaces now, not after lm-eval has built its tasks."""
        for backend in self.harness.backends.values():
            Prompt((Message("user", "."),)).ids_in(backend.tokenizer)


@functools.cache
def model_class(strategy: str) -> type[AttsLM]:
    """The lm-eval model of the strategy called `strategy`."""
    name = "".join(part.capitalize() for part in strategy.split("-"))
    strategy_class = plugins.strategy(strategy)
    namespace: Mapping[str, Any] = {
        "strategy": strategy,
        "__doc__": strategy_class.__doc__,
        "__module__": "atts_lm_eval.models",
    }
    return type(f"{name}LM", (AttsLM,), dict(namespace))


def _with_strategy(strategy: str, model_args: Mapping[str, Any]) -> dict[str, Any]:
    """Model arguments with the strategy that the model's name says.

    `--model atts` takes `strategy=NAME`, or a preset that is made for another one; every other
    model is its strategy.
    """
    configured = model_args.get("strategy")
    if strategy == "atts":
        return dict(model_args)
    if configured not in (None, strategy):
        raise SettingError(
            f"strategy={configured}: the model is {strategy}; use --model {configured}, "
            "or leave it out"
        )
    return {**model_args, "strategy": strategy}
