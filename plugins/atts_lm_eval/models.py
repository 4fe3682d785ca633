"""The lm-eval models by name: `atts_lm_eval.models:atts`, `:draft_only`, ...

What the entry points of the group `lm_eval.models` name. A strategy's model is made when it is
asked for, so a third party's strategy needs no more than the line

    [project.entry-points."lm_eval.models"]
    my-strategy = "atts_lm_eval.models:my_strategy"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atts_lm_eval.model import AttsLM


def __getattr__(name: str) -> type[AttsLM]:
    """The model class of the strategy whose name is `name` with hyphens for underscores."""
    from atts_harness import plugins
    from atts_lm_eval.bridge import target_of

    if not name.startswith("__"):
        for strategy in plugins.strategies():
            if target_of(strategy).endswith(f":{name}"):
                from atts_lm_eval.model import model_class

                return model_class(strategy)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
