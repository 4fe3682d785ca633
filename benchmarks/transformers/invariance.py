"""How often samples differ between two levels of concurrency.

    python benchmarks/transformers/invariance.py MODEL --in-flight 16 64 --tokens 200000

Draws the same seeded samples at each level, a step a request as strategies do, and counts samples
that differ, and the place of the first token that does.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

from atts_transformers.backend import open_backend
from atts_transformers.options import TransformersOptions

from atts_harness.backend import BackendSpec, GenerateRequest, Sampling
from atts_harness.transcript import Message

STEP = 24


async def draw(options: argparse.Namespace, in_flight: int) -> list[tuple[int, ...]]:
    """Samples until there are enough tokens, at most `in_flight` at a time."""
    spec = BackendSpec(
        "transformers", options.model, TransformersOptions(dtype=options.dtype, threads=1)
    )
    backend = await open_backend(spec)
    gate = asyncio.Semaphore(in_flight)

    async def sample(number: int) -> tuple[int, ...]:
        dice = random.Random(number // 4)
        a, b, c = (dice.randrange(1, 20) for _ in range(3))
        problem = f"Compute {a} + {b} - {c} * 2 (left to right)."
        start = ids = backend.tokenizer.render([Message("user", problem)])
        async with gate:
            for step in range(8):
                request = GenerateRequest(
                    ids=ids,
                    max_tokens=STEP,
                    seed=number * 100 + step,
                    stop=("\n\n",),
                    sampling=Sampling(temperature=0.8),
                )
                reply = await backend.generate(request)
                ids += reply.ids
                if reply.ending == "eos":
                    break
        return ids[len(start) :]

    samples: list[tuple[int, ...]] = []
    while sum(map(len, samples)) < options.tokens:
        samples += await asyncio.gather(*(sample(len(samples) + n) for n in range(256)))
    await backend.aclose()
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--in-flight", type=int, nargs=2, default=[16, 64])
    parser.add_argument("--tokens", type=int, default=200_000)
    options = parser.parse_args()
    runs = []
    for level in options.in_flight:
        cpu = time.process_time()
        runs.append(asyncio.run(draw(options, level)))
        tokens = sum(map(len, runs[-1]))
        print(
            f"{level} in flight, {options.dtype}: {len(runs[-1])} samples, {tokens} tokens, "
            f"{time.process_time() - cpu:.0f} processor seconds",
            flush=True,
        )
    different = [(a, b) for a, b in zip(*runs, strict=True) if a != b]
    print(f"samples that differ: {len(different)} of {len(runs[0])}")
    for a, b in different[:5]:
        place = next(n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        print(f"  first at token {place}: {a[place]} and {b[place]}")


if __name__ == "__main__":
    main()
