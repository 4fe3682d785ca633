"""Step costs from measured kernel tables: `aiconfigurator-core` (extra `[plan]`, Linux x86-64).

Tables of single kernels, measured by NVIDIA on each GPU, are summed to a step; the parts that are
not kernels (scheduling, sampling, replying) come from the roofline. The package is a model of its
own, so its answers are bounded: no step is quicker than the peak of the GPU, and one that mixes
prompts and decodes is no slower than the two apart and no quicker than the slower of them.
"""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.simulation.costs import Roofline, Step, StepSeconds

__all__ = ["Kernels", "kernels"]

SYSTEMS = {
    **{"a100": "a100_sxm", "h100": "h100_sxm", "h200": "h200_sxm", "b200": "b200_sxm"},
    "l40s": "l40s",
}
"""What the package calls our GPUs."""
ENGINE = "vllm"
GRAIN = 32
"""Contexts are rounded to so many tokens, so that few questions are asked twice."""
MILLISECONDS = 1e-3


class KernelTables(Protocol):
    """What is asked of the package's `AicEngine`; answers are milliseconds."""

    def decode_step_latency(self, gen_tokens: int, isl: int, osl: int) -> float:
        """One token for each of `gen_tokens` sequences with `isl` tokens of context."""
        ...

    def predict_prefill_latency(self, bs: int, isl: int, prefix: int = 0) -> float:
        """`bs` prompts of `isl` tokens, the first `prefix` of them cached."""
        ...

    def mixed_step_latency(
        self, ctx_tokens: int, gen_tokens: int, isl: int, osl: int, prefix: int = 0
    ) -> float:
        """Both in one step."""
        ...


@dataclass(frozen=True, eq=False)
class Kernels:
    """A cost model of kernel tables.

    Attributes:
        tables: of one model on one sort of GPU.
        usual: the roofline of the same placement: for overheads, bounds, and what of a step is
            arithmetic and what memory traffic.
    """

    tables: KernelTables
    usual: Roofline

    def seconds(self, step: Step) -> StepSeconds:
        """Seconds of a step: its kernels by the tables, the rest by the roofline."""
        roofline = self.usual.seconds(step)
        kernels = max(self._kernels(step), self.usual.least_seconds(step))
        share = kernels / (max(roofline.compute, roofline.memory) + roofline.links)
        return StepSeconds(
            compute=roofline.compute * share,
            memory=roofline.memory * share,
            links=roofline.links * share,
            overhead=self.usual.step_seconds + self.usual.sequence_seconds * step.sequences,
        )

    def _kernels(self, step: Step) -> float:
        decodes, prompts = round(step.decodes), round(step.prefills)
        cached = self._cached(step)
        chunk = max(1, round(step.prompt_tokens / prompts)) if prompts else 0
        read = step.context - prompts * cached - step.prompt_tokens
        context = _rounded(read / decodes) if decodes else 0
        logits = self._logits(step)
        if not prompts:
            return self._decode(decodes, context) + logits
        prefill = self._prefill(prompts, chunk + _rounded(cached), _rounded(cached))
        if not decodes:
            return prefill + logits
        decode = self._decode(decodes, context)
        mixed = MILLISECONDS * self.tables.mixed_step_latency(
            prompts * chunk, decodes, max(1, context), 2, 0
        )
        return min(max(mixed, prefill, decode), prefill + decode) + logits

    def _cached(self, step: Step) -> float:
        """Mean context before the chunks of prompts, worked out from the step's sums.

        Chunks of n / p tokens behind c have `pairs - context` = n c + n (n / p + 1) / 2 - p c - n
        more pairs than tokens that are read; decodes have as many of each.
        """
        n, p = step.prompt_tokens, step.prefills
        if n <= p:
            return 0.0
        return max(0.0, (step.pairs - step.context + n - n * (n / p + 1) / 2) / (n - p))

    def _logits(self, step: Step) -> float:
        """Logits of scored tokens; the tables have those of one token a sequence."""
        usual = self.usual
        rows = max(0.0, step.rows - step.sequences)
        flops = 2.0 * usual.shape.hidden * usual.shape.vocab * rows
        return flops / (usual.gpu.flops * usual.compute_efficiency * usual.devices)

    @functools.cache  # noqa: B019 - as long-lived as the plan
    def _decode(self, sequences: int, context: int) -> float:
        return MILLISECONDS * self.tables.decode_step_latency(sequences, max(1, context), 2)

    @functools.cache  # noqa: B019
    def _prefill(self, prompts: int, tokens: int, cached: int) -> float:
        return MILLISECONDS * self.tables.predict_prefill_latency(prompts, tokens, cached)


def kernels(usual: Roofline) -> Kernels:
    """The kernel tables of a placement, in place of its roofline.

    Args:
        usual: the roofline: GPU, model and number of GPUs.

    Raises:
        MissingExtraError: the package is not installed.
        SettingError: it has no tables for this GPU or this model.
    """
    return Kernels(_tables(usual.gpu.name, usual.shape.name, usual.devices, usual), usual)


def _rounded(tokens: float) -> int:
    return max(0, round(tokens / GRAIN)) * GRAIN


_COMPILED: dict[tuple[str, str, int], KernelTables] = {}


def _tables(gpu: str, model: str, devices: int, usual: Roofline) -> KernelTables:
    """The package's engine for a placement; made once, which takes seconds."""
    key = gpu, model, devices
    if key not in _COMPILED:
        _COMPILED[key] = _compiled(gpu, devices, usual)
    return _COMPILED[key]


def _compiled(gpu: str, devices: int, usual: Roofline) -> KernelTables:
    try:
        import aiconfigurator_core
        from aiconfigurator_core.sdk import engine
    except ImportError as error:
        raise MissingExtraError("--kernels", "plan", "aiconfigurator-core") from error
    if gpu not in SYSTEMS:
        raise SettingError(f"--kernels: no tables for {gpu}; there are {', '.join(SYSTEMS)}")
    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)  # fallbacks of other models
    shape = usual.shape
    config = {
        **{"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
        **{"num_hidden_layers": shape.layers, "hidden_size": shape.hidden},
        **{"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads},
        **{"head_dim": shape.head_dim, "intermediate_size": shape.intermediate},
        **{"vocab_size": shape.vocab, "max_position_embeddings": shape.window},
        "torch_dtype": "bfloat16",
    }
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "config.json").write_text(json.dumps(config), encoding="utf-8")
        try:
            spec = engine.compile_engine(folder, SYSTEMS[gpu], ENGINE, tp_size=devices)
            tables: KernelTables = aiconfigurator_core.AicEngine.from_spec(spec)
        except Exception as error:  # its own kinds of errors, of which none is documented
            raise SettingError(f"--kernels: {shape.name} on {gpu}: {error}") from error
    return tables
