"""From flat `model_args` to a checked plan: run options, strategy, backends.

`lm_eval --model_args rate=0.4,draft=...,target_dtype=float32` is one flat namespace. A key is
looked up, in this order, among the run's options, the strategy's options and the backends'
options; the latter may be given for one role (`draft_dtype`) or for both (`dtype`). A key that
nobody knows is an error that names the nearest one. Precedence: what is given explicitly, then
the task's `generation_kwargs`, then presets, then defaults.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec

from atts_harness import plugins
from atts_harness.backend import BackendKind, BackendOptions, BackendSpec, Role, Sampling
from atts_harness.errors import MissingExtraError, SettingError, UnknownSettingError
from atts_harness.presets import preset_settings, with_presets
from atts_harness.secrecy import find_secret
from atts_harness.strategy import Strategy, StrategyOptions
from atts_harness.values import convert, hints_of, is_none, struct_from

__all__ = [
    "DEFAULT_MAX_GEN_TOKS",
    "DEFAULT_TEMPERATURE",
    "ROLES",
    "Count",
    "RunOptions",
    "Seconds",
    "Settings",
    "TaskSampling",
    "Temperature",
    "convert",
    "parse_settings",
    "struct_from",
]

T = TypeVar("T")
ROLES: tuple[Role, ...] = get_args(Role)

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Temperature = Annotated[float, msgspec.Meta(ge=0, le=2)]


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of a whole run, the same for every strategy.

    Attributes:
        strategy: how samples are produced.
        preset: named settings, joined by `+`; later ones win.
        backend: engine of both roles.
        draft_backend: engine of the draft, if it is another one.
        target_backend: engine of the target, if it is another one.
        draft: model of the draft: folder, hub id or served name.
        target: model of the target.
        seed: the run's seed (lm-eval's `--seed` does not reach models).
        run_dir: where the journal and logs go; the same command again continues there.
        resume: continue a run directory; false starts afresh.
        max_gen_toks: budget of kept tokens a sample, the same for every strategy.
        draft_temperature: of the draft; 0 is greedy.
        target_temperature: of the target's takeovers.
        top_p: nucleus of both roles.
        top_k: most likely tokens to draw from; 0: all.
        min_p: least probability relative to the most likely token.
        draft_concurrency: most drafts in flight.
        score_concurrency: most scores in flight.
        takeover_concurrency: most target generations in flight.
        target_concurrency: most scores and takeovers in flight together. 0: no further bound.
        engine_concurrency: most calls of any sort in flight on one engine, for roles that share
            one. 0: no further bound.
        live_samples: most samples begun and not finished; bounds engine KV memory. 0: no bound.
        retries: tries after the first for a call that may succeed later.
        timeout: seconds a call may take in the engine.
        sample_timeout: seconds a sample may take from its first call. 0: no limit.
        engine_timeout: seconds to wait for the return of an engine that is gone before the run
            is given up.
        stall_timeout: seconds without a single reply after which an engine with calls in flight
            counts as gone. 0: as `timeout`.
        max_failures: samples that may fail for good before the run is given up. 0: no limit.
        max_unjudged: share of a task's decided turns that may be taken over without being judged
            (failed scores, empty drafts). Above it lm-eval's command ends with exit status 3.
        retry_failed: on resuming, try samples again that had failed for good.
        progress: `rich` for a live display, `plain` for lines, `auto` by the terminal.
        metrics_interval: seconds between looks at the engines' own figures. 0: never.
        draft_price: dollars per million tokens, IN/OUT or IN/CACHED/OUT.
        target_price: as `draft_price`.
        extractor: which extractor grades: boxed, last_expression, regex or llm; `boxed+llm` grades
            by the first and has the model's answer stored beside it.
        extractor_concurrency: most calls of the `llm` extractor in flight.
        extractor_price: as `draft_price`, of the `llm` extractor.
    """

    strategy: str = "atts"
    preset: str | None = None
    backend: str = "transformers"
    draft_backend: str | None = None
    target_backend: str | None = None
    draft: str | None = None
    target: str | None = None
    seed: int = 1234
    run_dir: str | None = None
    resume: bool = True
    max_gen_toks: Count | None = None
    draft_temperature: Temperature | None = None
    target_temperature: Temperature | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    draft_concurrency: Count = 64
    score_concurrency: Count = 32
    takeover_concurrency: Count = 32
    target_concurrency: Annotated[int, msgspec.Meta(ge=0)] = 0
    engine_concurrency: Annotated[int, msgspec.Meta(ge=0)] = 0
    live_samples: Annotated[int, msgspec.Meta(ge=0)] = 0
    retries: Annotated[int, msgspec.Meta(ge=0)] = 5
    timeout: Seconds = 600.0
    sample_timeout: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    engine_timeout: Seconds = 900.0
    stall_timeout: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    max_failures: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_unjudged: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    retry_failed: bool = False
    progress: Literal["auto", "rich", "plain", "off"] = "auto"
    metrics_interval: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    draft_price: str | None = None
    target_price: str | None = None
    extractor: str = "boxed"
    extractor_concurrency: Count = 16
    extractor_price: str | None = None


