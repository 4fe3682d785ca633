"""Checks lm-eval's flags and the process before any model is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from atts_harness import neutral
from atts_harness.errors import SettingError
from atts_harness.grading.extraction import extractors_of
from atts_harness.settings import Settings, convert, parse_settings

log = neutral.logger("lm_eval.atts")

# What lm-eval's command passes when nobody gave the flag.
UNSAID_DEVICE = "cuda:0"
UNSAID_BATCH = 1


def refuse_many_processes(environment: Mapping[str, str] = os.environ) -> None:
    """Refuse to be one of several data-parallel processes.

    Raises:
        SettingError: `torchrun` or `accelerate launch` started more than one process.
    """
    size = environment.get("WORLD_SIZE", "1")
    if size.isdecimal() and int(size) > 1:
        raise SettingError(
            f"world_size={size}: one process drives all engines; start lm_eval without torchrun or "
            "accelerate, and put a router before copies of an engine (draft_url, target_url)"
        )


def changed_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that lm-eval passes beside `model_args` and that differ from its defaults."""
    defaults = {"device": UNSAID_DEVICE, "batch_size": UNSAID_BATCH}
    return {
        name: value
        for name, value in flags.items()
        if value is not None and str(value) != str(defaults.get(name))
    }


def settings_for(
    model_args: Mapping[str, Any],
    *,
    batch_size: int | str | None = None,
    max_batch_size: int | None = None,
    device: str | None = None,
) -> Settings:
    """Checked settings, with lm-eval's own flags worked in.

    `--batch_size N` bounds the samples in progress (`live_samples`): requests of many samples are
    batched by the engine, as they come and go, and not by lm-eval. `--device`,
    `--max_batch_size` and `--trust_remote_code` go to the backends that have such a setting.

    Raises:
        SettingError: one line that names the setting and the remedy.
    """
    args = dict(model_args)
    if (live := _batch(batch_size)) is not None:
        args.setdefault("live_samples", live)
    soft = {
        "device": device,
        "max_batch_size": max_batch_size,
        "trust_remote_code": args.pop("trust_remote_code", None),
    }
    settings = parse_settings(args)
    extractors_of(settings.run.extractor)  # an unknown name surfaces before anything is opened
    accepted = {name for s in settings.roles.values() for name in s.options.__struct_fields__}
    for name, value in soft.items():
        if value is not None and name in accepted:
            args[name] = value
        elif value is not None:
            log.warning("--%s: no backend of this run has such a setting; not used", name)
    return parse_settings(args)


def _batch(value: int | str | None) -> int | None:
    if value is None or str(value).split(":")[0] == "auto":
        return None
    size = int(convert("batch_size", value, int))
    if size < 1:
        raise SettingError(f"batch_size: must be at least 1, or auto (got {value!r})")
    return size
