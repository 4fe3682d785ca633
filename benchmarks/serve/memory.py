"""Whether the memory of `atts serve` stays flat over many requests.

    python -m benchmarks.serve.memory [--requests 10000] [--run-dir]

Clients in a process of their own ask 100 at a time, half of them streams, each its own problem; the
mock engine is in the process of the service. Resident memory is read after every tenth. Without a
run directory nothing of a finished sample stays; with one there is a line for each in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
from pathlib import Path

import aiohttp
from atts_serve.app import service
from atts_serve.catalogue import catalogue
from atts_serve.chat import ChatRequest
from atts_serve.guard import Door
from atts_serve.server import listening

from atts_harness import plugins
from atts_harness.testing import mock_plugin

AT_ONCE, STEPS = 100, 10
ARGS = {"backend": "mock", "draft": "d", "target": "t", "turns": 4, "ending": 0, "draft_tokens": 16}


def resident() -> float:
    """MiB of this process in memory."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


async def ask(port: int, requests: int) -> None:
    """Ask until all are answered; prints how many were."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    gate, answered = asyncio.Semaphore(AT_ONCE), 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            nonlocal answered
            messages = [{"role": "user", "content": f"Question {number}"}]
            body = {"model": "mock-turns", "messages": messages, "stream": number % 2 == 0}
            async with gate, session.post(url, json=body) as reply:
                await reply.read()
                answered += reply.status == 200

        await asyncio.gather(*map(one, range(requests)))
    print(answered)


async def measure(requests: int, folder: Path | None) -> list[float]:
    args = ARGS if folder is None else {**ARGS, "run_dir": str(folder)}
    sizes = []
    async with (
        service(catalogue(["mock-turns"], args), Door(), most=AT_ONCE) as work,
        listening(work.application(), "127.0.0.1", 0) as port,
    ):
        async with work.rooms.room(work.catalogue.variation(ChatRequest("mock-turns", ()))) as room:
            for backend in room.models.backends.values():
                backend.engine.keep_log = False  # the mock's own, of every request
        for step in range(STEPS):
            command = [sys.executable, "-m", "benchmarks.serve.memory", "--ask", str(port)]
            command += ["--requests", str(requests // STEPS)]
            clients = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            output, _ = await clients.communicate()
            assert int(output) == requests // STEPS, "answers are lost"
            sizes.append(resident())
            print(f"{(step + 1) * requests // STEPS:>7} requests: {sizes[-1]:.1f} MiB", flush=True)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--run-dir", action="store_true", help="record them")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ask is not None:
        asyncio.run(ask(args.ask, args.requests))
        return
    plugins.manager().register(mock_plugin)
    with tempfile.TemporaryDirectory() as folder:
        sizes = asyncio.run(measure(args.requests, Path(folder) if args.run_dir else None))
    # The first two tenths fill pools and caches.
    growth = 1024 * (sizes[-1] - sizes[1]) / (args.requests * (STEPS - 2) / STEPS)
    print(json.dumps({"requests": args.requests, "MiB": sizes[-1], "KiB a request": growth}))


if __name__ == "__main__":
    main()
