"""Measure both engines and write the table of docs/engines.md.

python -m benchmarks.engines [--engines vllm,sglang] [--samples 4]

A server of each engine is started on the processor with a random Llama of 2 layers in float32.
Cost in tokens is the engine's own count and does not depend on the model; latencies do, and say
only how kinds of calls compare on one small machine. Draft segments are drawn at random and sent
to the target alone, which therefore sees what a target sees: scores and takeovers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from atts_harness import plugins
from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.backend import EngineBackend
from atts_harness.testing.conformance_folder import write_model_folder
from atts_harness.transcript import Message

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "engines.md"
RESULTS = Path(__file__).with_name("results.json")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WINDOW = 8192
TURNS = 12
TURN_TOKENS = 100
TAKEOVER_EVERY = 3
CONTEXTS = (2048, 6144)
SEGMENT = 500
REPEATS = 20


async def measure(engine: str, samples: int, folder: Path) -> list[dict[str, Any]]:
    """Rows of one engine: by its own backend, and by the OpenAI-compatible one."""
    kind = plugins.backend(engine)
    options = kind.options(dtype="float32", max_length=WINDOW, devices="cpu")
    spec = BackendSpec(engine, str(folder), options, "target", str(folder.parent))
    backend = await kind.open(spec)
    assert isinstance(backend, EngineBackend)
    rows = []
    try:
        rows.append(await one(backend, engine, samples))
        foreign = plugins.backend("openai")
        url = foreign.options(url=f"{backend.http.url}/v1")
        openai = await foreign.open(BackendSpec("openai", str(folder), url, "target"))
        assert isinstance(openai, EngineBackend)
        try:
            rows.append(await one(openai, f"openai on {engine}", samples))
        finally:
            await openai.aclose()
    finally:
        await backend.aclose()
    for row in rows:
        row["version"] = backend.identity.version
    return rows


async def one(backend: EngineBackend, name: str, samples: int) -> dict[str, Any]:
    """Everything measured of one backend."""
    latencies: dict[str, list[float]] = defaultdict(list)
    spent = {"computed": 0, "segments": 0}
    await asyncio.gather(*(sample(backend, n, latencies, spent) for n in range(samples)))
    return {
        "backend": name,
        "dialect": dialect(backend),
        "turns": TURNS,
        "turn_tokens": TURN_TOKENS,
        "samples": samples,
        "computed_per_segment_token": round(spent["computed"] / spent["segments"], 3),
        "median_ms": {
            sort: round(1e3 * statistics.median(took), 1) for sort, took in latencies.items()
        },
        "client": [await client_cost(backend, context) for context in CONTEXTS],
    }


async def sample(
    backend: EngineBackend, seed: int, latencies: dict[str, list[float]], spent: dict[str, int]
) -> None:
    """One sample of many turns: each draft is scored, some turns are taken over."""
    draw = random.Random(seed)
    ids = backend.tokenizer.render([Message("user", f"Problem {seed}: compute 17 + 5 - 8 * 2.")])
    size = backend.tokenizer.vocab_size
    for turn in range(TURNS):
        segment = tuple(draw.randrange(size) for _ in range(TURN_TOKENS))
        began = time.perf_counter()
        score = await backend.score(ScoreRequest(ids=ids + segment, start=len(ids)))
        latencies["score"].append(time.perf_counter() - began)
        spent["computed"] += score.usage.computed_tokens
        spent["segments"] += len(segment)
        ids += segment
        if turn % TAKEOVER_EVERY == TAKEOVER_EVERY - 1:
            request = GenerateRequest(
                ids=ids, max_tokens=TURN_TOKENS, sampling=Sampling(temperature=0.8), seed=seed
            )
            began = time.perf_counter()
            ids += (await backend.generate(request)).ids
            latencies["takeover"].append(time.perf_counter() - began)


async def client_cost(backend: EngineBackend, context: int) -> dict[str, Any]:
    """Bytes and this process's processor time for one score, nothing else going on."""
    draw = random.Random(context)
    ids = tuple(draw.randrange(backend.tokenizer.vocab_size) for _ in range(context))
    request = ScoreRequest(ids=ids, start=context - SEGMENT)
    await backend.score(request)
    sent, received = backend.http.sent_bytes, backend.http.received_bytes
    began = time.process_time()
    for _ in range(REPEATS):
        await backend.score(request)
    spent = time.process_time() - began
    return {
        "context": context,
        "segment": SEGMENT,
        "journal": False,
        "sent_bytes": (backend.http.sent_bytes - sent) // REPEATS,
        "received_bytes": (backend.http.received_bytes - received) // REPEATS,
        "cpu_ms": round(1e3 * spent / REPEATS, 2),
    }


def dialect(backend: EngineBackend) -> str:
    """By which route and field scores come."""
    server = backend.identity.server
    if "score_route" in server:
        return str(server["score_route"])
    if "dialect" in server:
        return f"/v1/completions {server['dialect']['score_way']}"
    return "/generate logprob_start_len"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        f"Scores over {TURNS} turns of {TURN_TOKENS} tokens, a takeover every "
        f"{TAKEOVER_EVERY} turns, {rows[0]['samples']} samples at once:",
        "",
        "| backend | engine version | scores by | target tokens computed per segment token "
        "| score, median | takeover, median |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['backend']} | {r['version']} | `{r['dialect']}` "
        f"| {r['computed_per_segment_token']:.2f} "
        f"| {r['median_ms']['score']:.0f} ms | {r['median_ms']['takeover']:.0f} ms |"
        for r in rows
    ]
    lines += [
        "",
        f"Client cost of one score of {SEGMENT} tokens, the journal off:",
        "",
        "| backend | dialect | context | sent | received | client CPU |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['backend']} | `{r['dialect']}` | {c['context']} tokens | {c['sent_bytes']:,} B "
        f"| {c['received_bytes']:,} B | {c['cpu_ms']:.2f} ms |"
        for r in rows
        for c in r["client"]
    ]
    return "\n".join(lines)


def write(rows: list[dict[str, Any]]) -> None:
    """Keep the figures, and put the table into the document."""
    RESULTS.write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=1) + "\n")
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", default="sglang,vllm")
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = write_model_folder(Path(folder) / "model", max_length=WINDOW)
        rows = [
            row
            for engine in arguments.engines.split(",")
            for row in asyncio.run(measure(engine, arguments.samples, model))
        ]
    write(rows)
    print(table(rows))


if __name__ == "__main__":
    main()
