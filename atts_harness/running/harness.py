"""A run from the outside: opens backends, runs groups in a loop of its own, closes everything.

The event loop lives in a thread of its own, so that the harness works from a script, from
lm-eval and from a notebook whose loop is already running.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import platform
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

import msgspec

from atts_harness import plugins
from atts_harness._version import __version__
from atts_harness.backend import Backend, BackendSpec, Role
from atts_harness.errors import ContextLengthError, SettingError
from atts_harness.records import RunRecord, SampleRecord
from atts_harness.running.journal import Journal, MemoryJournal
from atts_harness.running.scheduler import Observers, run_groups
from atts_harness.settings import Settings
from atts_harness.strategy import Group, RunInfo, Strategy

T = TypeVar("T")
PACKAGES = ("lm-eval", "torch", "transformers", "vllm", "sglang", "flashinfer-python")


class Harness:
    """One set of models and settings, ready to run groups.

    Use as a context manager. `backends` are open as long as it is.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.backends: dict[Role, Backend] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="atts", daemon=True)
        self._thread.start()
        try:
            self.backends = self._await(self._open())
        except BaseException:
            self._stop_loop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def strategy(self, task: Mapping[str, Any], provenance: Mapping[str, Any]) -> Strategy:
        """An instance of the strategy for tasks with the generation settings `task`.

        Args:
            task: the task's `generation_kwargs`.
            provenance: what a bank must agree with beside models and sampling: prompt, task.
        """
        options = self.settings.options(task)
        sampling = self.settings.sampling(task)
        run = RunInfo(
            seed=self.settings.run.seed,
            provenance={
                "roles": {role: dict(b.describe()) for role, b in self.backends.items()},
                "templates": {
                    role: b.tokenizer.template_fingerprint for role, b in self.backends.items()
                },
                "sampling": {r: msgspec.to_builtins(s) for r, s in sampling.items()},
                **provenance,
            },
            tokenizers={role: b.tokenizer for role, b in self.backends.items()},
        )
        return self.settings.strategy(options, run)

    def run(
        self, groups: Sequence[Group], observers: Observers | None = None
    ) -> list[SampleRecord]:
        """Produce every sample of every group, in order.

        Raises:
            SettingError: a problem cannot fit a model's context; nothing was generated.
        """
        self._check_contexts(groups)
        journal: Journal = MemoryJournal()
        hooks = plugins.manager().hook
        watchers = Observers(
            call=[lambda r: hooks.atts_call_finished(record=r)],
            decision=[lambda r: hooks.atts_decision_made(record=r)],
            sample=[lambda r: hooks.atts_sample_finished(record=r)],
        )
        record = self.record(groups)
        hooks.atts_run_started(run=record)
        try:
            return self._await(
                run_groups(groups, self.backends, self.settings.run, journal, observers or watchers)
            )
        finally:
            journal.close()

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the harness's loop (a single score, a probe)."""
        return self._await(work())

    def record(self, groups: Sequence[Group]) -> RunRecord:
        """What is being run."""
        tasks: dict[str, dict[str, Any]] = {}
        for group in groups:
            entry = tasks.setdefault(
                group.problem.task,
                {"problems": 0, "samples": 0, "max_tokens": group.problem.max_tokens},
            )
            entry["problems"] += 1
            entry["samples"] += len(group.samples)
        return RunRecord(
            harness=__version__,
            strategy=self.settings.strategy.name,
            options=msgspec.to_builtins(self.settings.options()),
            settings=msgspec.to_builtins(self.settings.run),
            roles={role: dict(b.describe()) for role, b in self.backends.items()},
            tasks=tasks,
            environment=_environment(),
            started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )

    def close(self) -> None:
        """Close the backends and the loop."""
        if self._loop.is_closed():
            return
        try:
            self._await(self._close())
        finally:
            self._stop_loop()

    async def _open(self) -> dict[Role, Backend]:
        opened: dict[BackendSpec, Backend] = {}
        try:
            for spec in self.settings.roles.values():
                if spec not in opened:
                    opened[spec] = await plugins.backend(spec.kind).open(spec)
            backends = {role: opened[spec] for role, spec in self.settings.roles.items()}
            self._check_scoring(backends)
        except BaseException:
            for backend in opened.values():
                await backend.aclose()
            raise
        return backends

    def _check_scoring(self, backends: Mapping[Role, Backend]) -> None:
        strategy = self.settings.strategy
        if strategy.scores and not backends["target"].capabilities.scores:
            raise SettingError(
                f"target: strategy {strategy.name} needs log-probabilities of prompt tokens, and "
                "this server gives none; it may serve as a draft only"
            )

    def _check_contexts(self, groups: Sequence[Group]) -> None:
        for group in groups:
            problem = group.problem
            for role, backend in self.backends.items():
                prompt = len(problem.prompt.ids_in(backend.tokenizer))
                if prompt == 0:
                    raise SettingError(
                        f"task {problem.task}: the prompt of document {problem.doc} is empty"
                    )
                if prompt >= backend.max_length:
                    raise ContextLengthError(
                        f"task {problem.task}: the prompt of document {problem.doc} has {prompt} "
                        f"tokens; the {role}'s context holds {backend.max_length}"
                    )
                if prompt + problem.max_tokens > backend.max_length:
                    raise ContextLengthError(
                        f"max_gen_toks={problem.max_tokens}: with a prompt of {prompt} tokens it "
                        f"exceeds the {role}'s context of {backend.max_length}; at most "
                        f"max_gen_toks={backend.max_length - prompt} fits"
                    )

    async def _close(self) -> None:
        for backend in {id(b): b for b in self.backends.values()}.values():
            await backend.aclose()

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # optional; its absence is the information
    return versions
