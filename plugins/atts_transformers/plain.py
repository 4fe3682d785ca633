"""One request after another, each with the model's own cache: for models that cannot be packed.

Slow, but it holds for whatever transformers can generate with: state-space layers, position
biases, attention implementations of one's own choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atts_transformers.packed import Work


class PlainRunner:
    """Runs a model over one row at a time; a row is a cache object of transformers.

    Args:
        model: a causal model that returns `past_key_values`.
    """

    divisible = False

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = model.device
        self._caches: dict[int, Any] = {}

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values, from the first row; 0 where they do not grow."""
        for cache in self._caches.values():
            tensors = [
                tensor
                for layer in getattr(cache, "layers", ())
                for tensor in (getattr(layer, "keys", None), getattr(layer, "values", None))
                if isinstance(tensor, Tensor)
            ]
            return sum(t.shape[1] * t.shape[-1] * t.element_size() for t in tensors)
        return 0

    def forward(self, works: Sequence[Work]) -> Tensor:
        """Logits of the wanted positions, in order: (positions, vocabulary)."""
        parts: list[Tensor] = []
        for work in works:
            if not work.start:
                self._caches.pop(work.row, None)
            count = len(work.ids) - work.logits_from
            out = self.model(
                input_ids=torch.tensor([work.ids], device=self.device),
                past_key_values=self._caches.get(work.row),
                use_cache=True,
                logits_to_keep=max(count, 1),
            )
            self._caches[work.row] = out.past_key_values
            parts.append(out.logits[0, out.logits.shape[1] - count :])
        return torch.cat(parts)

    def resize(self, rows: int, columns: int) -> None:
        """Rows grow by themselves; those that are no longer used are let go."""
        self._caches = {row: cache for row, cache in self._caches.items() if row < rows}

    def copy(self, source: int, to: int, length: int) -> None:
        """Not offered: rows are not divisible."""
        raise NotImplementedError("rows of a PlainRunner cannot be copied")

    def clear(self, row: int) -> None:
        """Forget a row."""
        self._caches.pop(row, None)
