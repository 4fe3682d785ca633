"""A stand-in for the parts of vLLM that the plugin changes, and an engine that uses them.

It schedules as vLLM does as far as scores go: a prefix cache of whole blocks, prefills in chunks,
preemption, and both model runners' ways of returning rows. What one of them returns behind a cache
hit is memory never written; here it is a value that no score can be.
"""

import sys
import types
from collections import namedtuple
from types import SimpleNamespace

import numpy as np

BLOCK = 4
GARBAGE = 7.0
NEVER_WRITTEN = 10**12
Rows = namedtuple("Rows", ["ids", "logprobs", "ranks", "counts"], defaults=[None])


def value(ids, at):
    """Log-probability of the token at a position: it depends on all before it."""
    return -1.0 - (sum(ids[: at + 1]) % 97) / 10


def modules():
    """Fresh classes, by module name, as vLLM 0.31 and 0.32 have them."""

    class KVCacheCoordinator:
        def __init__(self):
            self.cached = set()

        def find_longest_cache_hit(self, block_hashes, max_cache_hit_length):
            hit = 0
            while (
                hit + BLOCK <= max_cache_hit_length and block_hashes[: hit + BLOCK] in self.cached
            ):
                hit += BLOCK
            return (["block"] * (hit // BLOCK),), hit, 0

    class KVCacheManager:
        def __init__(self):
            self.coordinator = KVCacheCoordinator()
            self.queried = self.hits = 0

        def get_computed_blocks(self, request):
            if request.skip_reading_prefix_cache:
                return ([],), 0, 0
            return self.coordinator.find_longest_cache_hit(request.ids, len(request.ids) - 1)

        def record_prefix_cache_stats(self, request, num_hits):
            if not request.skip_reading_prefix_cache:
                self.queried += len(request.ids)
                self.hits += num_hits

    class Scheduler:
        def __init__(self):
            self.requests = {}

        def update_from_output(self, scheduler_output, model_runner_output):
            return dict(model_runner_output.prompt_logprobs_dict)

    return {
        "vllm.v1.core.kv_cache_manager": {"KVCacheManager": KVCacheManager},
        "vllm.v1.core.kv_cache_coordinator": {"KVCacheCoordinator": KVCacheCoordinator},
        "vllm.v1.core.sched.scheduler": {"Scheduler": Scheduler},
    }


def put_in_place(monkeypatch, classes):
    """Make the classes importable under vLLM's names."""
    for name, members in classes.items():
        parts = name.split(".")
        for depth in range(1, len(parts)):
            package = types.ModuleType(".".join(parts[:depth]))
            package.__path__ = []
            monkeypatch.setitem(sys.modules, package.__name__, package)
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


def request(ids, *, logprobs=True, **extra):
    """A request as the scheduler holds it."""
    sampling = SimpleNamespace(prompt_logprobs=0 if logprobs else None, extra_args=extra or None)
    return SimpleNamespace(
        ids=tuple(ids),
        num_prompt_tokens=len(ids),
        sampling_params=sampling,
        skip_reading_prefix_cache=logprobs,
    )


class Engine:
    """One engine core.

    Args:
        classes: what `modules` made, changed by the plugin or not.
        runner: `v1` returns a row for every token but the first, `v2` none behind a cache hit.
        chunk: most tokens of a prefill in one step.
    """

    def __init__(self, classes, runner="v1", chunk=1000):
        self.manager = classes["vllm.v1.core.kv_cache_manager"]["KVCacheManager"]()
        self.scheduler = classes["vllm.v1.core.sched.scheduler"]["Scheduler"]()
        self.runner = runner
        self.chunk = chunk
        self.computed = 0

    def run(self, *asked, preempt_after=None):
        """Prefill requests side by side, a chunk of each a step; what each is answered.

        Args:
            asked: requests.
            preempt_after: steps after which all of them lose their blocks, once.
        """
        names = [f"r{n}" for n in range(len(asked))]
        self.scheduler.requests = dict(zip(names, asked, strict=True))
        kept = {
            name: np.full((len(r.ids) - 1, 1), GARBAGE)
            for name, r in self.scheduler.requests.items()
        }
        at, first, answers, step = {}, {}, {}, 0
        while len(answers) < len(asked):
            if step == preempt_after:
                at, first = {}, {}
            step += 1
            done = {}
            for name, r in self.scheduler.requests.items():
                if name in answers:
                    continue
                if name not in at:
                    _, at[name], _ = self.manager.get_computed_blocks(r)
                    self.manager.record_prefix_cache_stats(r, at[name])
                    first[name] = at[name]
                end = min(at[name] + self.chunk, len(r.ids))
                self.computed += end - at[name]
                for row in range(at[name], min(end, len(r.ids) - 1)):
                    kept[name][row] = value(r.ids, row + 1)
                at[name] = end
                if end == len(r.ids):
                    done[name] = self._rows(r, kept[name], first[name])
                    for size in range(BLOCK, end + 1, BLOCK):
                        self.manager.coordinator.cached.add(r.ids[:size])
            sent = SimpleNamespace(prompt_logprobs_dict={n: t for n, t in done.items() if t})
            told = self.scheduler.update_from_output(None, sent)
            answers |= {name: told.get(name) for name in done}
        return [answers[name] for name in names]

    def _rows(self, request, logprobs, first):
        if request.sampling_params.prompt_logprobs is None:
            return None
        ids = np.array(request.ids[1:]).reshape(-1, 1)
        if self.runner == "v1":
            ids[:first] = NEVER_WRITTEN
            return Rows(ids, logprobs, ids[:, 0])
        return Rows(ids[first:], logprobs[first:], ids[first:, 0])
