"""Scores that read vLLM's prefix cache: a plugin of vLLM, loaded in each of its processes.

vLLM computes a request with `prompt_logprobs` from its first token on: what comes from the prefix
cache has no log-probabilities. A score needs those of its last tokens only. With this plugin a
request says where they begin (`vllm_xargs: {"atts_score_from": N}` beside `prompt_logprobs: 0`);
the cache is then read up to token N - 1 and no further, so that every token from N on is computed,
and the reply holds their rows and no others: `[null, row of token N, row of N + 1, ...]`.

Both changes are made in the scheduler, in the process of the engine core, so they hold for either
model runner. A row is never made up: where the engine returns fewer than were asked for, the reply
has none, and the client sees that it is short.

The plugin does nothing unless `ATTS_VLLM_TAIL=1`; vLLM's own `VLLM_PLUGINS` may leave it out. It
changes nothing where a method is missing or takes other parameters than it expects, says so in the
log, and never raises: then such a request is computed whole, and its reply has a row for every
token.

Only the standard library and vLLM are imported here: `pip install --no-deps` puts this file beside
an engine, and a server that a run starts finds it by PYTHONPATH.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

VARIABLE = "ATTS_VLLM_TAIL"
ARGUMENT = "atts_score_from"
MARK = "_atts_tail"
logger = logging.getLogger("vllm.atts_tail")  # below "vllm", whose messages go to the server's log

# Module, class, method, and the names that its parameters must begin with.
METHODS = (
    ("vllm.v1.core.kv_cache_manager", "KVCacheManager", "get_computed_blocks", ("request",)),
    (
        "vllm.v1.core.kv_cache_manager",
        "KVCacheManager",
        "record_prefix_cache_stats",
        ("request", "num_hits"),
    ),
    (
        "vllm.v1.core.sched.scheduler",
        "Scheduler",
        "update_from_output",
        ("scheduler_output", "model_runner_output"),
    ),
    # Not replaced here, but limited during a lookup.
    (
        "vllm.v1.core.kv_cache_coordinator",
        "KVCacheCoordinator",
        "find_longest_cache_hit",
        ("block_hashes", "max_cache_hit_length"),
    ),
)


def install() -> None:
    """Change this process's scheduler, if `ATTS_VLLM_TAIL=1`; vLLM calls it, more than once."""
    if os.environ.get(VARIABLE) != "1":
        return
    try:
        missing = _install()
    except Exception as error:  # of any kind: an engine must not end by a plugin
        missing = f"{type(error).__name__}: {error}"
    if missing:
        logger.warning("atts_tail: scores do not read the prefix cache here (%s)", missing)


def _install() -> str:
    """Change all of the classes or none; return what is missing, or an empty text."""
    classes: dict[str, Any] = {}
    for module, name, method, parameters in METHODS:
        classes[name] = owner = getattr(import_module(module), name)
        function = getattr(owner, method, None)
        if function is None:
            return f"{name} has no {method}"
        if getattr(function, MARK, False):
            return ""  # installed already
        takes = tuple(inspect.signature(function).parameters)[1:]
        if takes[: len(parameters)] != parameters:
            return f"{name}.{method} takes {', '.join(takes)}"
    manager, scheduler = classes["KVCacheManager"], classes["Scheduler"]
    _replace(manager, "get_computed_blocks", _reading_up_to_the_tail)
    _replace(manager, "record_prefix_cache_stats", _counting)
    _replace(scheduler, "update_from_output", _returning_the_tail)
    logger.info("atts_tail: scores that name where they begin read the prefix cache")
    return ""


def _replace(
    owner: Any, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    original = getattr(owner, name)
    wrapper = functools.wraps(original)(wrap(original))
    setattr(wrapper, MARK, True)
    setattr(owner, name, wrapper)


def tail_start(request: Any) -> int | None:
    """Index of the first token whose log-probability is asked for; None for all other requests.

    An impossible value is ignored.
    """
    sampling = getattr(request, "sampling_params", None)
    if sampling is None or sampling.prompt_logprobs is None:
        return None
    start = (sampling.extra_args or {}).get(ARGUMENT)
    if type(start) is not int or not 1 <= start < request.num_prompt_tokens:
        return None
    return start


def _reading_up_to_the_tail(original: Callable[..., Any]) -> Callable[..., Any]:
    """For `KVCacheManager.get_computed_blocks`: tokens in the cache, as (blocks, number, ...)."""

    def get_computed_blocks(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        start = tail_start(request)
        if start is None:
            return original(self, request, *args, **kwargs)
        most = start - 1  # the logits of token start - 1 score the first token of the tail
        coordinator = self.coordinator
        find = coordinator.find_longest_cache_hit

        def limited(block_hashes: Any, max_cache_hit_length: int, *args: Any, **kwargs: Any) -> Any:
            return find(block_hashes, min(max_cache_hit_length, most), *args, **kwargs)

        coordinator.find_longest_cache_hit = limited
        skipping = request.skip_reading_prefix_cache
        # Only here: elsewhere it keeps outside stores of KV blocks, which know no limit, out.
        request.skip_reading_prefix_cache = False
        try:
            blocks = original(self, request, *args, **kwargs)
        finally:
            request.skip_reading_prefix_cache = skipping
            del coordinator.find_longest_cache_hit  # the class's own again
        if blocks[1] > most:
            return original(self, request, *args, **kwargs)  # without the cache
        return blocks

    return get_computed_blocks


def _counting(original: Callable[..., Any]) -> Callable[..., Any]:
    """For `KVCacheManager.record_prefix_cache_stats`, which leaves out what reads no cache."""

    def record_prefix_cache_stats(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if tail_start(request) is None:
            return original(self, request, *args, **kwargs)
        skipping = request.skip_reading_prefix_cache
        request.skip_reading_prefix_cache = False
        try:
            return original(self, request, *args, **kwargs)
        finally:
            request.skip_reading_prefix_cache = skipping

    return record_prefix_cache_stats


def _returning_the_tail(original: Callable[..., Any]) -> Callable[..., Any]:
    """For `Scheduler.update_from_output`, which sends a step's results to the clients."""

    def update_from_output(
        self: Any, scheduler_output: Any, model_runner_output: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if model_runner_output.prompt_logprobs_dict:
            keep_tails(model_runner_output.prompt_logprobs_dict, self.requests)
        return original(self, scheduler_output, model_runner_output, *args, **kwargs)

    return update_from_output


def keep_tails(rows: dict[str, Any], requests: Mapping[str, Any]) -> None:
    """Leave only the tail's rows in what a step returns.

    The last row always belongs to the last token. One runner returns a row for every token of the
    prompt but the first, with memory never written where the cache was read; the other returns
    none for those. In both the tail's rows are the last ones.

    Args:
        rows: by request; named tuples that begin with three tensors (ids, log-probabilities,
            ranks), a row for each token.
        requests: the scheduler's, by the same ids.
    """
    for name, tensors in list(rows.items()):
        request: Any = requests.get(name)
        start = tail_start(request)
        if start is None or tensors is None:
            continue
        try:
            before = len(tensors.logprobs) - (request.num_prompt_tokens - start)
            if before < 0:
                raise ValueError(f"{-before} rows are missing")
            rows[name] = type(tensors)(*(tensor[before:] for tensor in tensors[:3]))
        except Exception as error:  # no rows rather than wrong ones, or an engine that ends
            del rows[name]
            logger.warning("atts_tail: no rows for request %s (%s)", name, error)
