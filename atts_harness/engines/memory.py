"""Device memory of servers that a run starts: what each takes, and whether it fits.

Both engines take a fraction of a device for weights and KV cache together, but of different wholes:
vLLM of the device's memory (`gpu_memory_utilization`: `request_memory` in its
`v1/worker/utils.py`), SGLang of what is free before it loads (`mem_fraction_static`:
`_profile_available_bytes` in its `mem_cache/kv_cache_configurator.py`). Two servers on one device
are started one after the other, so the second of them finds less.
"""

from __future__ import annotations

import functools
import math
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from atts_harness.backend import BackendSpec, Role
from atts_harness.engines.managed import ManagedOptions, devices_of, is_managed
from atts_harness.errors import SettingError
from atts_harness.shapes import ModelShape, shape_of

__all__ = ["Share", "device_memory", "on_shared_devices", "share_of", "shares"]

GIB = float(1 << 30)
USABLE = 0.95
"""Share of a device that two servers may take together; the rest is the driver's and the CUDA
contexts'."""
ALONE = 0.9
"""Share that a server takes of a device that it has alone, by the engines' usual settings."""
WORKING_BYTES = 2.0 * GIB
"""Bytes a device for activations and CUDA graphs."""
SCORED_ROWS = 2048
"""Prompt tokens of a step whose log-probabilities are computed at once; see `atts_vllm.launch`."""
ROW_BYTES = 12.0
"""Bytes of one logit on its way to a log-probability: float32 logits, their softmax, a copy."""
LONGEST_BUDGET = 32768
"""Tokens of a sample for which a window has room if `max_gen_toks` is not set: a task may set its
own, which is read only after the models are open."""
LONGEST_PROMPT = 4096
"""Tokens of a prompt for which a window has room."""


@dataclass(frozen=True)
class Share:
    """The memory that one server takes of each of its devices, in bytes.

    Attributes:
        role: of the server.
        devices: number of devices that it is spread over.
        total: memory of a device.
        weights: a device's part of the weights.
        working: activations, CUDA graphs, logits of scored prompts.
        kv: KV cache.
        before: memory that a server started earlier takes of the same device.
        tokens: capacity of the KV cache in tokens.
        max_length: context window that it is started with.
        shared: whether another server is on the same devices.
    """

    role: Role
    devices: int
    total: float
    weights: float
    working: float
    kv: float
    before: float
    tokens: int
    max_length: int
    shared: bool

    @property
    def of_device(self) -> float:
        """VLLM's fraction: weights, working memory and KV cache, of the device's memory."""
        return _down((self.weights + self.working + self.kv) / self.total)

    @property
    def of_free(self) -> float:
        """SGLang's fraction: weights and KV cache, of what is free before it loads."""
        return _down((self.weights + self.kv) / (self.total - self.before))

    def words(self) -> str:
        """The reason, in one line."""
        contexts = self.tokens / self.max_length
        return (
            f"{self.role}: of {self.devices} x {self.total / GIB:.0f} GiB, a device: "
            f"{self.weights / GIB:.1f} GiB of weights, {self.working / GIB:.1f} GiB to work in, "
            f"{self.kv / GIB:.1f} GiB of KV cache, which holds {self.tokens} tokens: "
            f"{contexts:.1f} contexts of {self.max_length}"
        )


def share_of(spec: BackendSpec[ManagedOptions]) -> Share | None:
    """The memory of a role's server; None if models or devices are not known well enough.

    Args:
        spec: of a managed backend; `spec.beside` are the other roles'.

    Raises:
        SettingError: it cannot fit; the message has figures and a remedy.
    """
    devices = devices_of(spec)
    memory = device_memory()
    if not devices or any(device not in memory for device in devices):
        return None
    group = [spec, *_neighbours(spec, devices)]
    group.sort(key=lambda server: server.role != "draft")  # the order in which they are started
    try:
        models = {server.role: _shape(server) for server in group}
    except SettingError:
        return None
    total = min(memory[device] for device in devices)
    windows = {server.role: window_of(server, models[server.role]) for server in group}
    return shares(models, total, len(devices), windows)[spec.role]


def on_shared_devices(spec: BackendSpec[ManagedOptions]) -> bool:
    """Whether another server of this run is started on the same devices.

    Raises:
        SettingError: on some of them only.
    """
    return bool(_neighbours(spec, devices_of(spec)))


