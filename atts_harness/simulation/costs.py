"""What a step of an engine costs in seconds.

A step is one pass of the model over whatever its scheduler put together: one token for each
sequence that decodes, and chunks of prompts. `Roofline` works the seconds out from the GPU and the
model; `Measured` is fitted to a running engine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from atts_harness.errors import SettingError
from atts_harness.files import load_yaml
from atts_harness.shapes import ModelShape

__all__ = ["GPU", "CostModel", "Measured", "Roofline", "Step", "StepSeconds", "gpu_of", "gpus_of"]

GPUS = Path(__file__).with_name("gpus.yaml")
GIB = float(1 << 30)


@dataclass(frozen=True)
class Step:
    """What one step computes.

    Attributes:
        decodes: sequences that write one token each.
        prefills: prompt chunks.
        prompt_tokens: tokens of these chunks.
        context: tokens of KV cache that are read, over all sequences.
        pairs: (token, token before it) pairs of attention.
        rows: tokens whose logits are computed.
    """

    decodes: float = 0.0
    prefills: float = 0.0
    prompt_tokens: float = 0.0
    context: float = 0.0
    pairs: float = 0.0
    rows: float = 0.0

    @property
    def tokens(self) -> float:
        """Tokens that pass through the model."""
        return self.decodes + self.prompt_tokens

    @property
    def sequences(self) -> float:
        """Sequences in the step."""
        return self.decodes + self.prefills


@dataclass(frozen=True)
class StepSeconds:
    """Where the time of a step goes. The step takes the longer of `compute` and `memory`.

    Attributes:
        compute: arithmetic.
        memory: reading weights and KV cache.
        links: all-reduces between the GPUs of a model.
        overhead: what is there whatever is computed: launches, scheduling, sampling.
    """

    compute: float
    memory: float
    links: float
    overhead: float

    @property
    def total(self) -> float:
        """Seconds of the step."""
        return max(self.compute, self.memory) + self.links + self.overhead


class CostModel(Protocol):
    """Seconds of a step."""

    def seconds(self, step: Step) -> StepSeconds:
        """What a step costs; never negative, and more work never costs less."""
        ...


@dataclass(frozen=True)
class GPU:
    """One device; see `gpus.yaml`.

    Attributes:
        name: as in `--gpus NAME:COUNT`.
        memory: GiB.
        bandwidth: bytes a second from its memory.
        flops: a second in bfloat16, dense.
        link: bytes a second to its neighbours, one way.
    """

    name: str
    memory: float
    bandwidth: float
    flops: float
    link: float

    @property
    def memory_bytes(self) -> float:
        """Bytes of memory."""
        return self.memory * GIB


@dataclass(frozen=True)
class Roofline:
    """The longer of arithmetic and memory traffic, with overheads.

    The efficiencies are those that dense kernels commonly reach in practice on long and on short
    inputs; the overheads are orders of magnitude of CUDA-graph launches, of one all-reduce over
    NVLink, and of an engine's scheduling and sampling. They are assumptions, not measurements of
    one engine: `atts plan` shows a range over half and twice the overheads.

    Attributes:
        gpu: the device.
        shape: the model.
        devices: of tensor parallelism.
        compute_efficiency: share of the peak FLOPs that large matrix products reach.
        memory_efficiency: share of the peak bandwidth.
        layer_seconds: launches of one layer's kernels.
        step_seconds: scheduling, sampling and replying, a step.
        sequence_seconds: the same, a sequence in the step.
        hop_seconds: latency of one all-reduce.
    """

    gpu: GPU
    shape: ModelShape
    devices: int = 1
    compute_efficiency: float = 0.6
    memory_efficiency: float = 0.8
    layer_seconds: float = 1.0e-5
    step_seconds: float = 1.5e-3
    sequence_seconds: float = 5.0e-6
    hop_seconds: float = 8.0e-6

    def seconds(self, step: Step) -> StepSeconds:
        """Seconds of a step on `devices` GPUs, which share weights, cache and work evenly."""
        shape, gpu = self.shape, self.gpu
        flops = shape.flops(step.tokens, step.pairs, step.rows)
        read = shape.step_bytes + shape.kv_bytes * (step.context + step.tokens)
        links = 0.0
        if self.devices > 1:
            # Two all-reduces a layer; a ring sends 2 (n - 1) / n of the activations.
            share = 2.0 * (self.devices - 1) / self.devices
            sent = step.tokens * shape.hidden * shape.dtype_bytes * share
            links = 2 * shape.layers * (sent / gpu.link + self.hop_seconds)
        return StepSeconds(
            compute=flops / (gpu.flops * self.compute_efficiency * self.devices),
            memory=read / (gpu.bandwidth * self.memory_efficiency * self.devices),
            links=links,
            overhead=shape.layers * self.layer_seconds
            + self.step_seconds
            + self.sequence_seconds * step.sequences,
        )

    def least_seconds(self, step: Step) -> float:
        """What no engine can undercut: peak FLOPs and peak bandwidth, nothing else."""
        shape, gpu = self.shape, self.gpu
        flops = shape.flops(step.tokens, step.pairs, step.rows)
        read = shape.step_bytes + shape.kv_bytes * step.context
        return max(flops / gpu.flops, read / gpu.bandwidth) / self.devices


@dataclass(frozen=True)
class Measured:
    """Costs fitted to a running engine, without the latency of a call.

    Attributes:
        step: seconds a step.
        sequence: seconds a sequence in the step, its sampling among them.
        context: seconds a token of KV cache that is read.
        prompt: seconds a prompt in the step beside its tokens: its call is read and answered.
        batch: seconds that a step of several tokens takes longer than one of a single token. On a
            processor it is large: a product of matrices in place of one of a matrix and a vector.
        prompt_token: seconds a prompt token computed.
        pair: seconds a pair of a token and one before it, in attention.
        row: seconds a token whose logits are computed: every token of a prompt that is scored, and
            one of each other sequence. With a large vocabulary it is most of what a score costs.
    """

    step: float
    sequence: float = 0.0
    prompt_token: float = 0.0
    pair: float = 0.0
    row: float = 0.0
    context: float = 0.0
    prompt: float = 0.0
    batch: float = 0.0

    def seconds(self, step: Step) -> StepSeconds:
        """A sum; what of it is arithmetic and what memory is not known."""
        work = (
            self.sequence * step.sequences
            + self.context * step.context
            + self.prompt * step.prefills
            + self.batch * (step.tokens > 1)
            + self.prompt_token * step.prompt_tokens
            + self.pair * step.pairs
            + self.row * step.rows
        )
        return StepSeconds(compute=work, memory=0.0, links=0.0, overhead=self.step)


def gpus_of(text: str, file: Path | None = None) -> tuple[GPU, int]:
    """A device and how many, from `NAME:COUNT` or `NAME`.

    Args:
        text: as given to `--gpus`.
        file: further GPUs.

    Raises:
        SettingError: of another form, or no such GPU.
    """
    name, colon, count = text.partition(":")
    if not name or (colon and not (count.isdecimal() and len(count) <= 6 and int(count) >= 1)):
        raise SettingError(f"--gpus {text}: expected NAME:COUNT, such as h100:3")
    return gpu_of(name, file), int(count) if colon else 1


def gpu_of(name: str, file: Path | None = None) -> GPU:
    """The GPU called `name`.

    Args:
        name: as in `gpus.yaml`, in any case.
        file: further GPUs, in the same form; they win.

    Raises:
        SettingError: no such GPU; names those that are there. Or the file is of another form.
    """
    gpus = dict(_gpus(GPUS))
    if file is not None:
        gpus |= _gpus(file)
    key = name.lower()
    if key not in gpus:
        raise SettingError(
            f"--gpus {name}: not known; there are {', '.join(gpus)}, and --gpu-file FILE for others"
        )
    return gpus[key]


def _gpus(file: Path) -> Mapping[str, GPU]:
    loaded = load_yaml(file, f"--gpu-file {file}")
    try:
        gpus = {
            str(name).lower(): GPU(
                name=str(name).lower(), **{k: float(v) for k, v in figures.items()}
            )
            for name, figures in loaded.items()
        }
        for gpu in gpus.values():
            if not all(0 < v < math.inf for k, v in vars(gpu).items() if k != "name"):
                raise ValueError(f"{gpu.name}: every figure is a number above 0")
        return gpus
    except (ValueError, TypeError, AttributeError) as error:
        raise SettingError(
            f"--gpu-file {file}: not a file of GPUs (NAME: {{memory, bandwidth, flops, link}}): "
            f"{error}"
        ) from error
