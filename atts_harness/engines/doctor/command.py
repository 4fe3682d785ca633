"""`atts serve-models`, `atts doctor` and `atts warmup`."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atts_harness import plugins
from atts_harness.arguments import parse_arguments
from atts_harness.errors import AttsError, SettingError, UnknownSettingError
from atts_harness.hookspecs import Stage
from atts_harness.neutral import plain

if TYPE_CHECKING:
    from atts_harness.backend import Backend as OpenBackend
    from atts_harness.backend import BackendOptions, BackendSpec
    from atts_harness.engines.backend import EngineBackend
    from atts_harness.engines.doctor.finding import Finding
    from atts_harness.engines.managed import ManagedOptions

COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "red"}

Settings = Annotated[
    list[str],
    typer.Argument(
        help="settings as in model_args, such as backend=vllm,draft=SMALL,target=LARGE, or JSON"
    ),
]
Tokenizer = Annotated[
    str | None, typer.Option(help="folder or hub id of the served model's tokenizer")
]
Backend = Annotated[str | None, typer.Option(help="as in backend=NAME; default: recognised")]
Timeout = Annotated[float, typer.Option(min=0.1, help="seconds a server may take until it is open")]
Model = Annotated[
    str | None,
    typer.Option(
        "--served-model-name", help="name to ask for, where a server lists none or several"
    ),
]
HeadersEnv = Annotated[
    str | None, typer.Option(help="environment variable with further headers, a JSON object")
]
MaxLength = Annotated[
    int | None, typer.Option(help="context window, if the server does not report one")
]


def serve_models(
    settings: Settings,
    run_dir: Annotated[Path, typer.Option(help="folder for the servers' logs")] = Path(
        "runs/servers"
    ),
) -> None:
    """Start the servers of a draft and a target, alone, for several runs to share.

    Ends them on Ctrl-C or SIGTERM, and when one of them dies.
    """
    specs = _specs(settings, run_dir)
    raise typer.Exit(asyncio.run(_serve(specs)))


def doctor(
    targets: Annotated[
        list[str], typer.Argument(help="addresses of running servers, and run directories")
    ],
    backend: Backend = None,
    model: Model = None,
    tokenizer: Tokenizer = None,
    max_length: MaxLength = None,
    headers_env: HeadersEnv = None,
    timeout: Timeout = 60.0,
) -> None:
    """Examine servers and run directories: what they are, and what to do about it.

    For a running server: what it is and what it can do. For a folder: its file system, and what
    that means for a journal in it.
    """
    from atts_harness.engines.doctor.folders import is_folder

    options: dict[str, Any] = {"tokenizer": tokenizer, "max_length": max_length}
    options |= {"headers_env": headers_env, "timeout": timeout, "model": model}
    _check_name(backend)
    worst = 0
    for target in targets:
        folder = is_folder(target)
        examination = _look_at(Path(target)) if folder else _doctor(target, backend, options)
        worst |= _look(target, examination, "folder" if folder else "server")
    raise typer.Exit(worst)


def warmup(
    urls: Annotated[list[str] | None, typer.Argument(help="servers to warm up")] = None,
    backend: Backend = None,
    model: Model = None,
    tokenizer: Tokenizer = None,
    max_length: MaxLength = None,
    engine_python: Annotated[
        str | None, typer.Option(help="Python of the environment that holds the engine")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="most requests at once")] = 32,
    no_fetch: Annotated[
        bool, typer.Option("--no-fetch", help="do not fetch FlashInfer's kernels, even with a GPU")
    ] = False,
    headers_env: HeadersEnv = None,
    timeout: Timeout = 600.0,
) -> None:
    """Check FlashInfer and its kernels, and warm running servers up before anything is timed."""
    status = _installation(backend, engine_python, fetch=not no_fetch)
    options: dict[str, Any] = {"tokenizer": tokenizer, "max_length": max_length}
    options |= {"headers_env": headers_env, "timeout": timeout, "model": model}
    _check_name(backend)
    for url in urls or []:
        status |= _look(url, _warm(url, backend, options, batch), "server")
    raise typer.Exit(status)


def _check_name(backend: str | None) -> None:
    if backend is not None:
        plugins.backend(backend)  # a name that nobody has is wrong for every server


def _look(target: str, examination: Coroutine[Any, Any, int], subject: str) -> int:
    """Examine one server or folder; its failure does not stop the examination of the others."""
    from atts_harness.engines.doctor.finding import Finding

    typer.secho(plain(target), bold=True)
    try:
        return asyncio.run(examination)
    except AttsError as error:
        _show(Finding("error", subject, str(error)))
        return 1


async def _serve(specs: Sequence[BackendSpec[ManagedOptions]]) -> int:
    from atts_harness.engines.doctor.reach import require_engine

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    opening = _begin(specs)
    waiting = asyncio.create_task(stop.wait())
    opened: list[EngineBackend] = []
    try:
        # The first failure ends the others: nobody waits minutes for half a pair.
        pending = set(opening)
        while pending and not stop.is_set():
            done, _ = await asyncio.wait({*pending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending & done:
                pending.discard(task)
                opened.append(await require_engine(task.result()))
        if not stop.is_set():
            _announce(specs, [task.result() for task in opening])
        while not stop.is_set():
            dead = [b.server for b in opened if b.server is not None and b.server.dead]
            if dead:
                raise SettingError(dead[0].explain())
            await asyncio.wait({waiting}, timeout=1)
        return 0
    finally:
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await asyncio.gather(*(backend.aclose() for backend in opened))
        waiting.cancel()


def _begin(specs: Sequence[BackendSpec[ManagedOptions]]) -> list[asyncio.Task[OpenBackend]]:
    """Start the servers side by side, but one after the other on a device that they share.

    While an engine starts, it measures the device's free memory, and would count memory that
    another starting engine is about to take.
    """
    from atts_harness.engines.managed import devices_of

    begun: list[tuple[set[str], asyncio.Task[OpenBackend]]] = []
    for spec in specs:
        devices = set(devices_of(spec))
        earlier = [task for others, task in begun if others & devices]
        begun.append((devices, asyncio.create_task(_open_after(earlier, spec))))
    return [task for _, task in begun]


async def _open_after(
    earlier: Sequence[asyncio.Task[OpenBackend]], spec: BackendSpec[ManagedOptions]
) -> OpenBackend:
    if earlier:
        await asyncio.wait(earlier)
    logs = Path(spec.run_dir or ".") / "logs"
    typer.echo(f"{spec.role}: starting {spec.kind} with {spec.model} (log in {logs})", err=True)
    begun = time.monotonic()
    backend = await plugins.backend(spec.kind).open(spec)
    typer.echo(f"{spec.role}: answers, {time.monotonic() - begun:.0f} s", err=True)
    return backend


def _announce(specs: Sequence[BackendSpec[ManagedOptions]], opened: Sequence[Any]) -> None:
    parts = []
    for spec, backend in zip(specs, opened, strict=True):
        log = backend.server.launch.log
        typer.echo(f"{spec.role}: {spec.kind} at {backend.http.url} (log: {log})")
        parts += [f"{spec.role}_backend={spec.kind}", f"{spec.role}_url={backend.http.url}"]
        parts += [f"{spec.role}={spec.model}"]
    typer.echo("--model_args " + ",".join(parts))


def _specs(settings: Sequence[str], run_dir: Path) -> list[BackendSpec[ManagedOptions]]:
    """Specifications of the servers to start: of the roles that are named, or of all."""
    import dataclasses

    from atts_harness.settings import ROLES, parse_settings

    arguments: dict[str, Any] = {}
    for text in settings:
        arguments |= parse_arguments(text, "settings")
    named = [role for role in ROLES if role in arguments] or list(ROLES)
    for role in named:
        _check_servable(role, arguments)
    if len(named) == 1:
        # A strategy that uses only this role, so that no setting of the other one is required.
        alone = (n for n, s in plugins.strategies().items() if tuple(s.value.roles) == (named[0],))
        arguments.setdefault("strategy", next(alone, "atts"))
    plan = parse_settings(arguments)
    specs = [dataclasses.replace(plan.roles[role], run_dir=str(run_dir)) for role in named]
    return [_managed(spec) for spec in dict.fromkeys(specs)]


def _managed(spec: BackendSpec[BackendOptions]) -> BackendSpec[ManagedOptions]:
    from atts_harness.engines.managed import is_managed

    if not is_managed(spec):
        raise SettingError(
            f"{spec.role}_backend: {spec.kind} says that its servers can be started, but its "
            "options are not ManagedOptions; the plugin has to derive them from it"
        )
    return spec


def _check_servable(role: str, arguments: Mapping[str, Any]) -> None:
    from atts_harness.backend import starts
    from atts_harness.settings import RunOptions

    name = str(arguments.get(f"{role}_backend") or arguments.get("backend") or RunOptions().backend)
    if not starts(plugins.backend(name)):
        others = " or ".join(n for n, server in plugins.servers().items() if server.starts)
        raise SettingError(f"{role}_backend: {name} has no server to start; choose {others}")
    url = next((key for key in ("url", f"{role}_url") if key in arguments), None)
    if url is not None:
        raise SettingError(f"{url}: this command starts servers; leave it out")


async def _look_at(folder: Path) -> int:
    from atts_harness.engines.doctor.folders import examine_folder

    failed = 0
    for finding in examine_folder(folder):
        failed |= finding.level == "error"
        _show(finding)
    return failed


async def _doctor(url: str, name: str | None, options: Mapping[str, Any]) -> int:
    from atts_harness.engines.doctor.examine import examine
    from atts_harness.engines.doctor.reach import open_running_backend

    failed = 0
    async for backend, model in open_running_backend(url, name, options):
        async for finding in examine(backend, model):
            failed |= finding.level == "error"
            _show(finding)
    return failed


async def _warm(url: str, name: str | None, options: Mapping[str, Any], batch: int) -> int:
    from atts_harness.engines.doctor.reach import open_running_backend
    from atts_harness.engines.doctor.warm import warm_up

    async for backend, _ in open_running_backend(url, name, options):
        async for grade in warm_up(backend, batch):
            typer.echo(
                f"  {grade.kind}: {grade.batch} x {grade.context} tokens: "
                f"first {grade.first:.2f} s, again {grade.second:.2f} s"
            )
    return 0


def _installation(name: str | None, python: str | None, *, fetch: bool) -> int:
    """FlashInfer in the environments of the engines; status 1 if something does not fit."""
    import os
    import sys

    from atts_harness.engines.doctor import flashinfer
    from atts_harness.engines.doctor.finding import Finding
    from atts_harness.engines.managed import visible_devices

    gpu = bool(visible_devices())
    servers = plugins.servers()
    if name is not None and name not in servers:
        raise UnknownSettingError(name, servers, source="backend", what="backend")
    failed, examined = 0, 0
    for engine, server in servers.items():
        if server.package is None or name not in (None, engine):
            continue
        interpreter = python or os.environ.get(server.python_variable or "") or sys.executable
        installed = flashinfer.look(interpreter, server.package)
        if installed.engine is None and name is None and python is None:
            continue  # this engine is not in use here
        examined += 1
        typer.secho(f"{installed.engine or engine} ({interpreter})", bold=True)
        for finding in flashinfer.judge(installed, gpu=gpu):
            failed |= finding.level == "error"
            _show(finding)
        version = installed.versions.get("flashinfer-python")
        pin = version or _pinned(installed.pins)
        if pin is None:
            continue
        command = "python -m " + " ".join(flashinfer.precompile(pin))
        if gpu and version and fetch:
            kernels = flashinfer.fetch(interpreter, version)
        else:
            reason = "no GPU here" if not gpu else "not asked to" if version else "not installed"
            kernels = Finding("note", "kernels", f"{reason}: would run `{command}`")
        failed |= kernels.level == "error"
        _show(kernels)
    if not examined:
        typer.echo("no engine is installed here; name its environment with --engine-python")
    return int(failed)


def _pinned(requirement: str) -> str | None:
    """The version of `name[extra]==version`."""
    _, sign, version = requirement.partition("==")
    return version.split(";")[0].strip() if sign else None


def _show(finding: Finding) -> None:
    level = typer.style(f"{finding.level:7}", fg=COLOURS[finding.level])
    remedy = f"\n          -> {finding.remedy}" if finding.remedy else ""
    typer.echo(f"  {level} " + plain(f"{finding.subject}: {finding.text}{remedy}"))


def add_commands(app: typer.Typer) -> None:
    """Add the three commands."""
    panel = Stage.PREPARE
    running = "http://127.0.0.1:30000"
    app.command("doctor", rich_help_panel=panel, epilog=f"Example: atts doctor {running} runs/a")(
        doctor
    )
    app.command("warmup", rich_help_panel=panel, epilog=f"Example: atts warmup {running}")(warmup)
    example = "atts serve-models backend=vllm,draft=SMALL,target=LARGE"
    app.command("serve-models", rich_help_panel=panel, epilog=f"Example: {example}")(serve_models)