def _neighbours(
    spec: BackendSpec[ManagedOptions], devices: tuple[str, ...]
) -> list[BackendSpec[ManagedOptions]]:
    neighbours = []
    for other in spec.beside:
        if not is_managed(other) or other.options.url is not None:
            continue
        if other == spec:
            continue  # one server serves both roles
        common = set(devices_of(other)) & set(devices)
        if not common:
            continue
        if set(devices_of(other)) != set(devices):
            raise SettingError(
                f"{spec.role}_devices and {other.role}_devices overlap in "
                f"{'+'.join(sorted(common))} only; give both the same devices, or each its own"
            )
        neighbours.append(other)
    return neighbours


def window_of(spec: BackendSpec[ManagedOptions], shape: ModelShape) -> int:
    """The context window that a server is started with: its setting, or prompt and budget."""
    budget = spec.max_gen_toks or LONGEST_BUDGET
    return spec.options.max_length or min(shape.window, budget + LONGEST_PROMPT)


def shares(
    models: Mapping[Role, ModelShape], total: float, devices: int, windows: Mapping[Role, int]
) -> dict[Role, Share]:
    """How servers divide the devices that they share, or how much one takes alone.

    Args:
        models: shapes by role, in the order in which the servers are started.
        total: bytes of a device.
        devices: number of devices.
        windows: context windows by role.

    Raises:
        SettingError: not even one whole context of each fits.
    """
    working = {role: _working(role, shape) for role, shape in models.items()}
    weights = {role: shape.weight_bytes / devices for role, shape in models.items()}
    shared = len(models) > 1
    free = total * (USABLE if shared else ALONE) - sum(weights.values()) - sum(working.values())
    token_bytes = {role: shape.kv_bytes / devices for role, shape in models.items()}
    # The same number of tokens for all: every draft is scored.
    tokens = free / sum(token_bytes.values())
    if tokens < max(windows.values()):
        raise SettingError(_too_little(models, total, devices, windows))
    by_role: dict[Role, Share] = {}
    before = 0.0
    for role in models:
        share = Share(
            role=role,
            devices=devices,
            total=total,
            weights=weights[role],
            working=working[role],
            kv=tokens * token_bytes[role],
            before=before,
            tokens=int(tokens),
            max_length=windows[role],
            shared=shared,
        )
        before += share.weights + share.working + share.kv
        by_role[role] = share
    return by_role


@functools.cache
def device_memory() -> Mapping[str, float]:
    """Bytes of memory of each GPU, by its number; empty where `nvidia-smi` does not tell."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    query = ["--query-gpu=index,memory.total", "--format=csv,noheader,nounits"]
    process = subprocess.run(
        [tool, *query], capture_output=True, text=True, check=False, timeout=30
    )
    memory = {}
    for line in process.stdout.splitlines() if process.returncode == 0 else ():
        number, _, mebibytes = line.partition(",")
        if mebibytes.strip().isdecimal():
            memory[number.strip()] = float(mebibytes) * (1 << 20)
    return memory


def _shape(spec: BackendSpec[ManagedOptions]) -> ModelShape:
    return shape_of(spec.model or "", spec.options.dtype)


def _working(role: Role, shape: ModelShape) -> float:
    """Bytes a device to work in; a target scores prompts and holds all their logits at once."""
    return WORKING_BYTES + (SCORED_ROWS * shape.vocab * ROW_BYTES if role == "target" else 0.0)


def _too_little(
    models: Mapping[Role, ModelShape], total: float, devices: int, windows: Mapping[Role, int]
) -> str:
    parts: list[str] = []
    for role, shape in models.items():
        context = shape.kv_bytes * windows[role] / devices
        weights = shape.weight_bytes / devices
        parts.append(
            f"{role} {weights / GIB:.1f} GiB of weights, {_working(role, shape) / GIB:.1f} GiB to "
            f"work in and {context / GIB:.1f} GiB for one context of {windows[role]} tokens"
        )
    names = " and ".join(f"{role}_devices" for role in models)
    remedy = "give each role devices of its own" if len(models) > 1 else "give it more devices"
    return (
        f"{names}: {devices} x {total / GIB:.0f} GiB are too little; a device needs "
        f"{', '.join(parts)}; {remedy}, or set a smaller max_gen_toks or max_length"
    )


def _down(share: float) -> float:
    """Rounded down: a fraction that is a little too large is refused by the engine."""
    return math.floor(share * 1000) / 1000
