"""What a request costs the client, per dialect, beside bare aiohttp and lm-eval's own client.

    python benchmarks/running/client_cost.py [--requests 1000] [--rounds 5] [--tokens 2000]

A mock engine without latency answers from a process of its own. Measured in one run, in rounds
that take turns so that whatever else the machine does falls on all alike: the harness (slots,
journal on disk, ledger and all), bare aiohttp with the same bodies, and lm-eval's client for
completions servers. Requests a second depend on how many processors the server and the client
share; CPU a request is the client's alone. Medians over the rounds, and the least.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec

from atts_harness.backend import Backend, BackendSpec, GenerateRequest, ScoreRequest
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import planned
from atts_harness.ledger.sums import Ledger
from atts_harness.records import RunRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.strategy import Context, Outcome, Sample, Strategy, StrategyOptions
from atts_harness.testing.mock_runs import make_groups
from atts_harness.testing.scripted import ByteTokenizer

WRITTEN = 64
Figures = dict[str, float]
TURNS = 10


class Turns(Strategy):
    """Requests of one sort, one after the other in each sample, behind a long prompt."""

    name = "cost"
    Options = StrategyOptions

    def __init__(self, scores: bool) -> None:
        self.scores = scores

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        transcript = sample.transcript
        segment = None
        for turn in range(TURNS):
            if not self.scores or segment is None:
                reply = await ctx.draft.generate(
                    transcript, kind="draft", turn=turn, max_tokens=WRITTEN
                )
                segment = reply.segment
            if self.scores:
                await ctx.target.score(transcript, segment, turn=turn)
        return ctx.finish(transcript, "turns")


class Meter:
    """Wall time and this process's CPU time, system time included."""

    def __enter__(self) -> Self:
        self.cpu, self.wall = _cpu(), time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cpu, self.wall = _cpu() - self.cpu, time.perf_counter() - self.wall

    def of(self, requests: int) -> Figures:
        return {
            "requests": requests,
            "requests_per_s": round(requests / self.wall),
            "cpu_ms_per_request": round(1000 * self.cpu / requests, 3),
        }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def connect(dialect: str, url: str) -> Backend:
    """The real client, on the mock's byte tokenizer."""
    module = __import__(f"atts_{dialect}.backend", fromlist=["open_tokenizer"])
    module.open_tokenizer = lambda spec, served: ByteTokenizer()
    kind = __import__(f"atts_{dialect}.plugin", fromlist=["KIND"]).KIND
    return await kind.open(BackendSpec(dialect, None, kind.options(url=url)))


