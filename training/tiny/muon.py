"""Muon, for the matrices inside the layers: momentum, made orthogonal by Newton and Schulz.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). The one in
torch computes in bfloat16 whatever it is given, which costs nothing on a GPU and, on a processor
that does not multiply bfloat16, four fifths of a training step of the embedded pair. This one
computes in the type it is told, and all matrices of a size at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """About the nearest orthogonal matrix to each; singular values end between .7 and 1.2.

    Args:
        matrices: Shape (count, rows, columns), rows at most columns.
    """
    a, b, c = COEFFICIENTS
    result: Tensor = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = result @ result.mT
        result = a * result + (b * gram + c * gram @ gram) @ result
    return result


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose every step has singular values of about one.

    Args:
        parameters: Matrices, or groups of them.
        lr: Learning rate; a matrix with more rows than columns takes larger steps, by the root of
            their ratio.
        momentum: Share of the old momentum that is kept.
        precision: Type that matrices are made orthogonal in.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step along the gradients; matrices that have none stay where they are."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
            for (rows, columns), matrices in by_shape.items():
                directions = torch.stack([self._direction(one, group) for one in matrices])
                tall = rows > columns
                directions = directions.to(self.precision)
                changes = orthogonal(directions.mT).mT if tall else orthogonal(directions)
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                for matrix, change in zip(matrices, changes, strict=True):
                    matrix.add_(change.to(matrix.dtype), alpha=-rate)

    def _direction(self, matrix: Tensor, group: dict[str, Any]) -> Tensor:
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        momentum: Tensor = state["momentum"].lerp_(matrix.grad, 1 - group["momentum"])
        return matrix.grad.lerp(momentum, group["momentum"])
