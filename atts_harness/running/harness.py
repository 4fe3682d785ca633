"""A run from the outside: opens backends, runs groups in a loop of its own, closes everything.

The event loop lives in a thread of its own, so that the harness works from a script, from
lm-eval and from a notebook whose loop is already running.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import importlib.metadata
import platform
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from atts_harness import neutral, plugins
from atts_harness._version import __version__
from atts_harness.backend import Backend, BackendSpec, Role
from atts_harness.errors import (
    ContextLengthError,
    SettingError,
)
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.hashing import documents_hash
from atts_harness.journal.identity import REPLIES
from atts_harness.journal.provenance import run_provenance
from atts_harness.ledger.prices import prices_of
from atts_harness.records import RunRecord, SampleRecord
from atts_harness.running.extraction import open_extractor
from atts_harness.running.observers import Observers
from atts_harness.running.session import RunSummary, Session
from atts_harness.settings import Settings
from atts_harness.strategy import Group, RunInfo, Strategy

T = TypeVar("T")
logger = neutral.logger("atts_harness.running")

CLOSE_SECONDS = 15.0
HURRIED_SECONDS = 2.0


class Harness:
    """One set of models and settings, ready to run groups.

    Use as a context manager. `backends` are open, and the run directory is locked, as long as
    it is. `summary` is that of the last run.

    Raises:
        SettingError: the settings do not fit together, or a model cannot be opened.
        RunDirError: the run directory cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.backends: dict[Role, Backend] = {}
        self._provenance: dict[str, dict[str, Any]] = {}
        self.summary = RunSummary()
        self._hurried = False
        run = settings.run
        # A malformed price or a missing endpoint surfaces now, not after the models are loaded.
        prices_of(run)
        self.extractor = open_extractor(run)
        self._directory = (
            None if run.run_dir is None else RunDirectory(Path(run.run_dir), resume=run.resume)
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="atts", daemon=True)
        self._thread.start()
        try:
            self.backends = self._await(self._open())
        except BaseException:
            self._stop_loop()
            self._release_directory()
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
        made_with = run_provenance(self.backends, options, sampling, provenance)
        self._provenance[str(provenance.get("task", ""))] = made_with
        run = RunInfo(
            seed=self.settings.run.seed,
            provenance={
                "roles": {role: b.identity.record() for role, b in self.backends.items()},
                **made_with,
            },
            tokenizers={role: b.tokenizer for role, b in self.backends.items()},
        )
        return self.settings.strategy(options, run)

    def run(
        self, groups: Sequence[Group], observers: Observers | None = None, *, show: bool = True
    ) -> list[SampleRecord]:
        """Produce every sample of every group, in order.

        Ctrl-C and SIGTERM are handled meanwhile, where this is the main thread. `summary` tells
        afterwards how it went, also if this raises.

        Args:
            groups: problems with their samples and strategy.
            observers: who is told; by default the plugins' hooks.
            show: whether to show progress, in the way the setting `progress` says.

        Raises:
            SettingError: a problem cannot fit a model's context; nothing was generated.
            RunIncompleteError: not all samples were finished; has their names, an exit status
                for the process and, in its message, the command to resume.
            JournalError: the run directory cannot be written, or holds something else.
        """
        self._check_contexts(groups)
        session = Session(
            groups,
            self.record(groups),
            self.backends,
            self.settings.run,
            self._directory,
            observers,
            show,
            self.extractor,
        )
        self.summary = session.summary
        try:
            return session.run(self._await)
        finally:
            self._hurried = session.hurried

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine in the harness's loop (a single score, a probe)."""
        return self._await(work())

    def record(self, groups: Sequence[Group]) -> RunRecord:
        """What is being run."""
        tasks: dict[str, dict[str, Any]] = {}
        prompts: dict[str, list[str]] = {}
        for group in groups:
            prompts.setdefault(group.problem.task, []).append(group.problem.prompt_hash)
            entry = tasks.setdefault(group.problem.task, _task_entry(group))
            entry["problems"] += 1
            entry["samples"] += len(group.samples)
            # A bank made from this run later has to say what its scores depend on.
            entry["provenance"] = self._provenance.get(group.problem.task, {})
        for task, hashes in prompts.items():
            tasks[task]["documents"] = documents_hash(hashes)
        return RunRecord(
            harness=__version__,
            replies=REPLIES,
            strategy=self.settings.strategy.name,
            options=msgspec.to_builtins(self.settings.options()),
            settings=msgspec.to_builtins(self.settings.run),
            roles={role: b.identity.record() for role, b in self.backends.items()},
            tasks=tasks,
            environment=_environment(),
            started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            extractor={} if self.extractor is None else self.extractor.identity.record(),
        )

    def close(self) -> None:
        """Close the backends and the loop."""
        if self._loop.is_closed():
            return
        try:
            self._await(self._close())
        finally:
            self._stop_loop()
            self._release_directory()

    async def _open(self) -> dict[Role, Backend]:
        opened: dict[BackendSpec, Backend] = {}
        recorded = None if self._directory is None else self._directory.recorded()
        before = {} if recorded is None else recorded.roles
        try:
            for role, spec in self.settings.roles.items():
                if spec not in opened:
                    # A template with a date goes on with the date of the run's beginning.
                    moment = before.get(role, {}).get("moment")
                    wanted = dataclasses.replace(spec, moment=moment)
                    opened[spec] = await plugins.backend(spec.kind).open(wanted)
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
            for role in group.strategy.roles:
                backend = self.backends[role]
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
        limit = HURRIED_SECONDS if self._hurried else CLOSE_SECONDS
        opened = [*self.backends.values(), *([self.extractor] if self.extractor else [])]
        for backend in {id(b): b for b in opened}.values():
            try:
                async with asyncio.timeout(limit):
                    await backend.aclose()
            except TimeoutError:
                logger.warning("%s: did not close within %g s", backend.identity.model, limit)

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()  # when this thread was interrupted; else it is done

    def _stop_loop(self) -> None:
        """Cancel what still runs, let it clean up for a moment, end the thread."""
        end = asyncio.run_coroutine_threadsafe(_cancel_all(HURRIED_SECONDS), self._loop)
        try:
            end.result(HURRIED_SECONDS + 1)
        except TimeoutError:
            logger.warning("the event loop is blocked; leaving it behind")
            return  # its thread is a daemon
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _release_directory(self) -> None:
        if self._directory is not None:
            self._directory.close()


def _task_entry(group: Group) -> dict[str, Any]:
    problem = group.problem
    return {
        "problems": 0,
        "samples": 0,
        "max_tokens": problem.max_tokens,
        "until": list(problem.until),
        "sampling": {role: msgspec.to_builtins(s) for role, s in problem.sampling.items()},
        "options": msgspec.to_builtins(group.strategy.options),
        "nominal_rate": group.strategy.nominal_rate,
    }


async def _cancel_all(seconds: float) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in plugins.packages():
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # optional; its absence is the information
    return versions