async def harness(
    dialect: str, url: str, requests: int, tokens: int, concurrency: int, scores: bool
) -> Figures:
    """Everything on: slots, retries, journal, ledger."""
    backend = await connect(dialect, url)
    groups = make_groups(
        max(1, requests // TURNS), 1, Turns(scores), prompt="{doc} " + "x" * (tokens - 6)
    )
    ledger = Ledger()
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory(Path(folder))
        plan = planned(groups)
        journal = directory.journal(RunRecord(), plan)
        options = RunOptions(
            draft_concurrency=concurrency, score_concurrency=concurrency, metrics_interval=0
        )
        with Meter() as meter:
            await run_groups(
                groups,
                {"draft": backend, "target": backend},
                options,
                journal,
                Observers([ledger.add_call], [], [ledger.add_sample]),
            )
            journal.close()
        directory.close()
    await backend.aclose()
    return meter.of(sum(account.totals.calls for account in ledger.accounts.values()))


async def bare(
    dialect: str, url: str, requests: int, tokens: int, concurrency: int, scores: bool
) -> Figures:
    """The same bodies, sent by aiohttp and decoded by msgspec, and nothing else."""
    if dialect == "sglang":
        from atts_sglang import wire

        route, kind = "/generate", wire.Reply
        encode = (
            (lambda r: wire.score_payload(r, "rid", priority=None))
            if scores
            else (
                lambda r: wire.generate_payload(r, "rid", eos_ids=[259], seeds=True, priority=None)
            )
        )
    else:
        from atts_vllm import wire

        route, kind = "/v1/completions", wire.ScoredCompletion if scores else wire.VllmCompletion
        encode = (
            (lambda r: wire.score_payload(r, "mock", priority=False))
            if scores
            else (lambda r: wire.generate_payload(r, "mock", eos_ids=[259], priority=False))
        )
    decode = msgspec.json.Decoder(kind).decode
    ids = tuple(b"x" * tokens)
    gate = asyncio.Semaphore(concurrency)

    async def one(n: int) -> None:
        if scores:
            request = ScoreRequest(ids=(*ids, 1 + n % 200), start=tokens - WRITTEN)
        else:
            request = GenerateRequest(ids=(*ids, 1 + n % 200), max_tokens=WRITTEN, seed=n)
        async with gate:
            body = msgspec.json.encode(encode(request))
            async with session.post(url + route, data=body, headers=headers) as response:
                decode(await response.read())

    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await one(0)
        with Meter() as meter:
            await asyncio.gather(*map(one, range(requests)))
    return meter.of(requests)


async def of_lm_eval(url: str, requests: int, tokens: int, concurrency: int) -> Figures:
    """lm-eval's client for completions servers, with its own batching, retries and progress."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    model = LocalCompletionsAPI(
        base_url=url + "/v1/completions",
        model="mock",
        tokenizer_backend=None,
        num_concurrent=concurrency,
        max_retries=1,
        max_gen_toks=WRITTEN,
        seed=1,
    )
    model.tokenized_requests = True
    ids = list(b"x" * tokens)
    prompts = [[*ids, 1 + n % 200] for n in range(requests)]
    with Meter() as meter:
        await model.get_batched_requests(
            prompts,
            cache_keys=list(range(requests)),
            generate=True,
            gen_kwargs={"max_gen_toks": WRITTEN, "temperature": 0.8},
        )
    return meter.of(requests)


def serve(dialect: str) -> tuple[subprocess.Popen[str], str]:
    """A mock engine in a process of its own."""
    command = [sys.executable, "-m", "atts_harness.testing.mock_server", "--no-log"]
    process = subprocess.Popen(
        [*command, "--dialect", dialect, "--slots", "1024", "--length", str(WRITTEN)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=1000, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--dialect", choices=("sglang", "vllm"), action="append")
    parser.add_argument("--scores", type=int, default=60, help="requests where scores are heavy")
    args = parser.parse_args()
    figures_of: dict[str, Figures] = {}
    for dialect in args.dialect or ("sglang", "vllm"):
        process, url = serve(dialect)
        try:
            for sort, scores in (("generate", False), ("score", True)):
                heavy = scores and dialect == "vllm"  # each reply is 400 kB
                requests = args.scores if heavy else args.requests
                size = (requests, args.tokens, args.concurrency)
                clients: dict[str, Callable[[], Coroutine[Any, Any, Figures]]] = {
                    "harness": functools.partial(harness, dialect, url, *size, scores),
                    "bare aiohttp": functools.partial(bare, dialect, url, *size, scores),
                }
                if dialect == "vllm" and not scores:
                    clients["lm-eval's client"] = functools.partial(of_lm_eval, url, *size)
                measured = in_turns(clients, args.rounds)
                figures_of |= {f"{dialect} {sort}: {name}": f for name, f in measured.items()}
        finally:
            process.kill()
            process.wait()
    for name, figures in figures_of.items():
        print(
            f"{name:36} {figures['requests_per_s']:>7.0f}/s {figures['cpu_ms']:>7} ms CPU "
            f"(least {figures['least_cpu_ms']}), {figures['over_bare']} x bare aiohttp"
        )
    print(json.dumps({"tokens": args.tokens, "concurrency": args.concurrency, **figures_of}))


def in_turns(
    clients: dict[str, Callable[[], Coroutine[Any, Any, Figures]]], rounds: int
) -> dict[str, Figures]:
    """Each client once a round; the first round is not counted."""
    by_client: dict[str, list[Figures]] = {name: [] for name in clients}
    for number in range(rounds + 1):
        for name, client in clients.items():
            figures = asyncio.run(client())
            if number:
                by_client[name].append(figures)
    return {
        name: {
            "requests_per_s": statistics.median(f["requests_per_s"] for f in measured),
            "cpu_ms": statistics.median(f["cpu_ms_per_request"] for f in measured),
            "least_cpu_ms": min(f["cpu_ms_per_request"] for f in measured),
            "over_bare": round(
                statistics.median(
                    ours["cpu_ms_per_request"] / base["cpu_ms_per_request"]
                    for ours, base in zip(measured, by_client["bare aiohttp"], strict=True)
                ),
                2,
            ),
        }
        for name, measured in by_client.items()
    }


if __name__ == "__main__":
    main()
