"""What `atts serve` costs beside a batch, at 1,000 requests at once, and that none is lost.

    python -m benchmarks.serve.load [--requests 1000] [--rounds 3] [--turns 8]

A mock engine without latency answers over HTTP from a process of its own. The same samples are
made twice a round: by a batch (`Harness.run`, as under lm-eval), and by the service, asked for all
of them at once by clients in a process of their own. Both record to disk. CPU a call is that of the
process with the harness in it, so the service's has HTTP, JSON and events in it. The texts of both
have to be equal: that is how no answer is lost, and none is another's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from atts_serve.app import service
from atts_serve.catalogue import catalogue
from atts_serve.guard import Door
from atts_serve.server import listening

from atts_harness import plugins
from atts_harness.journal.hashing import prompt_hash
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.strategy import Group, Problem, Sample
from atts_harness.testing import mock_plugin
from atts_harness.testing.scripted import ByteTokenizer
from atts_harness.transcript import Message, Prompt
from benchmarks.running.client_cost import Meter, serve

MODEL, TASK, BUDGET = "mock-turns", "load", 1 << 14
Texts = dict[int, str]


def question(doc: int) -> str:
    return f"Question {doc}: " + "x" * 500


def settings_of(url: str, turns: int, folder: Path) -> dict[str, Any]:
    return {
        "strategy": MODEL,
        "backend": "sglang",
        "draft_url": url,
        "target_url": url,
        "turns": turns,
        "ending": 0,
        "metrics_interval": 0,
        "progress": "off",
        "run_dir": str(folder),
    }


def batch(args: Mapping[str, Any], requests: int) -> tuple[float, Texts]:
    """CPU milliseconds a call of a batch, and its texts."""
    with Harness(parse_settings(args)) as harness:
        strategy = harness.strategy({}, {"task": TASK})
        groups = []
        for doc in range(requests):
            messages = (Message("user", question(doc)),)
            prompt = Prompt(messages)
            problem = Problem(
                TASK, doc, prompt, max_tokens=BUDGET, prompt_hash=prompt_hash(messages)
            )
            groups.append(Group(problem, (Sample(SampleId(TASK, doc, 0), problem),), strategy))
        with Meter() as meter:
            records = harness.run(groups, show=False)
    calls = sum(totals.calls for record in records for totals in record.calls.values())
    return 1000 * meter.cpu / calls, {record.id.doc: digest(record.text) for record in records}


async def served(
    args: Mapping[str, Any], requests: int, *, stream: bool
) -> tuple[float, Texts, float]:
    """CPU milliseconds a call of the service, the texts that clients got, and their seconds."""
    model_args = {k: v for k, v in args.items() if k not in ("progress", "strategy")}
    models = catalogue([MODEL], model_args)
    async with (
        service(models, Door(), most=requests) as work,
        listening(work.application(), "127.0.0.1", 0) as port,
    ):
        command = [sys.executable, "-m", "benchmarks.serve.load", "--ask", str(port)]
        command += ["--requests", str(requests), *(["--stream"] if stream else [])]
        with Meter() as meter:
            clients = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, limit=1 << 26
            )
            output, _ = await clients.communicate()
    answers = json.loads(output)
    with open_run(Path(args["run_dir"]) / MODEL) as run:
        calls = sum(1 for _ in run.call_figures())
    texts = {int(doc): text for doc, text in answers["texts"].items()}
    return 1000 * meter.cpu / calls, texts, answers["seconds"]


async def ask(port: int, requests: int, *, stream: bool) -> None:
    """All requests at once; prints the digests of the answers."""
    loop = asyncio.get_running_loop()
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    timeout = aiohttp.ClientTimeout(600)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one(doc: int) -> tuple[int, str]:
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": question(doc)}],
                "max_tokens": BUDGET,
                "stream": stream,
                "atts": {"task": TASK, "doc": doc},
            }
            async with session.post(url, json=body) as reply:
                raw = await reply.read()
                assert reply.status == 200, raw
            if not stream:
                return doc, digest(json.loads(raw)["choices"][0]["message"]["content"])
            parts = [
                json.loads(e[6:]) for e in raw.decode().split("\n\n") if e.startswith("data: {")
            ]
            words = [part["choices"][0]["delta"].get("content", "") for part in parts]
            return doc, digest("".join(words))

        began = loop.time()
        texts = dict(await asyncio.gather(*map(one, range(requests))))
        print(json.dumps({"seconds": loop.time() - began, "texts": texts}))


def digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000, help="at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=8, help="of a sample")
    parser.add_argument("--ask", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask is not None:
        asyncio.run(ask(options.ask, options.requests, stream=options.stream))
        return
    plugins.manager().register(mock_plugin)
    module = __import__("atts_sglang.backend", fromlist=["open_tokenizer"])
    module.open_tokenizer = lambda spec, served: ByteTokenizer()
    process, url = serve("sglang")
    ratios: dict[str, list[float]] = {"whole": [], "stream": []}
    try:
        for number in range(options.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                folders = {n: Path(folder) / n for n in ("batch", "whole", "stream")}
                args = {n: settings_of(url, options.turns, path) for n, path in folders.items()}
                before, texts = batch(args["batch"], options.requests)
                for way, of_way in ratios.items():
                    work = served(args[way], options.requests, stream=way == "stream")
                    cost, answers, seconds = asyncio.run(work)
                    lost = texts.keys() - answers.keys()
                    other = [doc for doc in answers if answers[doc] != texts[doc]]
                    assert not lost, f"{len(lost)} answers are lost"
                    assert not other, f"{len(other)} answers are not those of the batch"
                    print(
                        f"round {number}: batch {before:.3f} ms CPU a call, {way} {cost:.3f} "
                        f"({cost / before:.2f} x); {len(answers)} answers in {seconds:.1f} s",
                        flush=True,
                    )
                    if number:  # the first one warms up
                        of_way.append(cost / before)
    finally:
        process.kill()
        process.wait()
    figures = {way: round(statistics.median(of_way), 2) for way, of_way in ratios.items()}
    print(
        json.dumps(
            {"requests": options.requests, "turns": options.turns, "cpu over batch": figures}
        )
    )


if __name__ == "__main__":
    main()
