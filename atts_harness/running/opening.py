"""Opens the models of a run, checks what fits them, makes their engines and the run's record."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import importlib.metadata
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from atts_harness import neutral, plugins
from atts_harness._version import __version__
from atts_harness.backend import Backend, BackendOptions, BackendSpec, Role
from atts_harness.errors import ContextLengthError, SettingError
from atts_harness.grading.extraction import extractors_of
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.identity import REPLIES
from atts_harness.journal.plan import task_entry
from atts_harness.journal.provenance import run_provenance
from atts_harness.lanes import lanes_of
from atts_harness.records import RunRecord
from atts_harness.running.clock import Clock
from atts_harness.running.engine import Engine
from atts_harness.running.slots import Slots
from atts_harness.settings import RunOptions, Settings
from atts_harness.strategy import Group, RunInfo, Strategy

logger = neutral.logger("atts_harness.running")


@dataclass
class RunModels:
    """The open models of a run.

    Attributes:
        settings: the run's.
        backends: by role.
        extractor: the model that extracts answers when samples end, if one does.
    """

    settings: Settings
    backends: dict[Role, Backend]
    extractor: Backend | None = None
    _provenance: dict[str, dict[str, Any]] = field(default_factory=dict)

    def strategy(self, task: Mapping[str, Any], provenance: Mapping[str, Any]) -> Strategy:
        """An instance of the strategy for tasks with the generation settings `task`.

        Args:
            task: the task's `generation_kwargs`.
            provenance: prompt and task; a bank must agree with them, as with models and sampling.

        Raises:
            SettingError: options exclude each other.
        """
        options = self.settings.options(task).checked()
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
            extractor=extractors_of(self.settings.run.extractor)[0],
            one_at_a_time=self._one_at_a_time,
        )
        return self.settings.strategy(options, run)

    @property
    def _one_at_a_time(self) -> bool:
        options = self.settings.run
        bounds = [options.engine_concurrency]
        if "draft" not in self.backends:
            bounds.append(options.target_concurrency)
        return len({id(backend) for backend in self.backends.values()}) == 1 and 1 in bounds

    def record(self, groups: Sequence[Group]) -> RunRecord:
        """The record of a run of these groups: versions, settings, models, tasks."""
        by_task: dict[str, list[Group]] = {}
        for group in groups:
            by_task.setdefault(group.problem.task, []).append(group)
        return RunRecord(
            harness=__version__,
            replies=REPLIES,
            strategy=self.settings.strategy.name,
            options=msgspec.to_builtins(self.settings.options()),
            settings=msgspec.to_builtins(self.settings.run),
            roles={role: b.identity.record() for role, b in self.backends.items()},
            # A bank that is made from this run later records what its scores depend on.
            tasks={
                task: task_entry(task_groups, self._provenance.get(task, {}))
                for task, task_groups in by_task.items()
            },
            environment=_environment(),
            started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            extractor={} if self.extractor is None else self.extractor.identity.record(),
        )

    async def aclose(self, limit: float) -> None:
        """Close the models; each gets `limit` seconds."""
        opened = [*self.backends.values(), *([self.extractor] if self.extractor else [])]
        for backend in {id(b): b for b in opened}.values():
            try:
                async with asyncio.timeout(limit):
                    await backend.aclose()
            except TimeoutError:
                logger.warning("%s: did not close within %g s", backend.identity.model, limit)


async def open_models(
    settings: Settings,
    extractor: Backend | None = None,
    directory: RunDirectory | None = None,
    opened: dict[BackendSpec[BackendOptions], Backend] | None = None,
) -> RunModels:
    """Open the models of a run; roles with equal specifications share one.

    Args:
        settings: the run's.
        extractor: the model that extracts answers, open already.
        directory: where it is recorded; a run that is continued keeps its templates' dates.
        opened: backends that are open already, to share; new ones are added.

    Raises:
        SettingError: a model cannot be opened, or cannot do what the strategy needs.
    """
    already_open = {} if opened is None else opened
    newly_open: dict[BackendSpec[BackendOptions], Backend] = {}
    recorded = None if directory is None else directory.recorded()
    before = {} if recorded is None else recorded.roles
    try:
        for role, spec in settings.roles.items():
            if spec not in already_open and spec not in newly_open:
                # A template with a date goes on with the date of the run's beginning.
                moment = before.get(role, {}).get("moment")
                dated_spec = dataclasses.replace(spec, moment=moment)
                newly_open[spec] = await plugins.backend(spec.kind).open(dated_spec)
        backends = {
            role: (already_open | newly_open)[spec] for role, spec in settings.roles.items()
        }
        _check_abilities(settings.strategy, backends)
    except BaseException:
        for backend in newly_open.values():
            await backend.aclose()
        raise
    already_open |= newly_open
    return RunModels(settings, backends, extractor)


def check_contexts(groups: Iterable[Group], backends: Mapping[Role, Backend]) -> None:
    """Check that every problem fits its models, before anything is generated.

    Raises:
        SettingError: a prompt is empty, or the strategy cannot work on a problem.
        ContextLengthError: a prompt, or its budget, does not fit a model's context.
    """
    for group in groups:
        problem = group.problem
        group.strategy.check(problem, len(group.samples))
        for role in group.strategy.roles:
            backend = backends[role]
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


def engines_of(
    backends: Mapping[Role, Backend], options: RunOptions, clock: Clock
) -> dict[Role, Engine]:
    """Engines by role; roles that share a backend share its slots."""
    engines: dict[int, Engine] = {}
    for role, backend in backends.items():
        if id(backend) in engines:
            engines[id(backend)].name += f" and {role}"
            continue
        slots = Slots(
            lanes_of(options),
            total=options.engine_concurrency,
            target=options.target_concurrency,
        )
        engines[id(backend)] = engine_of(role, backend, slots, options, clock)
    return {role: engines[id(backend)] for role, backend in backends.items()}


def engine_of(
    name: str, backend: Backend, slots: Slots, options: RunOptions, clock: Clock
) -> Engine:
    """A backend with its slots, time limits and the watch over it."""
    return Engine(
        name=name,
        backend=backend,
        slots=slots,
        clock=clock,
        timeout=options.timeout,
        patience=options.engine_timeout,
        stall=options.stall_timeout or options.timeout,
    )


def _check_abilities(strategy: type[Strategy], backends: Mapping[Role, Backend]) -> None:
    if strategy.scores and not backends["target"].capabilities.scores:
        raise SettingError(
            f"target: strategy {strategy.name} needs log-probabilities of prompt tokens, and "
            "this server gives none; it may serve as a draft only"
        )
    for role, backend in backends.items():
        most = backend.capabilities.top_logprobs
        if most < strategy.top_logprobs:
            raise SettingError(
                f"{role}: strategy {strategy.name} needs the {strategy.top_logprobs} likeliest "
                f"candidates of each generated token, and this server gives at most {most}; use "
                f"another {role}_backend, or start the server with more (--max-logprobs of vLLM)"
            )


def _environment() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in plugins.packages():
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # optional; its absence is the information
    return versions
