"""The Llama of the pair in plain PyTorch: small enough to train on a CPU, exported as it is.

The parameters carry the names and shapes that ``transformers`` gives them, so saving is renaming
nothing. Only what training and bulk evaluation need is here; everything else loads the folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from training.tiny.tokenizer import CONTEXT, Codec, save_tokenizer

ROPE_THETA = 10000.0
EPSILON = 1e-5
HEAD = 32
CIRCLES = (200, 100, 50, 25, 20, 10, 5, 2.5)
"""Periods of the circles that integers may start on."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a model; the hidden size is ``heads * HEAD``."""

    layers: int
    heads: int
    hidden: int
    feed_forward: int
    vocabulary: int


Weights = dict[str, Tensor]


def init_weights(shape: Shape, seed: int, numbers: Sequence[int] = ()) -> Weights:
    """Fresh float32 parameters.

    Two things that would otherwise take most of the training are laid in. The heads of the first
    layer look 1, 2, 3, ... tokens back, for copying a chain; and the integers that are named lie on
    circles, for adding.

    Args:
        shape: The model's sizes.
        seed: Of everything drawn.
        numbers: Ids of the integers from 0 on, or none: then adding is learnt from nothing.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator) * scale

    width, inner = shape.hidden, shape.heads * HEAD
    weights: Weights = {"model.embed_tokens.weight": normal(shape.vocabulary, width, 0.05)}
    for layer in range(shape.layers):
        name = f"model.layers.{layer}."
        for part in ("q", "k", "v"):
            weights[f"{name}self_attn.{part}_proj.weight"] = normal(inner, width, width**-0.5)
            weights[f"{name}self_attn.{part}_proj.bias"] = torch.zeros(inner)
        out_scale = 0.5 / math.sqrt(shape.layers)
        weights[f"{name}self_attn.o_proj.weight"] = normal(width, inner, inner**-0.5 * out_scale)
        weights[f"{name}self_attn.o_proj.bias"] = torch.zeros(width)
        for part in ("gate", "up"):
            weights[f"{name}mlp.{part}_proj.weight"] = normal(
                shape.feed_forward, width, width**-0.5
            )
        weights[f"{name}mlp.down_proj.weight"] = normal(
            width, shape.feed_forward, shape.feed_forward**-0.5 * out_scale
        )
        weights[f"{name}input_layernorm.weight"] = torch.ones(width)
        weights[f"{name}post_attention_layernorm.weight"] = torch.ones(width)
    weights["model.norm.weight"] = torch.ones(width)
    look_back(weights, 0, range(1, shape.heads + 1))
    _on_circles(weights["model.embed_tokens.weight"], numbers)
    return weights


def _on_circles(embedding: Tensor, numbers: Sequence[int]) -> None:
    """Adds to the embedding of each integer its place on circles of several periods.

    A sum of integers is then a sum of angles, which a gated layer can take at once.
    """
    values = torch.arange(len(numbers)).float()
    for place, period in enumerate(CIRCLES):
        angle = 2 * math.pi * values / period
        embedding[list(numbers), 2 * place] += 0.15 * angle.cos()
        embedding[list(numbers), 2 * place + 1] += 0.15 * angle.sin()


def look_back(weights: Weights, layer: int, places: Sequence[int]) -> None:
    """Biases of a layer: each head looks so many places back, whatever stands there."""
    strength = 6.0
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD, 2) / HEAD)
    name = f"model.layers.{layer}.self_attn."
    for head, back in enumerate(places):
        angle = -float(back) * frequencies
        rows = slice(head * HEAD, (head + 1) * HEAD)
        key, query = weights[name + "k_proj.bias"], weights[name + "q_proj.bias"]
        key[rows] = torch.cat([torch.full((HEAD // 2,), strength), torch.zeros(HEAD // 2)])
        query[rows] = strength * torch.cat([angle.cos(), angle.sin()])
    for part in ("q", "k"):
        weights[f"{name}{part}_proj.weight"] *= 0.1


def rope_tables(length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary positions, each of shape (length, HEAD)."""
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD, 2).float() / HEAD)
    angles = torch.arange(length).float()[:, None] * frequencies[None]
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Applies the rotary positions to the last dimension."""
    half = states.shape[-1] // 2
    turned = torch.cat([-states[..., half:], states[..., :half]], dim=-1)
    return states * cos + turned * sin


def norm(states: Tensor, weight: Tensor) -> Tensor:
    """Root-mean-square norm in float32, as Llama does it."""
    wide = states.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + EPSILON)
    return weight * wide.to(weight.dtype)


def project(weights: Weights, name: str, states: Tensor) -> Tensor:
    """One linear map by its name, with its bias where it has one."""
    return functional.linear(states, weights[name + ".weight"], weights.get(name + ".bias"))


def feed_forward(weights: Weights, name: str, states: Tensor) -> Tensor:
    """The gated feed-forward block of a layer."""
    gate = functional.silu(project(weights, name + "mlp.gate_proj", states))
    return project(
        weights, name + "mlp.down_proj", gate * project(weights, name + "mlp.up_proj", states)
    )


def hidden_states(weights: Weights, shape: Shape, ids: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Final states of right-padded rows; see `states_by_layer`.

    Returns:
        States (rows, length, hidden), normed.
    """
    return norm(states_by_layer(weights, shape, ids, cos, sin)[-1], weights["model.norm.weight"])


