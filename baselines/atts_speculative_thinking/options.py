"""Options: every rule, or a published YAML file with the rules.

An option that is given wins over the file, and the file over the published values. So the default
of an option here is "not given".
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import msgspec

from atts_harness import neutral
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.files import load_yaml
from atts_harness.settings import struct_from
from atts_harness.strategy import StrategyOptions
from atts_speculative_thinking.rules import Rules

logger = neutral.logger(__name__)

# What the published files say about models and devices; a run has settings of its own for it.
DEPLOYMENT = {
    "mode": "backend",
    "target_model_name": "target",
    "speculative_model_name": "draft",
    "target_model_gpu": "target_devices",
    "speculative_model_gpu": "draft_devices",
    "target_base_gpu_id": "target_devices",
    "speculative_base_gpu_id": "draft_devices",
    "max_model_len": "max_length",
    "dtype": "dtype",
    "time_out": "sample_timeout",
}


def _optional(rule: msgspec.structs.FieldInfo) -> tuple[str, Any, None]:
    (meta,) = (meta for meta in rule.type.__metadata__ if meta.description is not None)
    kind = Annotated.__class_getitem__(  # type: ignore[attr-defined]
        (rule.type | None, msgspec.Meta(description=f"{meta.description} ({rule.default!r})"))
    )
    return rule.name, kind, None


class FileOptions(StrategyOptions, frozen=True, kw_only=True):
    """Options for every rule, and for a file with rules."""

    config: Annotated[
        str | None, msgspec.Meta(description="YAML file with the published field names")
    ] = None


SpeculativeThinkingOptions: type[FileOptions] = cast(
    type[FileOptions],
    msgspec.defstruct(
        "SpeculativeThinkingOptions",
        [_optional(rule) for rule in msgspec.structs.fields(Rules)],
        bases=(FileOptions,),
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        module=__name__,
        namespace={"__doc__": "Every field of `Rules`; None: the file's, else the published."},
    ),
)


def resolve(options: FileOptions) -> Rules:
    """Combine options, file and published values into the rules of a run.

    Raises:
        SettingError: the file cannot be read, or a field of it is wrong.
    """
    values = {} if options.config is None else _from_file(options.config)
    for name in Rules.__struct_fields__:
        value = getattr(options, name)
        if value is not None:
            values[name] = value
    rules = Rules(**values)
    for smallest, largest in (
        ("original_recap_token_num", "max_recap_token_num"),
        ("recap_after_negative_num", "max_negative_num"),
    ):
        if getattr(rules, smallest) > getattr(rules, largest):
            raise SettingError(
                f"{smallest}={getattr(rules, smallest)}: exceeds {largest}="
                f"{getattr(rules, largest)}; lower it, or raise {largest}"
            )
    return rules


def _from_file(path: str) -> dict[str, Any]:
    settings = load_yaml(Path(path), f"config: {path}")
    if not isinstance(settings, dict):
        raise SettingError(f"config: {path!r} holds no fields; it must map field names to values")
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name in DEPLOYMENT:
            _tell(path, str(name), value)
        elif name in Rules.__struct_fields__:
            # The published files write `null` where a field has no value.
            if value is not None:
                values[name] = value
        else:
            names = [*Rules.__struct_fields__, *DEPLOYMENT]
            raise UnknownSettingError(str(name), names, source=f"config {path}")
    return msgspec.structs.asdict(struct_from(Rules, values, f"config {path}"))


def _tell(path: str, name: str, value: Any) -> None:
    if name == "speculative_model_name" and value is None:
        raise SettingError(
            f"config {path}: speculative_model_name is null, which means the target alone: use "
            "strategy=target-only"
        )
    logger.info("config %s: %s=%s is not used; the run's own setting is `%s`",
                path, name, value, DEPLOYMENT[name])  # fmt: skip
