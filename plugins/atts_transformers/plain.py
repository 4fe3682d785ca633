"""One request after another, each with the model's own cache: for models that cannot be packed.

Slow, but it holds for whatever transformers can generate with: state-space layers, position
biases, attention implementations of one's own choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atts_transformers.packed import PassPart

# The first from transformers 5.24 on; outputs answer to the older names too, but models ignore them
# as arguments. Before that, attention layers kept the second and state-space models the third.
CACHE_NAMES = ("cache", "past_key_values", "cache_params")


class PlainRunner:
    """Runs a model over one row at a time; a row is a cache object of transformers.

    Args:
        model: a causal model.
        cache_name: under which name it takes and returns its cache, of `CACHE_NAMES`.
        stepwise: feed one token at a time once there is a cache, for models (state-space ones)
            that start anew when given several.
    """

    divisible = False

    def __init__(self, model: Any, cache_name: str, *, stepwise: bool = False) -> None:
        self.model = model
        self._stepwise = stepwise
        self._cache_name = cache_name
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

    def forward(self, works: Sequence[PassPart]) -> Tensor:
        """Logits of the wanted positions, in order: (positions, vocabulary)."""
        parts: list[Tensor] = []
        for work in works:
            if not work.start:
                self._caches.pop(work.row, None)
            if self._stepwise and work.start:
                pieces = [[id_] for id_ in work.ids]
                logits = torch.cat([self._piece(work.row, piece, 1) for piece in pieces])
                parts.append(logits[work.logits_from :])
            else:
                parts.append(self._piece(work.row, work.ids, len(work.ids) - work.logits_from))
        return torch.cat(parts)

    def _piece(self, row: int, ids: list[int], count: int) -> Tensor:
        """Extend a row; logits of the last `count` positions."""
        out = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            use_cache=True,
            logits_to_keep=max(count, 1),
            **{self._cache_name: self._caches.get(row)},
        )
        self._caches[row] = out[self._cache_name]
        logits: Tensor = out.logits[0]
        return logits[len(logits) - count :]

    def resize(self, rows: int, columns: int) -> None:
        """Drop rows that are no longer used; rows grow without help."""
        self._caches = {row: cache for row, cache in self._caches.items() if row < rows}

    def copy(self, source: int, to: int, length: int) -> None:
        """Not offered: rows are not divisible."""
        raise NotImplementedError("rows of a PlainRunner cannot be copied")

    def clear(self, row: int) -> None:
        """Forget a row."""
        self._caches.pop(row, None)
