"""Prefill, chunked-prefill and decode steps of random-weight models beside the roofline's.

    python -m benchmarks.gpu.steps --gpu h100 [--out FILE]      # under eight minutes on one GPU
    python -m benchmarks.gpu.steps --tiny                       # a check of the script, on any CPU

Models have the published shapes and random weights in bfloat16 (as many as fit the GPU), and run
in transformers, without an engine: what is compared is arithmetic and memory traffic of a step. A
step of transformers that mixes prompts and decodes does not exist; a chunk of a prompt behind a
cached context is measured in its place. Each step is timed as the median of several, after two
that do not count. Every result is written when it is there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from atts_harness.shapes import ModelShape, shape_of
from atts_harness.simulation.costs import GPU, Roofline, Step, gpu_of

MODELS = (
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
    "Qwen/QwQ-32B",
)
TINY = ModelShape("tiny", 2, 64, 4, 2, 16, 128, 256, 4096)
PREFILLS = (128, 512, 2048, 8192)
CHUNKS = ((512, 1024), (512, 8192), (2048, 4096))
"""(prompt tokens, cached context)."""
DECODES = ((1, 1024), (16, 1024), (64, 1024), (64, 4096), (256, 1024))
"""(sequences, context of each)."""
TIMES, UNCOUNTED = 5, 2
BUDGET = 440.0
"""Seconds after which no further step is begun."""


@dataclass(frozen=True)
class Case:
    """One step: `sequences` x `tokens` behind `context` cached tokens each."""

    kind: str
    sequences: int
    tokens: int
    context: int

    def step(self) -> Step:
        """As the simulator describes it."""
        n, c = self.tokens, self.context
        decoding = self.kind == "decode"
        return Step(
            decodes=self.sequences if decoding else 0,
            prefills=0 if decoding else self.sequences,
            prompt_tokens=0 if decoding else self.sequences * n,
            context=self.sequences * (c + n),
            pairs=self.sequences * (n * c + n * (n + 1) / 2),
            rows=self.sequences,
        )


def cases(tiny: bool) -> Iterator[Case]:
    """Every step, the small ones first."""
    share = 16 if tiny else 1
    yield from (Case("prefill", 1, n // share, 0) for n in PREFILLS)
    yield from (Case("chunk", 1, n // share, c // share) for n, c in CHUNKS)
    yield from (Case("decode", max(1, b // share), 1, c // share) for b, c in DECODES)


def built(shape: ModelShape, device: str) -> Any:
    """A model of a shape with random weights."""
    config = LlamaConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab,
        max_position_embeddings=32768,
        tie_word_embeddings=shape.tied,
    )
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            return LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(before)


def seconds_of(model: Any, case: Case, shape: ModelShape, device: str) -> float:
    """Median seconds of a step."""
    ids = torch.randint(shape.vocab, (case.sequences, case.tokens), device=device)
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    took = []
    for number in range(TIMES + UNCOUNTED):
        cache = DynamicCache()
        if case.context:
            size = (case.sequences, shape.kv_heads, case.context, shape.head_dim)
            for layer in range(shape.layers):
                keys = torch.zeros(size, dtype=torch.bfloat16, device=device)
                cache.update(keys, keys.clone(), layer)
        wait()
        began = time.perf_counter()
        model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        wait()
        if number >= UNCOUNTED:
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gpu", default="h100", help="as `atts plan --gpus` names it")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not args.tiny:
        raise SystemExit("no GPU is here; --tiny checks the script on a CPU")
    gpu: GPU = gpu_of(args.gpu)
    shapes = [TINY] if args.tiny else [shape_of(name) for name in MODELS]
    steps: list[dict[str, Any]] = []
    print(f"{'model':40} {'step':8} sequences tokens context  measured ms  roofline ms  ratio")
    with torch.inference_mode():
        for shape in shapes:
            if shape.weight_bytes > 0.8 * gpu.memory_bytes:
                print(f"{shape.name}: its weights do not fit {gpu.name}; left out")
                continue
            model = built(shape, device)
            cost = Roofline(gpu, shape)
            for case in cases(args.tiny):
                if time.monotonic() - began > BUDGET:
                    print(f"{shape.name}: {case}: no time left")
                    continue
                took = seconds_of(model, case, shape, device)
                roofline = cost.seconds(case.step()).total
                steps.append({"model": shape.name, **asdict(case), "s": took, "roofline": roofline})
                if args.out:
                    args.out.write_text(json.dumps({"gpu": gpu.name, "steps": steps}, indent=1))
                print(
                    f"{shape.name:40} {case.kind:8} {case.sequences:9} {case.tokens:6} "
                    f"{case.context:7} {1e3 * took:12.2f} {1e3 * roofline:12.2f} "
                    f"{took / roofline:6.2f}",
                    flush=True,
                )
            del model


if __name__ == "__main__":
    main()
