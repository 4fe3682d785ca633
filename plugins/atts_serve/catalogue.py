"""The served models, each a strategy or a preset, and the settings that requests may change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness import neutral, plugins
from atts_harness.arguments import parse_arguments
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.presets import with_presets
from atts_harness.settings import RunOptions, Settings, kind_of, parse_settings
from atts_harness.strategy import Strategy
from atts_harness.values import convert, hints_of
from atts_serve.chat import ChatRequest
from atts_serve.defaults import CHAT
from atts_serve.refusal import Refusal, bad

logger = neutral.logger("atts_serve")

DEFAULT = ("atts", "draft-only", "target-only")
# Never a path, an address, a model or a bank: a request may come from anybody who has the key.
ALLOWED = frozenset(
    {
        *("draft_temperature", "target_temperature"),
        *("rate", "budget", "turns", "draft_tokens", "target_tokens", "turn_stop"),
        *("on_reject", "on_empty", "score_template", "paper_join", "stop_at_answer"),
        *("coverage", "pvalue", "ties", "control", "rule", "chunk_tokens"),
        *("threshold", "judging", "first_n_steps_target", "step_tokens", "step_stop"),
        *("think_close", "on_eos", "finish_on", "repeat_breaker", "judge_top"),
        *("free_tokens", "max_target_tokens", "begin", "begin_token_num"),
    }
)
# What ends or shapes a batch and means nothing in a service.
NOT_SERVED = ("max_failures", "progress", "retry_failed", "resume", "extractor")
# Clients send other fields for these names (no `max_tokens`), or use another address.
NAMES_OF_OPENAI = re.compile(r"(gpt|chatgpt|o\d|codex)([-.].*)?$", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")


@dataclass(frozen=True)
class ServedModel:
    """A model by name.

    Attributes:
        name: as requests call it.
        args: its settings, flat.
        settings: the same, checked.
    """

    name: str
    args: Mapping[str, Any]
    settings: Settings

    def options(self) -> dict[str, Any]:
        """Settings that requests may change, with their present values."""
        values = msgspec.to_builtins(self.settings.options())
        return {name: value for name, value in values.items() if name in ALLOWED}


@dataclass(frozen=True)
class Variation:
    """A model with the settings of a request; requests of one variation share a session.

    Attributes:
        served: the model.
        settings: the settings, changed by the request's values.
        task: the request's sampling, as generation settings.
        key: the same for equal variations; a valid name of a folder.
    """

    served: ServedModel
    settings: Settings
    task: Mapping[str, Any]
    key: str


@dataclass(frozen=True)
class Catalogue:
    """The served models by name, and the task of requests that name none."""

    models: Mapping[str, ServedModel]
    task: str = CHAT
    allowed: frozenset[str] = ALLOWED
    run_dir: Path | None = None
    _known: dict[Any, Variation] = field(default_factory=dict, repr=False, compare=False)

    def variation(self, request: ChatRequest) -> Variation:
        """The model that a request wants.

        Raises:
            Refusal: it is not served, or a value cannot be set.
        """
        served = self.models.get(request.model)
        if served is None:
            raise Refusal(
                404,
                f"model {request.model[:80]!r} is not served; /v1/models lists those that are",
                code="model_not_found",
                param="model",
            )
        try:
            key = (request.model, _frozen(request.values), _frozen(request.sampling))
        except TypeError as error:
            raise bad(f"atts: {error}", "atts") from error
        variation = self._known.get(key)
        if variation is None:
            variation = self._variation(served, request)
            if len(self._known) < MOST_KNOWN:
                self._known[key] = variation
        return variation

    def _variation(self, served: ServedModel, request: ChatRequest) -> Variation:
        settings = served.settings
        values = _checked(served, request.values, self.allowed)
        if values:
            try:
                settings = parse_settings({**served.args, **values})
            except SettingError as error:
                logger.warning("a request was refused: %s", error)
                raise bad(
                    f"atts: {', '.join(values)}: these values do not go together with how "
                    f"{served.name} is served; the server's log says how",
                    "atts",
                ) from error
        effective = {
            "settings": msgspec.to_builtins(settings.run),
            "options": msgspec.to_builtins(settings.options()),
            "sampling": {
                role: msgspec.to_builtins(parameters)
                for role, parameters in settings.sampling(request.sampling).items()
            },
        }
        usual = {
            "settings": msgspec.to_builtins(served.settings.run),
            "options": msgspec.to_builtins(served.settings.options()),
            "sampling": {
                role: msgspec.to_builtins(parameters)
                for role, parameters in served.settings.sampling().items()
            },
        }
        key = served.name
        if effective != usual:
            encoded = msgspec.json.encode(effective, order="deterministic")
            key += f"@{hashlib.blake2b(encoded, digest_size=6).hexdigest()}"
        # The service bounds samples over all sessions, and looks at engines when it is asked.
        run = msgspec.structs.replace(settings.run, live_samples=0, metrics_interval=0.0)
        if self.run_dir is not None:
            run = msgspec.structs.replace(run, run_dir=str(self.run_dir / key))
        settings = replace(settings, run=run)
        return Variation(served, settings, dict(request.sampling), key)


MOST_KNOWN = 1000


def catalogue(
    names: Sequence[str],
    model_args: Mapping[str, Any],
    *,
    task: str = CHAT,
    allow: Iterable[str] = (),
) -> Catalogue:
    """The models that a command line asks for.

    Args:
        names: each NAME of a strategy or a preset, or NAME:SETTINGS; none: `DEFAULT`.
        model_args: settings of all of them. A strategy's option is used only for models that have
            it.
        task: the task of requests that name none.
        allow: further options that requests may set.

    Raises:
        SettingError: one line that names the setting and the remedy.
    """
    for name in NOT_SERVED:
        if model_args.get(name) is not None:
            raise SettingError(f"{name}: a service has no use for it; leave it out")
    base = {k: v for k, v in model_args.items() if k != "run_dir"}
    models = {}
    used: set[str] = set()
    for text in names or DEFAULT:
        name, colon, settings_text = text.partition(":")
        arguments = parse_arguments(settings_text, f"--model {name}") if colon else {}
        served = _served(name, base, arguments)
        if name in models:
            raise SettingError(f"--model {name}: is given twice; give one of them another name")
        models[name] = served
        used |= served.args.keys()
    for name in sorted(base.keys() - used):
        raise SettingError(f"{name}: an option of a strategy that is not served; leave it out")
    run_dir = model_args.get("run_dir")
    options = {n for s in plugins.strategies().values() for n in s.value.Options.__struct_fields__}
    for name in allow:
        if name not in options:
            raise UnknownSettingError(name, options, "--allow")
    return Catalogue(
        models, task, ALLOWED | set(allow), None if run_dir is None else Path(str(run_dir))
    )


def _served(name: str, base: Mapping[str, Any], overrides: Mapping[str, Any]) -> ServedModel:
    if not NAME.match(name):
        raise SettingError(
            f"--model {name!r}: a name of letters, digits, '.', '_', '+' and '-' is needed"
        )
    if NAMES_OF_OPENAI.match(name):
        raise SettingError(
            f"--model {name}: clients treat models of OpenAI's by their names; take another name"
        )
    args = dict(base)
    strategies, presets = plugins.strategies(), plugins.presets()
    if name in strategies:
        args.setdefault("strategy", name)
        if args["strategy"] != name:
            raise SettingError(
                f"strategy={args['strategy']}: the served model's name says its strategy; leave it "
                f"out, or give --model NAME:strategy={args['strategy']}"
            )
    elif name in presets:
        args["preset"] = "+".join(filter(None, (str(args.get("preset") or ""), name)))
    elif not overrides:
        raise UnknownSettingError(
            name,
            [*strategies, *presets],
            "--model",
            "or give its settings: NAME:a=b,c=d",
            what="strategy or preset",
        )
    args |= overrides
    args = _fitting(args, kind_of(str(with_presets(args).get("strategy", "atts")), args), overrides)
    return ServedModel(name, args, parse_settings(args))


def _options_of_strategies() -> set[str]:
    names = {n for s in plugins.strategies().values() for n in s.value.Options.__struct_fields__}
    return names - set(RunOptions.__struct_fields__)


def _fitting(
    args: Mapping[str, Any], strategy: type[Strategy], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings without the options that only other strategies have."""
    foreign = _options_of_strategies() - set(strategy.Options.__struct_fields__) - set(overrides)
    return {name: value for name, value in args.items() if name not in foreign}


def _checked(
    served: ServedModel, values: Mapping[str, Any], allowed: frozenset[str]
) -> dict[str, Any]:
    """A request's values, typed.

    Raises:
        Refusal: a value may not be set, is not an option of this strategy, or is out of bounds.
    """
    options = served.settings.strategy.Options
    hints = {**hints_of(options), **{n: hints_of(RunOptions)[n] for n in RUN_VALUES}}
    checked = {}
    for name, value in values.items():
        if name not in allowed:
            raise bad(f"atts.{name[:40]}: is not among the values that a request may set", "atts")
        if name not in hints:
            raise bad(f"atts.{name}: {served.name} has no such option", "atts")
        try:
            checked[name] = convert(name, value, hints[name])
        except SettingError as error:
            raise bad(f"atts.{error}", "atts") from error
    return checked


RUN_VALUES = ("draft_temperature", "target_temperature")


def _frozen(values: Mapping[str, Any]) -> tuple[Any, ...]:
    for name, value in values.items():
        if isinstance(value, dict | list):
            raise TypeError(f"{name[:40]}: a single value is needed")
    return tuple(sorted((name, type(value).__name__, value) for name, value in values.items()))
