"""A trained target gets layers on top that can tell a token it did not expect.

What the next token should be is known behind the last layer of a trained model only, and there the
token that did come can no longer be read off the state of its place: the two never meet, however
many layers come on top. So the model gets `HEAD` more dimensions, which carry a random code of each
token past the old layers; and the first new layer takes away the code of what was expected.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.tiny.examples import WRONG
from training.tiny.model import (
    EPSILON,
    HEAD,
    Shape,
    Weights,
    init_weights,
    look_back,
    rope_tables,
    states_by_layer,
)
from training.tiny.optimise import Batch

LOUD = 40.0
"""Length of a token's code over that of its embedding: enough to be read behind the last layer, and
too little to change a norm inside the old layers by more than a hundredth."""


def token_codes(weights: Weights, seed: int) -> Tensor:
    """A code for each token, as a direction of `HEAD` dimensions times its embedding's length."""
    embedding = weights["model.embed_tokens.weight"]
    generator = torch.Generator().manual_seed(seed)
    code = torch.randn(len(embedding), HEAD, generator=generator)
    scaled: Tensor = code * (embedding.norm(dim=1) / code.norm(dim=1))[:, None]
    return scaled


@torch.inference_mode()
def expected_codes(weights: Weights, shape: Shape, codes: Tensor, batches: list[Batch]) -> Tensor:
    """The linear map from a model's last states, normed, to the code of the next token.

    Args:
        weights: The model.
        shape: Its sizes.
        codes: The code of each token.
        batches: Texts to fit it on by least squares; what a loss leaves out is left out here.

    Returns:
        Shape (HEAD, hidden).
    """
    products = torch.eye(shape.hidden)
    targets = torch.zeros(shape.hidden, HEAD)
    for batch in batches:
        cos, sin = rope_tables(batch.ids.shape[1] - 1)
        states = states_by_layer(weights, shape, batch.ids[:, :-1], cos, sin)[-1]
        counted = (batch.counts[:, 1:] > 0) & (batch.flags[:, 1:] != WRONG)
        inputs = torch.nn.functional.rms_norm(states[counted], (shape.hidden,), eps=EPSILON)
        products += inputs.T @ inputs
        targets += inputs.T @ codes[batch.ids[:, 1:][counted]]
    solution: Tensor = torch.linalg.solve(products, targets).T
    return solution


def deepen(
    weights: Weights, old: Shape, new: Shape, codes: Tensor, expected: Tensor, seed: int
) -> Weights:
    """The same model, wider and with more layers on top.

    The old layers neither read nor write the added dimensions. In the first new layer, one head
    takes from a place's code what was expected one token back, and the feed-forward block squares
    what is left: zero where the model was right. The new layers write nothing else yet, so what the
    model predicts is what it was (norms change by less than a hundredth).

    Args:
        weights: Parameters of the trained model.
        old: Its sizes.
        new: The sizes wanted: wider by `HEAD` and with more layers, the rest alike.
        codes: The code of each token, from `token_codes`.
        expected: The map of `expected_codes`.
        seed: Of what the new layers look at else.

    Raises:
        ValueError: If the sizes do not fit.
    """
    if new.hidden - old.hidden != HEAD or new.feed_forward < 2 * HEAD:
        raise ValueError(f"a model is deepened by {HEAD} dimensions, not from {old} to {new}")
    grown = init_weights(new, seed)
    width, shrink = old.hidden, math.sqrt(old.hidden / new.hidden)
    look_back(grown, old.layers, [1] * new.heads)
    for name, tensor in grown.items():
        if name in weights:
            tensor.zero_()
            tensor[tuple(slice(size) for size in weights[name].shape)] = weights[name]
            if name.endswith("norm.weight"):
                tensor *= shrink
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor.zero_()
        elif name.endswith("norm.weight"):
            tensor[width:] = LOUD
    # A code is as long as its embedding, times a constant: the first norm undoes that exactly.
    grown["model.layers.0.input_layernorm.weight"] *= math.sqrt(1 + LOUD**2)
    grown["model.embed_tokens.weight"][:, width:] = LOUD * codes
    first = f"model.layers.{old.layers}."
    value = grown[first + "self_attn.v_proj.weight"]
    value[:HEAD] = 0
    value[:HEAD, :width] = expected * shrink
    units = torch.eye(HEAD)
    grown[first + "self_attn.o_proj.weight"][width:, :HEAD] = -LOUD * units
    for part in ("gate", "up"):
        block = grown[f"{first}mlp.{part}_proj.weight"]
        block[: 2 * HEAD] = 0
        block[: 2 * HEAD, width:] = torch.cat([units, -units])
    return grown
