"""Bulk sampling and scoring with the pair's own PyTorch model, for training and for measuring.

Rows are sorted by length, padded on the left and decoded in lockstep with a cache; finished rows
are dropped as they come. Rotary positions are relative, so the padding in front shifts nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from training.tiny.model import (
    HEAD,
    Shape,
    Weights,
    feed_forward,
    hidden_states,
    norm,
    project,
    rope_tables,
    rotate,
)

ROWS = 256


class _Cache:
    """Keys and values of a batch, (layers, rows, heads, length, HEAD) each."""

    def __init__(self, shape: Shape, rows: int, length: int, padding: Tensor) -> None:
        size = (shape.layers, rows, shape.heads, length, HEAD)
        self.keys, self.values = torch.zeros(size), torch.zeros(size)
        self.used = 0
        self.hidden = torch.arange(length)[None] < padding[:, None]
        self.cos, self.sin = rope_tables(length)

    def keep(self, rows: Tensor) -> None:
        """Drops all rows but these."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.hidden = self.hidden[rows]


def _extend(weights: Weights, shape: Shape, cache: _Cache, ids: Tensor) -> Tensor:
    """Feeds ids (rows, new) into the cache and returns the logits of the last position."""
    rows, new = ids.shape
    first, last = cache.used, cache.used + new
    states = functional.embedding(ids, weights["model.embed_tokens.weight"])
    cos, sin = cache.cos[first:last], cache.sin[first:last]
    future = torch.arange(last)[None] > torch.arange(first, last)[:, None]
    barred = (
        (cache.hidden[:, None, None, :last] | future[None, None])
        if new > 1
        else (cache.hidden[:, None, None, :last])
    )
    # A padded position may see itself, or its softmax would be over nothing.
    if new > 1:
        barred = barred & ~torch.eye(new, last, dtype=torch.bool)
    bias = torch.zeros(barred.shape).masked_fill_(barred, float("-inf"))
    for layer in range(shape.layers):
        name = f"model.layers.{layer}."
        inner = norm(states, weights[name + "input_layernorm.weight"])
        query, key, value = (
            project(weights, f"{name}self_attn.{part}_proj", inner)
            .view(rows, new, shape.heads, HEAD)
            .transpose(1, 2)
            for part in ("q", "k", "v")
        )
        query = rotate(query, cos, sin)
        cache.keys[layer, :, :, first:last] = rotate(key, cos, sin)
        cache.values[layer, :, :, first:last] = value
        mixed = functional.scaled_dot_product_attention(
            query, cache.keys[layer, :, :, :last], cache.values[layer, :, :, :last], attn_mask=bias
        )
        mixed = mixed.transpose(1, 2).reshape(rows, new, shape.heads * HEAD)
        states = states + project(weights, name + "self_attn.o_proj", mixed)
        inner = norm(states, weights[name + "post_attention_layernorm.weight"])
        states = states + feed_forward(weights, name, inner)
    cache.used = last
    final = norm(states[:, -1], weights["model.norm.weight"])
    return final @ weights["model.embed_tokens.weight"].T


def draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One id a row; temperature 0 takes the likeliest."""
    if temperature == 0:
        return logits.argmax(-1)
    noise = torch.rand(logits.shape, generator=generator).clamp_(min=1e-20).log_().neg_().log_()
    return (logits / temperature - noise).argmax(-1)


@torch.inference_mode()
def sample(
    weights: Weights,
    shape: Shape,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    stops: Collection[int],
    temperature: float = 0.8,
    seed: int = 0,
) -> list[list[int]]:
    """Continues every prompt.

    Args:
        weights: float32 parameters.
        shape: The model's sizes.
        prompts: Token ids of each row; a prompt that is to be sampled often is repeated.
        limit: Most tokens to write a row.
        stops: Ids that end a row; the one that did is kept at the end.
        temperature: 0 is greedy.
        seed: Of the whole call. The same call gives the same samples on the same machine.

    Returns:
        The ids written for each prompt, in the order of the prompts.
    """
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    written: list[list[int]] = [[] for _ in prompts]
    generator = torch.Generator().manual_seed(seed)
    ends = torch.tensor(sorted(stops))
    for start in range(0, len(order), ROWS):
        rows = torch.tensor(order[start : start + ROWS])
        width = len(prompts[int(rows[-1])])
        ids = torch.zeros((len(rows), width), dtype=torch.long)
        for place, row in enumerate(rows.tolist()):
            ids[place, width - len(prompts[row]) :] = torch.tensor(prompts[row])
        padding = torch.tensor([width - len(prompts[row]) for row in rows.tolist()])
        cache = _Cache(shape, len(rows), width + limit, padding)
        finished = torch.zeros(len(rows), dtype=torch.bool)
        logits = _extend(weights, shape, cache, ids)
        for _ in range(limit):
            new = draw(logits, temperature, generator)
            for row, token, over in zip(
                rows.tolist(), new.tolist(), finished.tolist(), strict=True
            ):
                if not over:
                    written[row].append(token)
            finished = finished | torch.isin(new, ends)
            open_rows = int((~finished).sum())
            if open_rows == 0:
                break
            if open_rows < 0.7 * len(rows):
                remaining = (~finished).nonzero()[:, 0]
                cache.keep(remaining)
                rows, new, finished = rows[remaining], new[remaining], finished[remaining]
            logits = _extend(weights, shape, cache, new[:, None])
    return written


@torch.inference_mode()
def log_probabilities(
    weights: Weights, shape: Shape, sequences: Sequence[Sequence[int]]
) -> list[Tensor]:
    """Log-probability of every token but the first, given all before it.

    Returns:
        For each sequence a float32 tensor of its length minus one.
    """
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    by_row: dict[int, Tensor] = {}
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        length = len(sequences[rows[-1]])
        ids = torch.zeros((len(rows), length), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(sequences[row])] = torch.tensor(sequences[row])
        cos, sin = rope_tables(length)
        states = hidden_states(weights, shape, ids, cos, sin)[:, :-1]
        logits = states @ weights["model.embed_tokens.weight"].T
        picked = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
        for place, row in enumerate(rows):
            by_row[row] = picked[place, : len(sequences[row]) - 1].clone()
    return [by_row[row] for row in range(len(sequences))]


@torch.inference_mode()
def next_logits(weights: Weights, shape: Shape, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Logits of the token after each sequence, (sequences, vocabulary)."""
    logits = torch.zeros((len(sequences), shape.vocabulary))
    order = sorted(range(len(sequences)), key=lambda row: len(sequences[row]))
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        length = len(sequences[rows[-1]])
        ids = torch.zeros((len(rows), length), dtype=torch.long)
        for place, row in enumerate(rows):
            ids[place, : len(sequences[row])] = torch.tensor(sequences[row])
        cos, sin = rope_tables(length)
        states = hidden_states(weights, shape, ids, cos, sin)
        ends = torch.tensor([len(sequences[row]) - 1 for row in rows])
        final = states[torch.arange(len(rows)), ends]
        logits[torch.tensor(rows)] = final @ weights["model.embed_tokens.weight"].T
    return logits