class TaskSampling(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of sampling that lm-eval's generation settings may hold."""

    temperature: Temperature | None = None
    do_sample: bool | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


DEFAULT_TEMPERATURE = 0.8
DEFAULT_MAX_GEN_TOKS = 8192


@dataclass(frozen=True)
class Settings:
    """The checked settings of a run.

    Attributes:
        run: the run's options.
        strategy: the strategy's class.
        explicit: the strategy options that were given explicitly.
        preset: the strategy options that presets set.
        roles: a specification for each role the strategy uses.
    """

    run: RunOptions
    strategy: type[Strategy]
    explicit: Mapping[str, Any] = field(default_factory=dict)
    preset: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[Role, BackendSpec[BackendOptions]] = field(default_factory=dict)

    def options(self, task: Mapping[str, Any] | None = None) -> StrategyOptions:
        """The strategy's options for a task whose `generation_kwargs` are `task`."""
        names = self.strategy.Options.__struct_fields__
        values = {k: v for k, v in (task or {}).items() if k in names}
        merged: dict[str, Any] = {}
        for layer in filter(None, (self.preset, values, self.explicit)):
            merged = _over(merged, layer, self.strategy.Options)
        return struct_from(self.strategy.Options, merged, self.strategy.name)

    def sampling(self, task: Mapping[str, Any] | None = None) -> dict[Role, Sampling]:
        """Sampling settings by role, for a task whose `generation_kwargs` are `task`.

        An explicit setting wins over the task's; the task's `do_sample: false` or
        `temperature: 0` means greedy.
        """
        kwargs = {k: v for k, v in (task or {}).items() if k in TaskSampling.__struct_fields__}
        task_sampling = struct_from(TaskSampling, kwargs, "generation_kwargs")
        usual = (
            DEFAULT_TEMPERATURE if task_sampling.temperature is None else task_sampling.temperature
        )
        if task_sampling.do_sample is False:
            usual = 0.0
        run = self.run
        temperatures: dict[Role, float | None] = {
            "draft": run.draft_temperature,
            "target": run.target_temperature,
        }
        top_p = _first(run.top_p, task_sampling.top_p, 1.0)
        top_k = _first(run.top_k, task_sampling.top_k, 0)
        min_p = _first(run.min_p, task_sampling.min_p, 0.0)
        return {
            role: Sampling(
                temperature=usual if temperature is None else temperature,
                top_p=top_p,
                top_k=top_k,
                min_p=min_p,
            )
            for role, temperature in temperatures.items()
        }

    def max_tokens(self, task: Mapping[str, Any] | None = None) -> int:
        """Budget of kept tokens a sample."""
        for value in (self.run.max_gen_toks, (task or {}).get("max_gen_toks")):
            if value is not None:
                return int(convert("max_gen_toks", value, Count))
        return DEFAULT_MAX_GEN_TOKS


def parse_settings(args: Mapping[str, Any], *, installed: bool = True) -> Settings:
    """Check flat settings and divide them into those of run, strategy and backends.

    Args:
        args: as lm-eval hands over `model_args`; values may be strings.
        installed: whether the packages of the backends must be installed; a plan for another
            machine needs none.

    Raises:
        SettingError: one line that names the setting and the remedy.
    """
    _refuse_secrets(args)
    hints = hints_of(RunOptions)
    explicit = {
        k: v for k, v in args.items() if v is not None and not is_none(k, v, hints.get(k, Any))
    }
    presets = preset_settings(explicit)
    strategy = plugins.strategy(_strategy_name(explicit, presets)).made_for(presets | explicit)
    run_fields = set(RunOptions.__struct_fields__)
    own_fields = set(strategy.Options.__struct_fields__)
    run = struct_from(
        RunOptions, {k: v for k, v in (presets | explicit).items() if k in run_fields}
    )
    roles: tuple[Role, ...] = tuple(strategy.roles)
    kinds = {role: plugins.backend(_engine(run, role)) for role in roles}

    backend_values = {k: v for k, v in explicit.items() if k not in run_fields | own_fields}
    role_options = _role_options(backend_values, kinds, strategy)
    names = {
        role: {
            n: n if n in backend_values and f"{role}_{n}" not in backend_values else f"{role}_{n}"
            for n in values
        }
        for role, values in role_options.items()
    }
    soft = {k: v for k, v in presets.items() if k not in run_fields | own_fields}
    for role, values in _role_options(soft, kinds, strategy, strict=False).items():
        role_options[role] = values | role_options[role]
    alone = {role: _spec(run, role, kinds[role], role_options[role]) for role in roles}
    specs = {
        role: replace(
            spec,
            beside=tuple(alone[other] for other in roles if other != role),
            setting_names=names[role],
        )
        for role, spec in alone.items()
    }
    for role in roles:
        check = kinds[role].check
        if check is not None:
            with contextlib.nullcontext() if installed else contextlib.suppress(MissingExtraError):
                check(specs[role])
    settings = Settings(
        run=run,
        strategy=strategy,
        explicit={k: v for k, v in explicit.items() if k in own_fields},
        preset={k: v for k, v in presets.items() if k in own_fields},
        roles=specs,
    )
    settings.options()  # wrong values surface here, before anything is opened
    settings.sampling()
    return settings


def kind_of(strategy: str, settings: Mapping[str, Any]) -> type[Strategy]:
    """The class of the strategy with this name, for flat settings; their presets are applied.

    Raises:
        SettingError: there is none.
    """
    return plugins.strategy(strategy).made_for(with_presets(settings))


def _over(
    below: Mapping[str, Any], above: Mapping[str, Any], kind: type[StrategyOptions]
) -> dict[str, Any]:
    """Merge options; one from above removes its alternatives below.

    Raises:
        SettingError: two that exclude each other are given together.
    """
    merged = dict(below)
    for names in kind.alternatives:
        if above.keys().isdisjoint(names):
            continue
        hints = hints_of(kind)
        present = [n for n in names if n in above and convert(n, above[n], hints[n]) is not None]
        if len(present) > 1:
            raise SettingError(
                f"{present[1]} takes the place of {present[0]}: give one of them, not {present[0]}="
                f"{above[present[0]]} and {present[1]}={above[present[1]]}"
            )
        if present:
            merged = {name: value for name, value in merged.items() if name not in names}
    return {**merged, **above}


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _engine(run: RunOptions, role: Role) -> str:
    role_backend = run.draft_backend if role == "draft" else run.target_backend
    return role_backend or run.backend


def _strategy_name(explicit: Mapping[str, Any], presets: Mapping[str, Any]) -> str:
    """The strategy that was asked for, else the preset's, else ATTS.

    Raises:
        SettingError: the preset is made for another strategy than the one asked for.
    """
    of_preset = presets.get("strategy")
    name = explicit.get("strategy", of_preset or "atts")
    if of_preset not in (None, name):
        raise SettingError(
            f"preset={explicit['preset']}: it is made for strategy {of_preset}, not {name}; leave "
            f"the preset out, or use --model {of_preset} (or strategy={of_preset})"
        )
    return str(name)


def _role_options(
    values: Mapping[str, Any],
    kinds: Mapping[Role, BackendKind[Any]],
    strategy: type[Strategy],
    *,
    strict: bool = True,
) -> dict[Role, dict[str, Any]]:
    """Backend options by role; an option given for one role wins over one given for both."""
    shared: dict[Role, dict[str, Any]] = {role: {} for role in kinds}
    by_role: dict[Role, dict[str, Any]] = {role: {} for role in kinds}
    for name, value in values.items():
        prefix, _, option = name.partition("_")
        role = next((r for r in ROLES if r == prefix), None)
        if role is not None and role in kinds and option in kinds[role].options.__struct_fields__:
            by_role[role][option] = value
            continue
        takers = [r for r, kind in kinds.items() if name in kind.options.__struct_fields__]
        for taker in takers:
            shared[taker][name] = value
        if strict and not takers:
            _refuse_unknown(name, role, kinds, strategy)
    return {role: shared[role] | by_role[role] for role in kinds}


def _refuse_unknown(
    name: str, role: Role | None, kinds: Mapping[Role, BackendKind[Any]], strategy: type[Strategy]
) -> None:
    for other in plugins.strategies().values():
        if name in other.value.Options.__struct_fields__:
            raise SettingError(
                f"{name}: an option of strategy {other.name}, which {strategy.name} does not have; "
                "leave it out"
            )
    if role is not None and role not in kinds:
        raise SettingError(f"{name}: strategy {strategy.name} uses no {role}; leave it out")
    names = {*RunOptions.__struct_fields__, *strategy.Options.__struct_fields__}
    for r, kind in kinds.items():
        names |= {n for f in kind.options.__struct_fields__ for n in (f, f"{r}_{f}")}
    raise UnknownSettingError(name, names)


def _spec(
    run: RunOptions, role: Role, kind: BackendKind[Any], values: Mapping[str, Any]
) -> BackendSpec[BackendOptions]:
    options: BackendOptions = struct_from(kind.options, values, source=f"{kind.name} ({role})")
    model = run.draft if role == "draft" else run.target
    if model is None and not values.get("url"):
        raise SettingError(f"{role}: give a model, as {role}=FOLDER_OR_HUB_ID or {role}_url=URL")
    return BackendSpec(
        kind.name, model, options, role, run.run_dir, run.max_gen_toks, timeout=run.timeout
    )


def _refuse_secrets(args: Mapping[str, Any]) -> None:
    name = find_secret(args)
    if name is not None:
        raise SettingError(
            f"{name}: looks like a secret, and lm-eval writes model_args into its results; "
            "set it in the environment instead (OPENAI_API_KEY, HF_TOKEN, `headers_env`, ...)"
        )
