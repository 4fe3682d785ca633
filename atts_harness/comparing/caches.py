"""Empties the prefix caches of engines between cells, so that no cell gains from an earlier one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from atts_harness import plugins
from atts_harness.backend import ServerKind
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.options import EngineOptions, request_headers
from atts_harness.errors import AttsError, BackendError
from atts_harness.settings import parse_settings

# An engine may refuse for seconds, while a request is being aborted.
CLEAR_SECONDS = 8.0
PAUSE_SECONDS = 1.0
CLEARED = "cleared"
NOT_CLEARED = "not cleared"
OWN_PROCESS = "nothing to clear: the model is loaded by the cell itself"
BESIDE = f"{NOT_CLEARED}: cells run beside each other"


def clear_caches(settings: Mapping[str, Any], *, beside: bool = False) -> dict[str, str]:
    """Empty the prefix caches of the engines that a cell is about to use.

    Args:
        settings: the cell's `model_args`, with the servers' addresses.
        beside: whether other cells are using the engines now; then nothing is done.

    Returns:
        By role what was done: `cleared`, or why there was nothing to clear, or why it could not
        be done; the last begins with `NOT_CLEARED`.
    """
    return asyncio.run(_clear(settings, beside))


async def _clear(settings: Mapping[str, Any], beside: bool) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    by_url: dict[str, str] = {}
    for role, spec in parse_settings(settings).roles.items():
        options = spec.options
        if not isinstance(options, EngineOptions) or (url := options.url) is None:
            outcomes[role] = OWN_PROCESS
            continue
        if beside:
            outcomes[role] = BESIDE
            continue
        if url not in by_url:
            by_url[url] = await _clear_one(plugins.servers().get(spec.kind), url, options)
        outcomes[role] = by_url[url]
    return outcomes


async def _clear_one(engine: ServerKind | None, url: str, options: EngineOptions) -> str:
    if engine is None or engine.clear_cache is None:
        return f"{NOT_CLEARED}: no way is known for this engine"
    http = EngineHttp(url, headers=request_headers(options), timeout=CLEAR_SECONDS)
    deadline = time.monotonic() + CLEAR_SECONDS
    try:
        while True:
            try:
                await http.exchange("POST", engine.clear_cache)
                return CLEARED
            except BackendError as error:
                if ": 404 " in str(error) and engine.clear_cache_needs:
                    needs = " ".join(f"{k}={v}" for k, v in engine.clear_cache_needs.items())
                    return f"{NOT_CLEARED}: the server was started without {needs}"
                if time.monotonic() > deadline:
                    return f"{NOT_CLEARED}: {error}"
            await asyncio.sleep(PAUSE_SECONDS)
    except AttsError as error:
        return f"{NOT_CLEARED}: {error}"
    finally:
        await http.aclose()
