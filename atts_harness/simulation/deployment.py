"""Where the two models run: GPUs for each, or for both, and what of their memory is left.

deployment = split(draft, target, gpu_of("h100"), draft_devices=1, target_devices=2)
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from atts_harness.backend import Role
from atts_harness.errors import SettingError
from atts_harness.simulation.costs import GIB, GPU, CostModel, Roofline
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.shapes import ModelShape

__all__ = ["Deployment", "Placement", "Pricing", "deployments", "place"]

UTILISATION = 0.9
"""Share of a GPU's memory that an engine takes; what vLLM takes by default."""
WORKING_BYTES = 2.0 * GIB
"""Bytes a GPU for activations, CUDA graphs and the logits of scored prompts."""

Pricing = Callable[["Placement"], CostModel]
"""The cost model of a placed model."""


@dataclass(frozen=True)
class Placement:
    """One model on its GPUs.

    Attributes:
        role: draft or target.
        shape: the model.
        gpu: the device.
        devices: how many it is spread over.
        kv_tokens: tokens of KV cache that fit beside the weights.
    """

    role: Role
    shape: ModelShape
    gpu: GPU
    devices: int
    kv_tokens: int


@dataclass(frozen=True)
class Deployment:
    """A pair on its GPUs.

    Attributes:
        draft, target: their placements.
        shared: whether both run on the same GPUs, and so take turns.
        devices: GPUs in all.
    """

    draft: Placement
    target: Placement
    shared: bool

    @property
    def devices(self) -> int:
        """GPUs in all."""
        return self.draft.devices if self.shared else self.draft.devices + self.target.devices

    @property
    def name(self) -> str:
        """Such as `1 + 2`, or `3 shared`."""
        if self.shared:
            return f"{self.devices} shared"
        return f"{self.draft.devices} + {self.target.devices}"

    def engines(
        self, limits: EngineLimits, pricing: Pricing = lambda one: roofline(one)
    ) -> Mapping[Role, SimulatedEngine]:
        """Engines for a run; made inside the loop that it runs in.

        Args:
            limits: as for both, `kv_tokens` aside.
            pricing: the cost model of a placement.
        """
        device = asyncio.Lock() if self.shared else None
        return {
            one.role: SimulatedEngine(
                pricing(one), replace(limits, kv_tokens=one.kv_tokens), device
            )
            for one in (self.draft, self.target)
        }


def roofline(placement: Placement) -> Roofline:
    """The built-in cost model of a placement."""
    return Roofline(placement.gpu, placement.shape, placement.devices)


def place(
    draft: ModelShape,
    target: ModelShape,
    gpu: GPU,
    draft_devices: int,
    target_devices: int,
    *,
    shared: bool = False,
    least_tokens: int = 1,
) -> Deployment:
    """A pair on given numbers of GPUs.

    Args:
        draft: the draft's shape.
        target: the target's.
        gpu: the device.
        draft_devices: GPUs of the draft.
        target_devices: GPUs of the target; the same ones if `shared`.
        shared: whether both run on the same GPUs.
        least_tokens: tokens of KV cache that each must have room for: one whole sample.

    Raises:
        SettingError: they do not fit; says what would.
    """
    for role, shape, devices in (
        ("draft", draft, draft_devices),
        ("target", target, target_devices),
    ):
        if shape.kv_heads % devices and devices % shape.kv_heads:
            raise SettingError(
                f"{role} {shape.name}: its {shape.kv_heads} KV heads cannot be spread over "
                f"{devices} GPUs; use {math.gcd(shape.kv_heads, devices)}"
            )
    own = (_room(gpu, draft_devices), _room(gpu, target_devices))
    if shared:
        left = own[1] - draft.weight_bytes - target.weight_bytes
        # The same number of tokens for both.
        tokens = left / (draft.kv_bytes + target.kv_bytes)
        rooms = (tokens, tokens)
    else:
        rooms = (
            (own[0] - draft.weight_bytes) / draft.kv_bytes,
            (own[1] - target.weight_bytes) / target.kv_bytes,
        )
    for role, shape, devices, room in zip(
        ("draft", "target"), (draft, target), (draft_devices, target_devices), rooms, strict=True
    ):
        if room < least_tokens:
            needed = shape.weight_bytes + shape.kv_bytes * least_tokens
            raise SettingError(
                f"{role} {shape.name} does not fit {devices} x {gpu.name}: its weights take "
                f"{shape.weight_bytes / GIB:.0f} GiB, a context of {least_tokens} tokens "
                f"{shape.kv_bytes * least_tokens / GIB:.1f} GiB; "
                f"{math.ceil(needed / _room(gpu, 1))} of its own would do"
            )
    return Deployment(
        Placement("draft", draft, gpu, draft_devices, int(rooms[0])),
        Placement("target", target, gpu, target_devices, int(rooms[1])),
        shared,
    )


def deployments(
    draft: ModelShape, target: ModelShape, gpu: GPU, devices: int, *, least_tokens: int = 1
) -> Iterator[Deployment]:
    """Every way to put a pair on up to `devices` GPUs that fits, tensor parallel by powers of two.

    Raises:
        SettingError: none fits; says what the pair needs.
    """
    powers = [1 << n for n in range(devices.bit_length()) if 1 << n <= devices]
    wanted = [(d, t, False) for d in powers for t in powers if d + t <= devices]
    wanted += [(n, n, True) for n in powers]
    failure: SettingError | None = None
    found = 0
    for of_draft, of_target, shared in wanted:
        try:
            yield place(
                *(draft, target, gpu, of_draft, of_target),
                shared=shared,
                least_tokens=least_tokens,
            )
            found += 1
        except SettingError as error:
            failure = failure or error
    if not found and failure is not None:
        raise SettingError(f"--gpus {gpu.name}:{devices}: {failure}") from failure


def _room(gpu: GPU, devices: int) -> float:
    """Bytes for weights and KV cache."""
    return devices * (gpu.memory_bytes * UTILISATION - WORKING_BYTES)
