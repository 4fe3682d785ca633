"""vLLM scores with and without the engine plugin, on a real model: `make bench-tail`.

python -m benchmarks.engines.tail [--model build/real-model] [--rounds 2]

Servers of the draft and the target are started on the processor, in float32. Everything is measured
on the same servers: only the way in which the client asks for scores changes. Tokens computed are
the engine's own counters (prompt tokens less hits of the prefix cache); seconds are ratios of runs
that take turns. The tables go into docs/engines.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from atts_vllm.backend import PLUGIN, WHOLE, VLLMBackend

from atts_harness import plugins
from atts_harness.backend import BackendSpec, ScoreReply, ScoreRequest
from atts_harness.records import SampleId
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.strategy import Group, Problem, Sample
from atts_harness.transcript import Message, Prompt

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "engines.md"
RESULTS = Path(__file__).with_name("tail.json")
BEGIN, END = "<!-- tail: begin -->", "<!-- tail: end -->"
WINDOW = 8192
TURNS, TURN_TOKENS = 12, 500
TINY = ROOT / "plugins" / "atts_tiny" / "models" / "target"
TINY_WINDOW, TINY_TURN = 1024, 80
AT_ONCE = 32
WAYS = {"whole context": WHOLE, "segment only": PLUGIN}
# A run's samples: a long prompt stands for the turns that came before.
RUN = {"samples": 2, "prompt_tokens": 2500, "turns": 6, "turn_tokens": 200}


def english() -> str:
    """Prose to score: a model does not write random ids."""
    pages = sorted((ROOT / "docs").rglob("*.md"))
    return "\n\n".join(page.read_text(encoding="utf-8") for page in pages)


async def opened(model: Path, window: int) -> VLLMBackend:
    """A server of ours, in float32 on the processor."""
    kind = plugins.backend("vllm")
    options = kind.options(dtype="float32", max_length=window, devices="cpu")
    folder = tempfile.mkdtemp(prefix="atts-bench-")
    backend = await kind.open(BackendSpec("vllm", str(model), options, "target", folder))
    assert isinstance(backend, VLLMBackend)
    if backend.score_route != PLUGIN:
        raise SystemExit(f"scores come by {backend.score_route}: see the logs in {folder}")
    return backend


async def counters(backend: VLLMBackend) -> tuple[float, float]:
    """The engine's own count of prompt tokens, and of those found in the prefix cache."""
    text = (await backend.http.exchange("GET", "/metrics")).decode()

    def total(name: str) -> float:
        values = re.findall(rf"^vllm:{name}_total\{{[^}}]*\}} (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    return total("prompt_tokens"), total("prefix_cache_hits")


def requests_of(ids: tuple[int, ...], prompt: int, turns: int, size: int) -> list[ScoreRequest]:
    """A score a turn, each behind all before it."""
    starts = [prompt + turn * size for turn in range(turns)]
    return [ScoreRequest(ids=ids[: start + size], start=start) for start in starts]


def apart(one: ScoreReply, other: ScoreReply) -> float:
    """The largest difference of two scores of a segment, in nats."""
    return max(abs(a - b) for a, b in zip(one.logprobs, other.logprobs, strict=True))


async def sample_of_turns(backend: VLLMBackend) -> dict[str, Any]:
    """One sample of growing context: what its scores compute, cost and say, either way."""
    ids = backend.tokenizer.encode(english())
    measured: dict[str, Any] = {}
    replies: dict[str, list[ScoreReply]] = {}
    for nth, (name, route) in enumerate(WAYS.items()):
        # Each way has a text of its own, so that neither finds the other's in the cache.
        text_ids = ids[nth * (len(ids) // 2) :]
        backend.score_route = route
        before, sent = await counters(backend), backend.http.received_bytes
        began, took, last = time.perf_counter(), 0.0, 0
        for request in requests_of(text_ids, 100, TURNS, TURN_TOKENS):
            at, sent = time.perf_counter(), backend.http.received_bytes
            replies.setdefault(name, []).append(await backend.score(request))
            took, last = time.perf_counter() - at, backend.http.received_bytes - sent
        prompts, hits = (b - a for a, b in zip(before, await counters(backend), strict=True))
        measured[name] = {
            "computed_per_segment_token": round((prompts - hits) / (TURNS * TURN_TOKENS), 3),
            "bytes_last_score": last,
            "seconds_last_score": round(took, 2),
            "seconds": round(time.perf_counter() - began, 1),
        }
    # The second text again, the whole context each time: are the scores the same?
    backend.score_route = WHOLE
    again = requests_of(ids[len(ids) // 2 :], 100, TURNS, TURN_TOKENS)
    whole = [await backend.score(request) for request in again]
    pairs = zip(whole, replies["segment only"], strict=True)
    measured["largest_difference"] = max(apart(a, b) for a, b in pairs)
    return measured


async def many_at_once(backend: VLLMBackend, turn: int) -> dict[str, Any]:
    """Scores of many contexts at the same time, against each of them alone and whole."""
    ids = backend.tokenizer.encode(english())
    requests = [
        request
        for nth in range(AT_ONCE // 4)
        for request in requests_of(ids[nth * 600 :], 100, 4, turn)
    ]
    backend.score_route = WHOLE
    whole = [await backend.score(request) for request in requests]
    backend.score_route = PLUGIN
    before = await counters(backend)
    tails = await asyncio.gather(*map(backend.score, requests))
    _, hits = (b - a for a, b in zip(before, await counters(backend), strict=True))
    return {
        "requests": len(requests),
        "tokens_from_the_cache": int(hits),
        "largest_difference": max(apart(a, b) for a, b in zip(whole, tails, strict=True)),
    }


async def tiny_alone() -> dict[str, Any]:
    """The embedded pair's target, one request at a time: how many scores differ at all."""
    backend = await opened(TINY, TINY_WINDOW)
    try:
        ids = backend.tokenizer.encode(english())
        different = total = 0
        for request in requests_of(ids, 40, 10, TINY_TURN):
            tail = await backend.score(request)
            backend.score_route = WHOLE
            whole = await backend.score(request)
            backend.score_route = PLUGIN
            pairs = list(zip(tail.logprobs, whole.logprobs, strict=True))
            different += sum(a != b for a, b in pairs)
            total += len(pairs)
        return {"tokens": total, "different": different}
    finally:
        await backend.aclose()


def runs(model: Path, rounds: int) -> dict[str, Any]:
    """ATTS with either way, in turns: seconds and tokens."""
    # So that each run can be started with empty caches.
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"
    model_args = {
        "strategy": "atts",
        "backend": "vllm",
        "draft": str(model / "draft"),
        "target": str(model / "target"),
        "devices": "cpu",
        "dtype": "float32",
        "max_length": WINDOW,
        "rate": 0.2,
        "turns": RUN["turns"],
        "draft_tokens": RUN["turn_tokens"],
        "target_tokens": RUN["turn_tokens"],
        "progress": "off",
    }
    settings = parse_settings(model_args)
    by_way: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with Harness(settings) as harness:
        target = harness.backends["target"]
        assert isinstance(target, VLLMBackend)
        strategy = harness.strategy({}, {"task": "bench"})
        text = target.tokenizer.decode(target.tokenizer.encode(english())[: RUN["prompt_tokens"]])
        for _ in range(rounds):
            for name, route in WAYS.items():
                target.score_route = route
                for backend in harness.backends.values():
                    assert isinstance(backend, VLLMBackend)
                    harness.call(partial(backend.http.exchange, "POST", "/reset_prefix_cache"))
                groups = [_group(doc, text, strategy, settings) for doc in range(RUN["samples"])]
                began = time.perf_counter()
                harness.run(groups, show=False)
                seconds = time.perf_counter() - began
                calls = harness.summary.ledger["calls"]
                by_way[name].append(
                    {
                        "seconds": round(seconds, 1),
                        "scored": calls["target/score"]["scored_tokens"],
                        "computed": calls["target/score"]["computed_tokens"],
                    }
                )
                print(name, by_way[name][-1], flush=True)
    return by_way


def _group(doc: int, text: str, strategy: Any, settings: Any) -> Group:
    question = f"Copy the following text and go on with it, in as many words as you can.\n\n{text}"
    problem = Problem(
        task="bench",
        doc=doc,
        prompt=Prompt((Message("user", f"{doc}. {question}"),)),
        max_tokens=RUN["turns"] * RUN["turn_tokens"],
        prompt_hash=str(doc),
        sampling=settings.sampling({}),
    )
    return Group(problem, (Sample(SampleId("bench", doc, 0), problem),), strategy)


async def one_server(model: Path) -> dict[str, Any]:
    """Everything that needs the target alone."""
    backend = await opened(model / "target", WINDOW)
    try:
        return {
            "version": backend.identity.version,
            "sample": await sample_of_turns(backend),
            "at_once": await many_at_once(backend, 100),
        }
    finally:
        await backend.aclose()


def table(record: dict[str, Any]) -> str:
    """The figures as Markdown."""
    sample, at_once, tiny = record["sample"], record["at_once"], record["tiny"]
    lines = [
        f"vLLM {record['version']}, SmolLM2-135M in float32, one sample of {TURNS} turns of "
        f"{TURN_TOKENS} tokens (the last score stands behind {100 + (TURNS - 1) * TURN_TOKENS:,}):",
        "",
        "| a score computes | target tokens computed per segment token | bytes of the last reply "
        "| seconds of the last score | seconds of all |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| the {name} | {row['computed_per_segment_token']:.2f} | {row['bytes_last_score']:,} "
        f"| {row['seconds_last_score']:.1f} | {row['seconds']:.0f} |"
        for name, row in ((name, sample[name]) for name in WAYS)
    ]
    lines += [
        "",
        f"- The largest difference between the two is {sample['largest_difference']:.1e} nats in "
        f"that sample, and {at_once['largest_difference']:.1e} with {at_once['requests']} scores "
        f"at once ({at_once['tokens_from_the_cache']:,} tokens from the cache): other chunks are "
        "other sums.",
        f"- On the embedded pair alone, {tiny['different']} of {tiny['tokens']} scored tokens "
        "differ.",
    ]
    if rounds := record.get("runs"):
        spent = {
            name: sum(one["seconds"] for one in rows) / len(rows) for name, rows in rounds.items()
        }
        computed = {
            name: sum(one["computed"] for one in rows) / sum(one["scored"] for one in rows)
            for name, rows in rounds.items()
        }
        whole, tail = WAYS
        lines.append(
            f"- ATTS on drafts of the first 24 of the 30 layers, {RUN['samples']} samples with a "
            f"prompt of {RUN['prompt_tokens']:,} tokens and {RUN['turns']} turns of "
            f"{RUN['turn_tokens']}: {spent[tail] / spent[whole]:.2f} of the seconds with the "
            f"segment only (number of runs each, in turns: {len(rounds[tail])}); a score computes "
            f"{computed[tail]:.1f} tokens for each of its own instead of {computed[whole]:.1f}."
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "build" / "real-model")
    parser.add_argument("--rounds", type=int, default=2, help="runs of ATTS either way")
    args = parser.parse_args()
    # Room for the sample's context; two samples in float32 take 0.6 GB.
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    record = asyncio.run(one_server(args.model))
    print(json.dumps(record), flush=True)
    record["tiny"] = asyncio.run(tiny_alone())
    print(json.dumps(record["tiny"]), flush=True)
    if args.rounds:
        record["runs"] = runs(args.model, args.rounds)
    RESULTS.write_text(json.dumps({"cpus": os.cpu_count(), **record}, indent=1) + "\n")
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table(record)}\n{END}{tail}", encoding="utf-8")
    print(table(record))


if __name__ == "__main__":
    main()
