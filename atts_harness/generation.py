"""A task's generation settings, for models that know strategies and for models that do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atts_harness import plugins


class GenerationSettings(dict[str, Any]):
    """`generation_kwargs` as any lm-eval model takes them; strategies' options stand beside.

    Other models hand every key on to their engine, which refuses what it does not know; so options
    of strategies are not keys.

    Attributes:
        strategies: options of strategies, which `all_settings` puts back.
    """

    strategies: dict[str, Any]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> GenerationSettings:
        """Settings, with the options of installed strategies set apart."""
        options = {
            name
            for strategy in plugins.strategies().values()
            for name in strategy.value.Options.__struct_fields__
        }
        generation = cls({name: value for name, value in settings.items() if name not in options})
        generation.strategies = {name: value for name, value in settings.items() if name in options}
        return generation


def all_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a request asks for, options of strategies included."""
    beside = settings.strategies if isinstance(settings, GenerationSettings) else {}
    return {**beside, **settings}
