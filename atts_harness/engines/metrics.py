"""An engine's own figures from its `/metrics`, under names that are the same for every engine.

`running`, `waiting`: requests; `kv_usage`: share of the KV cache in use; `prompt_tokens`,
`cached_tokens`, `generation_tokens`, `preemptions`, `proposed_tokens` and `accepted_tokens` (by its
own speculative decoding): since the server's start. A figure that an engine does not have is left
out, never 0. Each engine's plugin maps the engine's names to these (`ServerKind.metrics`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from atts_harness import plugins
from atts_harness.errors import BackendError, MalformedReplyError

if TYPE_CHECKING:
    from atts_harness.engines.http import EngineHttp

STARTED = "process_start_time_seconds"
SHARES = frozenset({"kv_usage"})
_LINE = re.compile(r"^([\w:]+)(?:\{[^}]*\})?\s+(\S+)", re.MULTILINE)


def parse_figures(content: bytes, names: Mapping[str, str]) -> dict[str, float]:
    """The figures in a Prometheus text.

    Where a server has several lines of one name (data-parallel ranks, label sets), counts are added
    up, and the largest share is taken.

    Args:
        content: the reply.
        names: from the engine's names to those above.

    Raises:
        MalformedReplyError: it is not text, or a figure is not a finite number.
    """
    figures: dict[str, float] = {}
    for name, value in _lines(content):
        figure = names.get(name)
        if figure is None:
            continue
        number = _number(name, value)
        if figure in SHARES:
            figures[figure] = max(figures.get(figure, 0.0), number)
        else:
            figures[figure] = figures.get(figure, 0.0) + number
    return figures


async def process_start(http: EngineHttp) -> str | None:
    """When the server's process started, in seconds since 1970; None if `/metrics` lacks it."""
    try:
        lines = _lines(await http.exchange("GET", "/metrics"))
    except BackendError:
        return None
    starts = [value for name, value in lines if name == STARTED]
    return starts[0] if len(starts) == 1 else None


def names_of_engines() -> Mapping[str, str]:
    """Names of figures in every installed engine: a foreign server may run any of them."""
    names: dict[str, str] = {}
    for server in plugins.servers().values():
        names |= server.metrics
    return names


def _lines(content: bytes) -> list[tuple[str, str]]:
    try:
        return _LINE.findall(content.decode())
    except UnicodeDecodeError as error:
        raise MalformedReplyError(f"/metrics: not a text: {error}") from error


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MalformedReplyError(f"/metrics: {name} is {value[:40]!r}, which is not a number")
    return number
