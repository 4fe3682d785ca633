"""One model's training: batches, optimisers, schedule, and a checkpoint that resumes exactly."""

from __future__ import annotations

import math
import platform
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.tiny.examples import UNKNOWN, Example
from training.tiny.model import EPSILON, Shape, Weights, norm, rope_tables, states_by_layer
from training.tiny.muon import Muon

READER, READER_BIAS = "proofreader.weight", "proofreader.bias"
"""Parameters of the proof-reading loss; they are not part of the model."""

WRITES = re.compile(r"layers\.(\d+)\..*(?:o_proj|down_proj)\.")
"""Names of what a layer writes to the stream with."""

POOL = 8
"""Batches that are drawn together and sorted by length, so that little is padding."""


@dataclass(frozen=True)
class Plan:
    """How one model is trained.

    Attributes:
        shape: The model's sizes.
        steps: Optimiser steps; fixed, so that a build repeats.
        tokens: Tokens a step, about.
        flat: Share of the steps before the learning rate falls (as a cosine, to nothing).
        warmup: Steps over which the learning rate rises.
        matrix_rate: Learning rate of Muon, for the matrices inside the layers.
        other_rate: Learning rate of AdamW, for everything else.
        seed: Of weights and examples.
        circles: Whether the integers' embeddings start on circles.
        proofread: Weight of the proof-reading loss (`proofreading_loss`); 0 for none.
        readers: Layers behind which that loss reads, counted from the last one (-1).
        wrong: Weight of a wrong token in that loss, where a right one has 1.
        precision: Type to compute in, by its name in torch.
        grown: Layers on top that `deepen` added.
        loud: Factor on the learning rates of what those layers write with. Where they begin, the
            stream has grown to ten thousand; what they wrote at the common rate would stay a
            hundredth of it, and nothing behind the next norm could read it.
        code: Last dimensions of the stream, which carry the token's code. What `deepen` laid in for
            them is not learnt: a small rate would blur it before the layers above could use it.
    """

    shape: Shape
    steps: int
    tokens: int = 1200
    flat: float = 0.5
    warmup: int = 50
    matrix_rate: float = 0.02
    other_rate: float = 0.003
    seed: int = 1
    circles: bool = True
    proofread: float = 0.0
    readers: tuple[int, ...] = (-2,)
    wrong: float = 1.0
    precision: str = "float32"
    grown: int = 0
    loud: float = 1.0
    code: int = 0


Draw = Callable[[random.Random], Example]


def quick_precision() -> str:
    """The type that this processor trains faster in.

    Without AVX-512 a step in bfloat16 takes ten times as long as one in float32; with it, the first
    stages of the shipped pair were trained in bfloat16.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    return "bfloat16" if capability.startswith("AVX512") else "float32"


def describe_machine() -> dict[str, str]:
    """What the weights may depend on besides the plan."""
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def pool_of(draw: Draw, plan: Plan, number: int) -> list[list[Example]]:
    """The examples of `POOL` consecutive steps, the same whenever they are asked for."""
    rng = random.Random(f"{plan.seed}/{number}")
    pool: list[Example] = []
    size = 0
    while size < plan.tokens * POOL:
        example = draw(rng)
        pool.append(example)
        size += len(example.ids)
    pool.sort(key=lambda example: len(example.ids))
    batches: list[list[Example]] = [[] for _ in range(POOL)]
    passed = 0
    for example in pool:
        batches[passed * POOL // size].append(example)
        passed += len(example.ids)
    return sorted(batches, key=lambda _: rng.random())


@dataclass(frozen=True)
class Batch:
    """Examples padded on the right, each tensor (rows, length).

    Attributes:
        ids: Token ids.
        counts: Weight of each token in the loss.
        flags: Whether each token is right, see `training.tiny.examples.WRONG`.
    """

    ids: Tensor
    counts: Tensor
    flags: Tensor


def batch_of(rows: list[Example], pad: int) -> Batch:
    """Examples as one batch."""
    length = max(len(example.ids) for example in rows)
    ids = torch.full((len(rows), length), pad)
    counts = torch.zeros((len(rows), length))
    flags = torch.full((len(rows), length), UNKNOWN)
    for row, example in enumerate(rows):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        counts[row, : len(example.ids)] = torch.tensor(example.weights)
        flags[row, : len(example.ids)] = torch.tensor(example.flags)
    return Batch(ids, counts, flags)


def loss_of(weights: Weights, plan: Plan, batch: Batch) -> Tensor:
    """Weighted cross entropy of the next token."""
    half = {name: tensor.to(getattr(torch, plan.precision)) for name, tensor in weights.items()}
    cos, sin = rope_tables(batch.ids.shape[1] - 1)
    layers = states_by_layer(half, plan.shape, batch.ids[:, :-1], cos, sin)
    states = norm(layers[-1], half["model.norm.weight"])
    counted = batch.counts[:, 1:] > 0
    logits = states[counted] @ half["model.embed_tokens.weight"].T
    losses = functional.cross_entropy(logits.float(), batch.ids[:, 1:][counted], reduction="none")
    share = batch.counts[:, 1:][counted]
    loss = (losses * share).sum() / share.sum()
    if plan.proofread:
        read = [layers[place] for place in plan.readers]
        loss = loss + plan.proofread * proofreading_loss(
            half, read, batch.flags[:, :-1], plan.wrong
        )
    return loss


def proofreading_loss(
    weights: Weights, layers: list[Tensor], flags: Tensor, wrong: float = 1.0
) -> Tensor:
    """Cross entropy of whether a token is wrong, read off the states behind layers below the last.

    The next token alone says this too rarely: a judge's digit or a repair follows a few steps only.
    Told at every token, the model learns to check what it reads, and the layers above can ask those
    states before they judge or repair. The readers are thrown away after the training.

    Args:
        weights: Parameters, the readers' among them.
        layers: For each reader, states (rows, length, hidden).
        flags: Flags (rows, length), see `training.tiny.examples.WRONG`.
        wrong: Weight of a wrong token.
    """
    labelled = flags != UNKNOWN
    read = torch.stack([states[labelled] for states in layers], dim=1).float()
    read = functional.rms_norm(read, read.shape[-1:], eps=EPSILON)
    logits = (read * weights[READER].float()).sum(-1) + weights[READER_BIAS].float()
    return functional.binary_cross_entropy_with_logits(
        logits, flags[labelled][:, None].expand_as(logits), pos_weight=torch.tensor(wrong)
    )


def model_weights(weights: Weights) -> Weights:
    """What belongs to the model: all but the proof-reader."""
    return {name: weights[name] for name in weights if name not in (READER, READER_BIAS)}


def rate_at(plan: Plan, step: int) -> float:
    """The factor on both learning rates at a step."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    flat = plan.flat * plan.steps
    if step < flat:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - flat) / (plan.steps - flat)))


