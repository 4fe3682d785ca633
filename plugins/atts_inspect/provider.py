"""The inspect_ai provider: `inspect eval TASK --model atts/STRATEGY -M name=value ...`."""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from inspect_ai.hooks import Hooks, RunEnd
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from atts_harness.errors import AttsError, SettingError
from atts_harness.ledger.prices import prices_of
from atts_harness.message import Message
from atts_harness.neutral import logger
from atts_harness.records import SampleRecord
from atts_harness.running.apart import SessionApart
from atts_harness.running.live import Open
from atts_harness.running.problems import Terms, framing, make_problem
from atts_harness.settings import Settings, parse_settings
from atts_harness.strategy import Strategy
from atts_inspect import upstream
from atts_inspect.naming import Names, SampleRequest, digest
from atts_inspect.replies import log_turns, output_of
from atts_inspect.requests import messages_of, terms

log = logger("inspect_ai.atts")
SCHEME = "atts:"

_open: weakref.WeakSet[AttsAPI] = weakref.WeakSet()


class AttsAPI(ModelAPI):  # type: ignore[misc]
    """A strategy as an inspect_ai model.

    One live session answers all samples of an evaluation; it opens with the first of them and is
    closed when the run ends.

    Args:
        model_name: the strategy, or `atts` with `-M strategy=NAME`.
        base_url: refused; engines have `draft_url` and `target_url`.
        api_key: refused; keys come from the environment.
        config: generation settings of the whole evaluation; its `seed` is the run's.
        **model_args: settings of the run, the strategy and the backends, as lm-eval's model_args.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - as the base class has it
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, None, None, [], config)
        try:
            self.settings = _settings(model_name, base_url, api_key, config, model_args)
            self._prices = prices_of(self.settings.run)
        except AttsError as error:
            upstream.refuse(str(error))
        # Part of the key of inspect_ai's cache of answers, which leaves the model's arguments out.
        self.base_url = f"{SCHEME}{digest(json.dumps(model_args, sort_keys=True, default=str)):x}"
        self._session = SessionApart(self.settings)
        self._names = Names()
        self._strategies: dict[tuple[str, ...], Strategy] = {}
        self._failed: list[str] = []
        _open.add(self)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """One sample of the strategy."""
        try:
            if tools:
                raise SettingError(
                    "tools: a strategy writes text alone; use a solver without tools"
                )
            if config.seed not in (None, self.settings.run.seed):
                raise SettingError(
                    f"seed={config.seed}: the run has seed {self.settings.run.seed}, and samples "
                    "have seeds of their own; give -M seed=N for the run"
                )
            messages = messages_of(input)
            request = self._names.name(upstream.running_sample(), messages)
            work = functools.partial(
                self._sample,
                request=request,
                messages=messages,
                terms=terms(config, request.generation),
            )
            record = await asyncio.wrap_future(self._session.ask(work))
        except SettingError as error:
            upstream.refuse(str(error))
        if record.failed is not None:
            self._failed.append(f"{request.task}/{request.doc}/{record.id.repeat}")
        log_turns(record)
        return output_of(self.model_name, record, self._prices)

    def max_connections(self) -> int:
        """Samples that may be in progress: as many as keep every slot of the scheduler busy."""
        run = self.settings.run
        slots = run.draft_concurrency + run.score_concurrency + run.takeover_concurrency
        return run.live_samples or slots

    def connection_key(self) -> str:
        """One for each session, because each has its own limits."""
        return f"{self.model_name}-{id(self)}"

    def should_retry(self, ex: Exception) -> bool:
        """Never: the session retries calls itself."""
        return False

    async def aclose(self) -> None:
        """Close the session; the next question opens a new one."""
        await asyncio.to_thread(self.finish)

    def finish(self) -> None:
        """Close the session, and say which samples failed for good."""
        self._session.close()
        self._strategies.clear()
        if self._failed:
            log.error(
                "%d samples failed for good and count as wrong: %s",
                len(self._failed),
                ", ".join(self._failed[:20]),
            )
            self._failed.clear()

    async def _sample(
        self, live: Open, *, request: SampleRequest, messages: Sequence[Message], terms: Terms
    ) -> SampleRecord:
        kind: Any = "choice" if request.kind == "choice" else "maths"
        problem = make_problem(request.task, request.doc, messages, terms, self.settings, kind)
        frame = framing(messages)
        key = (request.task, frame, json.dumps(terms.values, sort_keys=True, default=str))
        if key not in self._strategies:
            provenance = {"task": request.task, "prompt": frame, "wording": request.wording}
            self._strategies[key] = live.models.strategy(terms.values, provenance)
        strategy = self._strategies[key]
        if strategy.grouped:
            raise SettingError(
                f"{strategy.name}: the samples of a problem wait for each other, and inspect_ai "
                "asks for them one by one; use lm_eval, or for ATTS calibration=online or a bank"
            )
        return await live.session.sample(problem, repeat=request.repeat, strategy=strategy)


class CloseSessions(Hooks):  # type: ignore[misc]
    """Closes sessions when a run ends; inspect_ai would leave models and their servers open."""

    async def on_run_end(self, data: RunEnd) -> None:
        """Close every session."""
        for api in list(_open):
            await api.aclose()


@atexit.register
def _close_all() -> None:
    for api in list(_open):
        api.finish()


def _settings(
    strategy: str,
    base_url: str | None,
    api_key: str | None,
    config: GenerateConfig,
    args: Mapping[str, Any],
) -> Settings:
    if api_key is not None:
        raise SettingError("api_key: keys come from the environment (HF_TOKEN, `headers_env`, ...)")
    if base_url is not None and not base_url.startswith(SCHEME):
        raise SettingError(
            "--model-base-url: draft and target have addresses of their own; give "
            "-M draft_url=URL -M target_url=URL"
        )
    arguments = dict(args)
    if strategy != "atts":
        if arguments.get("strategy") not in (None, strategy):
            raise SettingError(
                f"strategy={arguments['strategy']}: the model is atts/{strategy}; "
                "leave one of them out"
            )
        arguments["strategy"] = strategy
    if config.seed is not None:
        arguments.setdefault("seed", config.seed)
    arguments.setdefault("progress", "off")  # inspect_ai draws its own
    return parse_settings(arguments)
