"""Tokens a second of the in-process backend, beside `generate` and the manager of transformers.

    python benchmarks/transformers/throughput.py [--dtype float32] [--batches 1 16 64]

Random Llamas in the shapes of the embedded pair; 18 tokens of context, 80 new ones each. Wall and
processor seconds are both told, since the latter hold on a machine that others use, too.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from atts_transformers.backend import TransformersBackend, open_backend
from atts_transformers.options import TransformersOptions
from transformers import (
    AutoModelForCausalLM,
    ContinuousBatchingConfig,
    GenerationConfig,
    logging,
)

from atts_harness.backend import BackendSpec, GenerateRequest, Sampling, ScoreRequest
from atts_harness.testing.conformance_folder import write_model_folder

SHAPES = {"draft 2x64": (2, 64, 2), "target 3x128": (3, 128, 4)}
CONTEXT = tuple(range(30, 48))
NEW_TOKENS = 80
SEGMENT = 13


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Things a second, by the wall and by the processor."""
    work()
    wall, cpu = time.perf_counter(), time.process_time()
    count = work()
    return count / (time.perf_counter() - wall), count / (time.process_time() - cpu)


def plain(model: Any, batch: int) -> int:
    ids = torch.tensor([CONTEXT] * batch)
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=True,
            temperature=0.8,
            top_k=0,
        )
    return int(out.shape[1] - len(CONTEXT)) * batch


def continuous(model: Any, batch: int) -> int:
    """Transformers' continuous-batching manager, with a cache that fits the requests."""
    settings = GenerationConfig(
        max_new_tokens=NEW_TOKENS, do_sample=True, temperature=0.8, top_k=0, eos_token_id=-1
    )
    out = model.generate_batch(
        inputs=[list(CONTEXT)] * batch,
        generation_config=settings,
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=16, num_blocks=640, max_batch_tokens=128, max_requests_per_batch=64
        ),
        progress_bar=False,
    )
    return sum(len(reply.generated_tokens) for reply in out.values())


async def generations(backend: TransformersBackend, batch: int) -> int:
    """Twice the batch, so that requests come and go."""
    gate = asyncio.Semaphore(batch)

    async def one(seed: int) -> int:
        async with gate:
            request = GenerateRequest(
                ids=CONTEXT, max_tokens=NEW_TOKENS, seed=seed, sampling=Sampling(temperature=0.8)
            )
            return len((await backend.generate(request)).ids)

    return sum(await asyncio.gather(*(one(seed) for seed in range(2 * batch))))


async def scores(backend: TransformersBackend, batch: int) -> int:
    """Turn after turn, each score a segment longer than the one before."""

    async def sample(number: int) -> int:
        ids = (*CONTEXT, *range(50 + number, 60 + number))
        for turn in range(6):
            start = len(ids)
            ids += tuple(range(100 + turn, 100 + turn + SEGMENT))
            await backend.score(ScoreRequest(ids=ids, start=start))
        return 6

    return sum(await asyncio.gather(*(sample(number) for number in range(batch))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--manager", action="store_true", help="transformers' manager as well")
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.dtype}, {options.threads} threads")
    print("model         what                     batch   per s (wall)   per s (processor)")
    for name, (layers, hidden, heads) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            write_model_folder(Path(folder), layers=layers, hidden=hidden, heads=heads, spread=0.1)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=getattr(torch, options.dtype)
            ).eval()

            def show(label: str, batch: int, work: Callable[[], int], name: str = name) -> None:
                wall, cpu = timed(work)
                print(f"{name:13} {label:24} {batch:5} {wall:14.0f} {cpu:19.0f}", flush=True)

            for batch in options.batches:
                show("generate, tokens", batch, lambda b=batch, m=model: plain(m, b))
                if options.manager:
                    show("its manager, tokens", batch, lambda b=batch, m=model: continuous(m, b))
            with asyncio.Runner() as runner:
                spec = BackendSpec(
                    "transformers",
                    folder,
                    TransformersOptions(dtype=options.dtype, threads=options.threads),
                )
                backend = runner.run(open_backend(spec))
                for batch in options.batches:
                    show(
                        "this backend, tokens",
                        batch,
                        lambda b=batch, k=backend: runner.run(generations(k, b)),
                    )
                    show(
                        "this backend, scores",
                        batch,
                        lambda b=batch, k=backend: runner.run(scores(k, b)),
                    )
                runner.run(backend.aclose())


if __name__ == "__main__":
    main()
