"""`atts serve`: strategies behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atts_harness import terminal
from atts_harness.arguments import parse_arguments
from atts_harness.errors import SettingError
from atts_serve.defaults import CHAT, KEY_VARIABLE

if TYPE_CHECKING:
    from atts_serve.catalogue import Catalogue
    from atts_serve.guard import Door
    from atts_serve.viewer import Viewer

PORT, VIEW_PORT = 8600, 8601
HOST = "127.0.0.1"
MOST_PROBLEMS = 1000
MOST = 1024


class Thoughts(StrEnum):
    """Where a model's thoughts go."""

    APART = "apart"
    WITHIN = "within"


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="a strategy or a preset to serve under its name, or NAME:SETTINGS; repeat it for "
            "more; default: atts, draft-only and target-only"
        ),
    ] = None,
    model_args: Annotated[
        str, typer.Option(help="settings of all of them, as lm_eval's --model_args has them")
    ] = "",
    host: Annotated[str, typer.Option(help=f"another address needs {KEY_VARIABLE}")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = PORT,
    task: Annotated[
        str, typer.Option(help="task of requests that name none, whose bank they use")
    ] = CHAT,
    allow: Annotated[
        list[str] | None, typer.Option(help="a further option that requests may set")
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="a further name of this server, as in Host")
    ] = None,
    most: Annotated[
        int, typer.Option(min=1, help="samples in progress; further requests are told to wait")
    ] = MOST,
    thoughts: Annotated[
        Thoughts,
        typer.Option(help="apart: what a model thinks is reasoning_content; within: in the text"),
    ] = Thoughts.APART,
    problems: Annotated[
        Path | None,
        typer.Option(
            "--problems-file", help="problems for the page to pick from, one a line", exists=True
        ),
    ] = None,
    body_mib: Annotated[float, typer.Option(min=0.001, help="most MiB of a request")] = 4.0,
) -> None:
    """Serve strategies as an OpenAI-compatible endpoint, until Ctrl-C."""
    from atts_serve.catalogue import catalogue
    from atts_serve.guard import door_of

    args = parse_arguments(model_args, "--model-args")
    served = catalogue(model or [], args, task=task, allow=allow or [])
    door = door_of(host, os.environ, names=tuple(name or ()), body_mib=body_mib)
    problem_list = _problems(problems)
    asyncio.run(_serve(served, door, host, port, most, problem_list, thoughts.value))


def view(
    run_dir: Annotated[Path, typer.Argument(help="a run directory, or a folder of some")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = VIEW_PORT,
) -> None:
    """Watch the samples of a run, finished or going, turn by turn, until Ctrl-C."""
    from atts_serve.viewer import Viewer

    asyncio.run(_view(Viewer(run_dir), port))


async def _view(viewer: Viewer, port: int) -> None:
    from atts_serve.server import listening, until_signal

    console = terminal.console()
    async with listening(viewer.application(), HOST, port) as bound:
        await until_signal(lambda: console.print(f"http://{HOST}:{bound}/ (Ctrl-C ends it)"))


def _problems(path: Path | None) -> list[str]:
    from atts_serve.pages import examples

    if path is None:
        return examples()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--problems-file {path}: cannot be read as text: {error}") from error
    return [line for line in lines if line.strip()][:MOST_PROBLEMS]


async def _serve(
    served: Catalogue,
    door: Door,
    host: str,
    port: int,
    most: int,
    problems: list[str],
    thoughts: str,
) -> None:
    from atts_serve.app import service
    from atts_serve.server import listening, until_signal

    live = max(model.settings.run.live_samples for model in served.models.values())
    console = terminal.console()
    async with (
        service(
            served, door, most=most, live=live, problems=problems, thoughts=thoughts
        ) as running,
        listening(running.application(), host, port) as bound,
    ):
        printed_host = f"[{host}]" if ":" in host else host
        address = f"http://{printed_host}:{bound}"

        def ready() -> None:
            console.print(f"serving {', '.join(served.models)} at {address}/v1 (Ctrl-C ends it)")

        await until_signal(ready)
