"""The engine's own speculative decoding: methods, draft models, settings.

Something cheap proposes tokens, and the served model accepts the longest prefix that it would have
written itself. Texts keep their distribution; only the time changes. Each engine's plugin turns the
settings into flags. The number of accepted tokens comes with each reply (`Usage`), or else from
`/metrics`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from atts_harness.backend import BackendSpec
from atts_harness.engines.managed import ManagedOptions
from atts_harness.errors import SettingError
from atts_harness.hookspecs import Preset


def check_speculation(
    spec: BackendSpec[ManagedOptions], methods: Collection[str], with_model: Collection[str]
) -> None:
    """Refuse a method that cannot work, before anything is started.

    Args:
        spec: of the role.
        methods: those that the engine has.
        with_model: those of them that need a model to propose tokens.

    Raises:
        SettingError: names the setting and the remedy.
    """
    role, options = spec.role, spec.options
    method, model = options.speculate, options.speculate_model
    if method is None:
        if model is not None:
            raise SettingError(
                f"{role}_speculate_model={model}: say what it is for: {role}_speculate="
                f"{' or '.join(sorted(with_model))}"
            )
        return
    if method not in methods:
        raise SettingError(
            f"{role}_speculate={method}: {spec.kind} has {', '.join(sorted(methods))}; use one of "
            f"these, or the engine's own flags in {role}_server_args"
        )
    if options.url is not None:
        raise SettingError(
            f"{role}_speculate={method}: the server at {role}_url runs already, with the flags it "
            "was started with; start it with those of this method, or let it be started here"
        )
    if method in with_model and model is None:
        raise SettingError(
            f"{role}_speculate={method}: needs the model that proposes; give "
            f"{role}_speculate_model=FOLDER_OR_HUB_ID"
        )
    if method not in with_model and model is not None:
        raise SettingError(
            f"{role}_speculate_model={model}: {method} proposes without a model; leave it out, or "
            f"use {role}_speculate={' or '.join(sorted(with_model))}"
        )


def speculation_presets(
    backend: str, methods: Iterable[str], with_model: Collection[str]
) -> list[Preset]:
    """A preset for each method, on the target: the same for target-only and for ATTS's target."""
    return [
        Preset(
            name=f"{backend}-{method.lower().replace('_', '-')}",
            summary=f"the target by {backend} with its own speculative decoding, {method}"
            + (" (needs target_speculate_model)" if method in with_model else ""),
            settings={"target_backend": backend, "target_speculate": method},
        )
        for method in methods
    ]
