"""Sampling on a server: what is sent, what it accepts, and the model's own defaults."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.backend import Sampling
from atts_harness.errors import BadRequestError, SettingError

# Ways to say that nothing but temperature and nucleus shapes a draw; the first one that a server
# takes is used. One that is not told takes what the model's generation configuration says.
PENALTIES = {"frequency_penalty": 0.0, "presence_penalty": 0.0}
NEUTRAL: tuple[dict[str, Any], ...] = (
    {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, **PENALTIES},
    {"top_k": 0, "min_p": 0.0, "repeat_penalty": 1.0, **PENALTIES},
    PENALTIES,
)
# What leaves a single token to draw, by the filter that is to do it.
NARROWEST: dict[str, float] = {"top_k": 1, "min_p": 1.0}
# The hottest that servers take: only a filter makes draws alike at it.
HOTTEST = 2.0
SEEDS = (11, 12)
# Keys of a generation configuration that shape a draw, with the values that do not.
INERT: dict[str, tuple[Any, ...]] = {
    "top_k": (None, 0, -1),
    "min_p": (None, 0, 0.0),
    "repetition_penalty": (None, 1, 1.0),
}

Draw = Callable[[dict[str, Any]], Awaitable[str]]


@dataclass(frozen=True)
class ServerSampling:
    """How a server draws.

    Attributes:
        neutral: fields that keep the model's own sampling defaults out.
        filters: which of `top_k` and `min_p` it takes; a field that it ignores is not among them.
    """

    neutral: tuple[tuple[str, Any], ...] = ()
    filters: tuple[str, ...] = ()

    def check(self, sampling: Sampling, name: str) -> None:
        """Refuse a filter that the server ignores.

        Raises:
            SettingError: names the setting.
        """
        for field in NARROWEST:
            if getattr(sampling, field) and field not in self.filters:
                raise SettingError(
                    f"{field}: the server at {name} does not take it; leave it out, or use a "
                    "backend that is made for this server"
                )

    def left_to_the_server(self, configured: Mapping[str, Any]) -> str | None:
        """A remark on sampling that the server may change unasked; None if there is none.

        Args:
            configured: the model's generation configuration, as far as it is known here.
        """
        neutral_names = {name for name, _ in self.neutral}
        silent = [
            name for name in NARROWEST if name not in neutral_names or name not in self.filters
        ]
        if not {"repetition_penalty", "repeat_penalty"} & neutral_names:
            silent.append("repetition_penalty")
        if not silent:
            return None
        non_neutral = {k: configured[k] for k in silent if configured.get(k) not in INERT[k]}
        says = ", ".join(f"{name}={value}" for name, value in non_neutral.items())
        source = f"the model's own file says {says}" if says else "and they are not known here"
        return (
            f"the server does not take {', '.join(silent)}: its defaults shape every draw, {source}"
        )


NOTHING_KNOWN = ServerSampling()


async def find_drawing(draw: Draw) -> ServerSampling:
    """Try out what a server takes, with draws of a few tokens.

    Each filter is tried with a value that leaves a single token. If the server obeys it, draws at a
    high temperature are the same for different seeds.

    Args:
        draw: writes a few tokens with these fields; raises `BadRequestError` for one it refuses.
    """
    neutral: dict[str, Any] = {}
    for fields in NEUTRAL:
        try:
            await draw({"temperature": 1.0, **fields})
        except BadRequestError:
            continue
        neutral = fields
        break
    filters = []
    for field, narrowest in NARROWEST.items():
        hot = {"temperature": HOTTEST, **neutral, field: narrowest}
        try:
            texts = {await draw({**hot, "seed": seed}) for seed in SEEDS}
        except BadRequestError:
            continue
        if len(texts) == 1:
            filters.append(field)
    return ServerSampling(tuple(neutral.items()), tuple(filters))


def generation_config(folder: Path | None) -> dict[str, Any]:
    """A model's generation configuration; empty where there is none to read."""
    try:
        path = None if folder is None else folder / "generation_config.json"
        values = {} if path is None else msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