def loudness(plan: Plan, name: str) -> float:
    """The factor on the learning rate of a parameter, see `Plan.loud`."""
    match = WRITES.search(name)
    old = plan.shape.layers - plan.grown
    return plan.loud if match is not None and int(match.group(1)) >= old else 1.0


def laid_in(plan: Plan, name: str) -> tuple[slice, ...] | None:
    """Where a parameter is left as `deepen` made it, see `Plan.code`; None for nowhere."""
    if not plan.code:
        return None
    if WRITES.search(name) or name == "model.norm.weight":
        return (slice(-plan.code, None),)
    if name == "model.embed_tokens.weight":
        return (slice(None), slice(-plan.code, None))
    first = f"model.layers.{plan.shape.layers - plan.grown}."
    if re.match(re.escape(first) + r"self_attn\.[qkv]_proj", name):
        return (slice(plan.code),)
    if re.match(re.escape(first) + r"mlp\.(gate|up)_proj", name):
        return (slice(2 * plan.code),)
    return None


def _without(place: tuple[slice, ...], gradient: Tensor) -> Tensor:
    masked = gradient.clone()
    masked[place] = 0
    return masked


class Training:
    """A model on its way: weights, optimisers and the number of steps done."""

    def __init__(self, plan: Plan, start: Weights) -> None:
        self.plan, self.step = plan, 0
        self.pool: tuple[int, list[list[Example]]] | None = None
        self.weights = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
        if plan.proofread and READER not in self.weights:
            shape = (len(plan.readers), plan.shape.hidden)
            self.weights[READER] = torch.zeros(shape, requires_grad=True)
            self.weights[READER_BIAS] = torch.zeros(len(plan.readers), requires_grad=True)
        for name, tensor in self.weights.items():
            if (rows := laid_in(plan, name)) is not None:
                tensor.register_hook(partial(_without, rows))  # type: ignore[no-untyped-call]
        kinds: dict[tuple[bool, float], list[Tensor]] = {}
        for name, tensor in self.weights.items():
            inside = tensor.ndim == 2 and "embed" not in name and name != READER
            kinds.setdefault((inside, loudness(plan, name)), []).append(tensor)
        matrices, others = (
            [
                {"params": tensors, "factor": factor}
                for (kind, factor), tensors in kinds.items()
                if kind is inside
            ]
            for inside in (True, False)
        )
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=plan.matrix_rate, precision=getattr(torch, plan.precision)),
            torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.rates = (plan.matrix_rate, plan.other_rate)

    def advance(self, draw: Draw, pad: int) -> float:
        """One optimiser step; returns its loss."""
        number, place = divmod(self.step, POOL)
        if self.pool is None or self.pool[0] != number:
            self.pool = (number, pool_of(draw, self.plan, number))
        loss = loss_of(self.weights, self.plan, batch_of(self.pool[1][place], pad))
        loss.backward()  # type: ignore[no-untyped-call]
        factor = rate_at(self.plan, self.step)
        for optimiser, rate in zip(self.optimisers, self.rates, strict=True):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor * group["factor"]
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Writes a checkpoint; the old one stays until the new one is whole."""
        state = {
            "plan": asdict(self.plan),
            "machine": describe_machine(),
            "step": self.step,
            "weights": {name: tensor.detach() for name, tensor in self.weights.items()},
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over a checkpoint's state."""
        with torch.no_grad():
            for name, tensor in self.weights.items():
                tensor.copy_(state["weights"][name])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.step = int(state["step"])
