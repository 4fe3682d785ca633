"""The reference of the conformance suite: transformers, one whole forward pass a question."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from atts_harness.errors import MissingExtraError

# Limit of the cached tables: one of 1,000 tokens takes 0.4 GB with a vocabulary of 49,152.
CACHE_BYTES = 1 << 30


class TransformersReference:
    """A model folder, run by `transformers` without cache or batching.

    Args:
        path: model folder or hub id.
        dtype: of weights and arithmetic.
        device: where to run.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(self, path: str, *, dtype: str = "float32", device: str = "cpu") -> None:
        try:
            import torch
            from transformers import AutoModelForCausalLM
        except ImportError as error:
            raise MissingExtraError(
                "the conformance reference", "transformers", "transformers"
            ) from error
        self._torch: Any = torch
        self._model = AutoModelForCausalLM.from_pretrained(path, dtype=getattr(torch, dtype))
        self._model.to(device).eval()
        # Cases ask for the same context several times.
        self._tables: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability of every id after the first: `len(ids) - 1` values."""
        table = self._table(ids)
        next_ids = self._torch.tensor(list(ids[1:]), device=table.device)
        values: list[float] = table[:-1].gather(1, next_ids[:, None])[:, 0].tolist()
        return values

    def best(self, ids: Sequence[int]) -> list[float]:
        """Highest log-probability at every position but the last."""
        values: list[float] = self._table(ids)[:-1].amax(-1).tolist()
        return values

    def alternatives(self, ids: Sequence[int], count: int) -> dict[int, float]:
        """The `count` most probable ids after `ids`, with their log-probabilities."""
        top = self._table(ids)[-1].topk(count)
        return dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))

    def _table(self, ids: Sequence[int]) -> Any:
        """Log-probabilities after every position, (len(ids), vocabulary)."""
        key = tuple(ids)
        if key not in self._tables:
            with self._torch.inference_mode():
                inputs = self._torch.tensor([list(ids)], device=self._model.device)
                logits = self._model(input_ids=inputs, use_cache=False).logits[0]
                self._tables[key] = self._torch.log_softmax(logits.double(), dim=-1)
            while (
                len(self._tables) > 1 and sum(t.nbytes for t in self._tables.values()) > CACHE_BYTES
            ):
                self._tables.popitem(last=False)
        return self._tables[key]
