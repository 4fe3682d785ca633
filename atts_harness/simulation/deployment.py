"""Where the models run: on GPUs of their own or shared, and how much memory is left.

deployment = split(draft, target, gpu_of("h100"), draft_devices=1, target_devices=2)
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from atts_harness.backend import Role
from atts_harness.errors import SettingError
from atts_harness.shapes import ModelShape
from atts_harness.simulation.costs import GIB, GPU, CostModel, Roofline
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits

__all__ = ["Deployment", "Placement", "Pricing", "deployments", "place", "roofline"]

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
    """The models of a run on their GPUs.

    Attributes:
        placements: by role; a strategy of one role has one.
        shared: whether they run on the same GPUs, and so take turns.
    """

    placements: Mapping[Role, Placement]
    shared: bool = False

    @property
    def devices(self) -> int:
        """GPUs in all."""
        counts = [placement.devices for placement in self.placements.values()]
        return max(counts) if self.shared else sum(counts)

    @property
    def name(self) -> str:
        """Numbers of GPUs, for tables: `1 + 2` (draft + target), or `2 shared`."""
        if self.shared:
            return f"{self.devices} shared"
        return " + ".join(str(placement.devices) for placement in self.placements.values())

    def engines(
        self, limits: EngineLimits | Mapping[Role, EngineLimits], pricing: Pricing
    ) -> dict[Role, SimulatedEngine]:
        """Engines for a run; made inside the loop that it runs in.

        Args:
            limits: as for all, or by role; `kv_tokens` is the placement's.
            pricing: the cost model of a placement.
        """
        device = asyncio.Lock() if self.shared else None
        limits_by_role = (
            limits if isinstance(limits, Mapping) else dict.fromkeys(self.placements, limits)
        )
        return {
            role: SimulatedEngine(
                pricing(placement),
                replace(limits_by_role[role], kv_tokens=placement.kv_tokens),
                device,
            )
            for role, placement in self.placements.items()
        }


def roofline(placement: Placement) -> Roofline:
    """The built-in cost model of a placement."""
    return Roofline(placement.gpu, placement.shape, placement.devices)


def place(
    models: Mapping[Role, ModelShape],
    gpu: GPU,
    devices: Mapping[Role, int],
    *,
    shared: bool = False,
    least_tokens: int = 1,
) -> Deployment:
    """Models on given numbers of GPUs.

    Args:
        models: their shapes by role, draft first.
        gpu: the device.
        devices: GPUs by role; the same ones if `shared`.
        shared: whether they run on the same GPUs.
        least_tokens: tokens of KV cache that each must have room for: one whole sample.

    Raises:
        SettingError: they do not fit; says what would.
    """
    for role, shape in models.items():
        count = devices[role]
        if shape.heads % count or (shape.kv_heads % count and count % shape.kv_heads):
            raise SettingError(
                f"{role} {shape.name}: its {shape.heads} heads and {shape.kv_heads} KV heads "
                f"cannot be spread over {count} GPUs; use "
                f"{math.gcd(shape.heads, shape.kv_heads, count)}"
            )
    if shared:
        room = _room(gpu, max(devices.values())) - sum(s.weight_bytes for s in models.values())
        # The same number of tokens for all.
        tokens = room / sum(shape.kv_bytes for shape in models.values())
        rooms = dict.fromkeys(models, tokens)
    else:
        rooms = {
            role: (_room(gpu, devices[role]) - shape.weight_bytes) / shape.kv_bytes
            for role, shape in models.items()
        }
    for role, shape in models.items():
        if rooms[role] < least_tokens:
            raise SettingError(
                f"{role} {shape.name} does not fit {devices[role]} x {gpu.name}: "
                f"{needs(models, gpu, least_tokens)}"
            )
    return Deployment(
        {
            role: Placement(role, shape, gpu, devices[role], int(rooms[role]))
            for role, shape in models.items()
        },
        shared,
    )


def deployments(
    models: Mapping[Role, ModelShape], gpu: GPU, devices: int, *, least_tokens: int = 1
) -> list[Deployment]:
    """Every way to put models on up to `devices` GPUs that fits.

    A model is spread over a power of two of them.

    Raises:
        SettingError: none fits; says what is needed.
    """
    powers = [1 << n for n in range(devices.bit_length())]
    splits = [
        dict(zip(models, counts, strict=True))
        for counts in itertools.product(powers, repeat=len(models))
        if sum(counts) <= devices
    ]
    layouts = [(split, False) for split in splits]
    if len(models) > 1:
        layouts += [(dict.fromkeys(models, count), True) for count in powers]
    fitting: list[Deployment] = []
    for split, shared in layouts:
        with contextlib.suppress(SettingError):
            fitting.append(place(models, gpu, split, shared=shared, least_tokens=least_tokens))
    if not fitting:
        needed = needs(models, gpu, least_tokens)
        raise SettingError(f"--gpus {gpu.name}:{devices}: the models do not fit: {needed}")
    return fitting


def needs(models: Mapping[Role, ModelShape], gpu: GPU, least_tokens: int) -> str:
    """How many GPUs each model needs, in words."""
    lines = []
    for role, shape in models.items():
        context = shape.kv_bytes * least_tokens
        alone = math.ceil((shape.weight_bytes + context) / _room(gpu, 1))
        lines.append(
            f"the {role} needs {1 << (alone - 1).bit_length()} of them "
            f"({shape.weight_bytes / GIB:.0f} GiB of weights, {context / GIB:.1f} GiB for a "
            f"context of {least_tokens} tokens)"
        )
    return ", ".join(lines)


def _room(gpu: GPU, devices: int) -> float:
    """Bytes for weights and KV cache."""
    return devices * (gpu.memory_bytes * UTILISATION - WORKING_BYTES)
