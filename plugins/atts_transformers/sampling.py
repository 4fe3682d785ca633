"""Draws tokens for many requests at once, each from its own stream of random numbers.

A token is the inverse of the cumulative distribution, in the order of ids, at the request's next
uniform number. So a draw depends on the request's seed and distribution only, and noise in the
logits changes it only where it moves a boundary across that number.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from atts_harness.backend import Sampling

# Few enough bits that u * total < total whatever the rounding.
BITS = 48


def uniform(stream: random.Random) -> float:
    """The next number of a stream, in [0, 1)."""
    return stream.getrandbits(BITS) / (1 << BITS)


def draw(logits: Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]) -> Tensor:
    """One token id for each row.

    Filters apply in the order of transformers: temperature, `top_k`, `top_p`, `min_p`.

    Args:
        logits: (rows, vocabulary), float32 or float64.
        samplings: how to draw, for each row.
        uniforms: a number in [0, 1) for each row.

    Returns:
        (rows,) int64, on the device of the logits.
    """
    greedy = [s.temperature <= 0 for s in samplings]
    if all(greedy):
        return logits.argmax(-1)
    device = logits.device
    heat = torch.tensor(
        [1.0 if g else s.temperature for g, s in zip(greedy, samplings, strict=True)],
        dtype=logits.dtype,
        device=device,
    )
    probabilities = torch.softmax(logits / heat[:, None], dim=-1).double()
    if any(s.top_k > 0 or s.top_p < 1 or s.min_p > 0 for s in samplings):
        probabilities = probabilities * _allowed(probabilities, samplings)
    cumulative = probabilities.cumsum(-1)
    at = torch.tensor(uniforms, dtype=torch.float64, device=device)[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, at, right=True)[:, 0]
    if any(greedy):
        drawn = torch.where(torch.tensor(greedy, device=device), logits.argmax(-1), drawn)
    return drawn


def _allowed(probabilities: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    device, size = probabilities.device, probabilities.shape[1]
    top_k = torch.tensor([s.top_k if s.top_k > 0 else size for s in samplings], device=device)
    top_p = torch.tensor([s.top_p for s in samplings], dtype=torch.float64, device=device)
    min_p = torch.tensor([s.min_p for s in samplings], dtype=torch.float64, device=device)
    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    keep = torch.arange(size, device=device) < top_k[:, None]
    ordered = ordered * keep
    ordered = ordered / ordered.sum(-1, keepdim=True)
    # The token that reaches top_p stays in; what stands before it is less than top_p.
    before = ordered.cumsum(-1) - ordered
    keep &= (before < top_p[:, None]) | (top_p >= 1)[:, None]
    keep &= ordered >= min_p[:, None] * ordered[:, :1]
    keep[:, 0] = True
    return torch.zeros_like(keep).scatter_(1, order, keep)