def states_by_layer(
    weights: Weights, shape: Shape, ids: Tensor, cos: Tensor, sin: Tensor
) -> list[Tensor]:
    """States of right-padded rows behind each layer.

    Args:
        weights: Parameters, all of one type.
        shape: The model's sizes.
        ids: Token ids (rows, length). Causality keeps the padding from mattering.
        cos: Cosines (length, HEAD).
        sin: Sines (length, HEAD).

    Returns:
        For each layer, states (rows, length, hidden), not normed.
    """
    rows, length = ids.shape
    by_layer: list[Tensor] = []
    states = functional.embedding(ids, weights["model.embed_tokens.weight"])
    mask = torch.full((length, length), float("-inf"), dtype=states.dtype).triu(1)
    cos, sin = cos.to(states.dtype), sin.to(states.dtype)
    for layer in range(shape.layers):
        name = f"model.layers.{layer}."
        inner = norm(states, weights[name + "input_layernorm.weight"])
        query, key, value = (
            project(weights, f"{name}self_attn.{part}_proj", inner)
            .view(rows, length, shape.heads, HEAD)
            .transpose(1, 2)
            for part in ("q", "k", "v")
        )
        query, key = rotate(query, cos, sin) * HEAD**-0.5, rotate(key, cos, sin)
        attention = (query @ key.transpose(-1, -2) + mask).softmax(-1)
        mixed = (attention @ value).transpose(1, 2).reshape(rows, length, shape.heads * HEAD)
        states = states + project(weights, name + "self_attn.o_proj", mixed)
        inner = norm(states, weights[name + "post_attention_layernorm.weight"])
        states = states + feed_forward(weights, name, inner)
        by_layer.append(states)
    return by_layer


def save_model(folder: Path, weights: Weights, shape: Shape, codec: Codec) -> None:
    """Writes a folder that ``transformers``, vLLM and SGLang load as it is."""
    from safetensors.torch import save_file

    save_tokenizer(folder)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": EPSILON,
        "rope_theta": ROPE_THETA,
        "attention_bias": True,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": codec.end,
        "pad_token_id": codec.pad,
        "torch_dtype": "float16",
    }
    generation = {"eos_token_id": codec.end, "pad_token_id": codec.pad}
    for file, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / file).write_text(json.dumps(content, indent=1) + "\n")
    half = {name: tensor.detach().half().contiguous() for name, tensor in weights.items()}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes for the owner alone


def load_model(folder: Path) -> tuple[Weights, Shape]:
    """Reads a folder written by `save_model`, weights in float32."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    shape = Shape(
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        hidden=config["hidden_size"],
        feed_forward=config["intermediate_size"],
        vocabulary=config["vocab_size"],
    )
    weights = load_file(folder / "model.safetensors")
    return {name: tensor.float() for name, tensor in weights.items()}, shape
