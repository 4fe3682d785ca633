"""`atts measure`: what calls cost on running engines, for `atts plan --cost`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness.hookspecs import Stage

if TYPE_CHECKING:
    from atts_harness.engines.backend import EngineBackend
    from atts_harness.simulation.costfile import EngineCosts
    from atts_harness.simulation.measure import Round

POOR = 0.25
"""Mean relative error of a fit from which on it is said to be poor."""
ALONE = "engine"
"""What the costs of a server without a role are called."""


def measure_command(app: typer.Typer) -> None:
    """Add `atts measure`."""
    app.command(
        "measure",
        rich_help_panel=Stage.PREPARE,
        epilog="Example: atts measure draft=http://127.0.0.1:30000 target=http://127.0.0.1:30001",
    )(measure)


def measure(
    servers: Annotated[
        list[str],
        typer.Argument(help="running servers: draft=URL target=URL, measured at once, or one URL"),
    ],
    out: Annotated[Path, typer.Option(help="folder for the files, ROLE.json")] = Path("costs"),
    seconds: Annotated[
        float, typer.Option(min=5, max=600, help="after so long no further request is sent")
    ] = 60.0,
    batch: Annotated[int, typer.Option(min=1, help="most requests at once")] = 16,
    backend: Annotated[
        str | None, typer.Option(help="as in backend=NAME; default: recognised")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--served-model-name", help="name to ask for, where a server lists none or several"
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="folder or hub id of the served models' tokenizer")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option(help="context window, if the server does not report one")
    ] = None,
    headers_env: Annotated[
        str | None, typer.Option(help="environment variable with further headers, a JSON object")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="seconds a server may take until it is open")
    ] = 60.0,
) -> None:
    """Measure what a step costs on running engines that nobody else uses, in about a minute."""
    from atts_harness.simulation.costfile import write_costs

    named = _named(servers)
    _prepare(out)
    options: dict[str, Any] = {"tokenizer": tokenizer, "max_length": max_length, "model": model}
    options |= {"headers_env": headers_env, "timeout": timeout}
    arguments = []
    for role, timed in measured_engines(named, backend, options, seconds, batch).items():
        costs = timed.costs()
        path = out / f"{role}.json"
        write_costs(costs, path)
        typer.echo(_words(role, costs))
        arguments.append(f"--cost {'ROLE' if role == ALONE else role}={path}")
    typer.echo(f"written; use them by: atts plan ... {' '.join(arguments)}")


def measured_engines(
    servers: Mapping[str, str],
    backend: str | None,
    options: Mapping[str, Any],
    seconds: float,
    batch: int,
) -> dict[str, TimedRounds]:
    """Measure engines at once, for in a run they are busy at once, too.

    Args:
        servers: addresses by role.
        backend: as in `backend=NAME`; None: recognised.
        options: options of the backends by name, `model`, `headers_env` and `timeout` among them.
        seconds: after so long no further request is sent.
        batch: most requests at once.

    Returns:
        By role what was sent and how long it took; `costs` fits it.

    Raises:
        SettingError: a server cannot be used.
        BackendError: a call failed.
    """
    return asyncio.run(_measured(servers, backend, options, seconds, batch))


@dataclass(frozen=True)
class TimedRounds:
    """Rounds of one engine, and the seconds of each."""

    rounds: Sequence[Round]
    seconds: Sequence[float]
    engine: str
    model: str
    scores_read_cache: bool
    mixed_steps: bool

    def costs(self) -> EngineCosts:
        """The costs that explain the seconds best.

        Raises:
            SettingError: too little fitted into the time.
        """
        from atts_harness.simulation.costfile import EngineCosts
        from atts_harness.simulation.measure import fit_rounds

        reads, mixed = self.scores_read_cache, self.mixed_steps
        fitted = fit_rounds(self.rounds, self.seconds, scores_read_cache=reads, mixed_steps=mixed)
        source = (fitted.latency, self.engine, self.model, fitted.error)
        return EngineCosts(fitted.cost, *source, scores_read_cache=reads, mixed_steps=mixed)


def _named(servers: Sequence[str]) -> dict[str, str]:
    from atts_harness.errors import SettingError

    addresses: dict[str, str] = {}
    for text in servers:
        role, equals, url = text.partition("=")
        if role not in ("draft", "target") or not equals:
            role, url = ALONE, text
        if role in addresses:
            raise SettingError(
                f"{text}: the second address of one {role}; to measure two engines at once name "
                "them: draft=URL target=URL"
            )
        addresses[role] = url
    if ALONE in addresses and len(addresses) > 1:
        raise SettingError(
            f"{addresses[ALONE]}: an address without a role beside one with; write draft=URL "
            "target=URL"
        )
    return addresses


def _prepare(out: Path) -> None:
    """Make the folder, and see that a file can be written there, before a minute is spent."""
    from atts_harness.errors import SettingError

    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingError(f"--out {out}: cannot be written: {error.strerror}") from error


async def _measured(
    named: Mapping[str, str],
    kind: str | None,
    options: Mapping[str, Any],
    longest: float,
    batch: int,
) -> dict[str, TimedRounds]:
    """All engines at once: in a run they are busy at once, too."""
    from atts_harness.engines.doctor.reach import open_running_backend

    async with contextlib.AsyncExitStack() as stack:
        backends: dict[str, tuple[EngineBackend, str]] = {}
        for role, url in named.items():
            server = contextlib.asynccontextmanager(open_running_backend)(url, kind, options)
            backends[role] = await stack.enter_async_context(server)
        unfinished = set(backends)

        async def measured_role(role: str) -> TimedRounds:
            backend, model = backends[role]
            return await _timed(backend, model, role, unfinished, longest, batch)

        tasks = [asyncio.create_task(measured_role(role)) for role in backends]
        try:
            timed = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return dict(zip(backends, timed, strict=True))


async def _timed(
    backend: EngineBackend, model: str, role: str, unfinished: set[str], longest: float, batch: int
) -> TimedRounds:
    from atts_harness.simulation.measure import rounds_for, time_rounds

    able = backend.capabilities
    rounds = rounds_for(backend.max_length, batch, scores=able.scores)

    def others() -> bool:
        unfinished.discard(role)
        return bool(unfinished)

    sent, seconds = await time_rounds(backend, rounds, longest=longest, again=others)
    engine = " ".join(filter(None, (backend.identity.engine, backend.identity.version)))
    return TimedRounds(sent, seconds, engine, model, able.scores_read_cache, able.mixed_steps)


def _words(role: str, costs: EngineCosts) -> str:
    from atts_harness.neutral import plain

    cost = costs.cost
    poor = (
        "; poor: is the engine used by others, or does its speed change?"
        if costs.error > POOR
        else ""
    )
    return plain(
        f"{role}: {costs.engine}, {costs.model}: a step {1e3 * cost.step:.3g} ms, of several "
        f"tokens {1e3 * cost.batch:.3g} ms more, a sequence in it {1e3 * cost.sequence:.3g} ms, a "
        f"prompt {1e3 * cost.prompt:.3g} ms; 1000 prompt tokens {1e6 * cost.prompt_token:.3g} ms, "
        f"1000 pairs of attention {1e6 * cost.pair:.3g} ms, 1000 tokens of KV cache read "
        f"{1e6 * cost.context:.3g} ms, 1000 rows of logits {1e6 * cost.row:.3g} ms; a call "
        f"{1e3 * costs.latency:.3g} ms (mean error of the fit {costs.error:.0%}{poor})"
    )
