"""All running requests in one forward pass: packed tokens, a key/value row for each request.

The tokens of every request are laid end to end as one sequence, so linear layers see no padding;
only attention is padded, in groups of similar length. This rides on transformers' attention
interface: the function registered here writes keys and values into the rows itself, so the
model's own cache and masks are not used.

Numbers must not depend on who shares a pass. PyTorch's kernels pick another order of summation
for very few rows, few queries, or a number of keys that is not a multiple of the vector width, so
shapes are rounded up (`MIN_TOKENS`, `MIN_QUERIES`, `KEY_BLOCK`); docs/backends-transformers.md
says how far that holds.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

NAME = "atts_packed"
MIN_TOKENS = 16
MIN_QUERIES = 8  # on a CPU; elsewhere nothing is promised, and nothing is paid
KEY_BLOCK = 16


class PassPart(NamedTuple):
    """Part of one request in a pass.

    Attributes:
        row: the cache row that holds positions `[0, start)`.
        start: position of the first id.
        ids: what to compute.
        logits_from: offset in `ids` of the first position whose logits are wanted.
    """

    row: int
    start: int
    ids: list[int]
    logits_from: int


class _Group:
    """Requests whose attention is computed together, padded to `queries` each.

    Attributes:
        rows: which cache rows: a run of them, or one index each (these are copied out).
        index: packed token of every query, shape (rows, queries).
        valid: places of the real queries in the flattened (rows, queries).
        tokens: packed tokens of these, shape (real queries,).
        keys: how many positions of the rows are looked at.
        padded: queries a row as the kernel sees them.
    """

    def __init__(
        self, members: list[tuple[PassPart, int]], queries: int, device: torch.device
    ) -> None:
        self.padded = max(queries, MIN_QUERIES) if device.type == "cpu" else queries
        indices = [work.row for work, _ in members]
        low, high = min(indices), max(indices) + 1
        # Idle rows in between cost attention, copying rows out costs memory traffic.
        if high - low <= 3 * len(members):
            self.rows: slice | Tensor = slice(low, high)
            places, count = [i - low for i in indices], high - low
        else:
            self.rows = torch.tensor(indices, device=device)
            places, count = list(range(len(members))), len(members)
        index, position = [0] * (count * queries), [0] * (count * queries)
        valid: list[int] = []
        tokens: list[int] = []
        for place, (work, offset) in zip(places, members, strict=True):
            size, at = len(work.ids), place * queries
            index[at : at + size] = range(offset, offset + size)
            position[at : at + size] = range(work.start, work.start + size)
            valid += range(at, at + size)
            tokens += range(offset, offset + size)
        longest = max(work.start + len(work.ids) for work, _ in members)
        self.keys = -(-longest // KEY_BLOCK) * KEY_BLOCK
        self.queries = queries
        self.index = torch.tensor(index, device=device).view(count, queries)
        self.position = torch.tensor(position, device=device).view(count, queries)
        self.valid = torch.tensor(valid, device=device)
        self.tokens = torch.tensor(tokens, device=device)
        self._masks: dict[tuple[int | None, int], Tensor] = {}

    def mask(self, window: int | None, groups: int, dtype: torch.dtype) -> Tensor:
        """Additive mask, shape (rows, 1, groups * padded, keys)."""
        mask = self._masks.get((window, groups))
        if mask is None:
            key = torch.arange(self.keys, device=self.position.device)
            query = self.position[:, :, None]
            hidden = key > query
            if window is not None:
                hidden |= key <= query - window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
            mask.masked_fill_(hidden, float("-inf"))
            queries = self.padded
            mask = mask.expand(-1, queries, -1) if self.queries == 1 else mask
            mask = (
                mask[:, None]
                .expand(-1, groups, -1, -1)
                .reshape(len(mask), 1, groups * queries, self.keys)
            )
            self._masks[(window, groups)] = mask
        return mask


@dataclass
class _Pass:
    """What the attention function needs to know about the pass it runs in."""

    store: RowStore
    rows: Tensor
    position: Tensor
    groups: list[_Group]


_running = threading.local()


class RowStore:
    """Keys and values: for each layer two tensors of shape (rows + 1, heads, columns, size).

    The last row is scratch, for the tokens that round a pass up. Layers are allocated when they
    are first written, since only then their shapes are known.
    """

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.layers: dict[int, list[Tensor]] = {}

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one token's keys and values take over all layers."""
        return sum(
            t.shape[1] * t.shape[3] * t.element_size() for p in self.layers.values() for t in p
        )

    def layer(self, index: int, key: Tensor, value: Tensor) -> list[Tensor]:
        """Tensors of a layer; `key` and `value` (1, heads, tokens, size) tell their shape."""
        layer = self.layers.get(index)
        if layer is None:
            layer = self.layers[index] = [
                torch.zeros(
                    (self.rows + 1, t.shape[1], self.columns, t.shape[3]),
                    dtype=t.dtype,
                    device=t.device,
                )
                for t in (key, value)
            ]
        return layer

    def resize(self, rows: int, columns: int) -> None:
        """Make room, keeping what fits."""
        keep_rows, keep_columns = min(rows, self.rows), min(columns, self.columns)
        for pair in self.layers.values():
            for which, old in enumerate(pair):
                new = old.new_zeros((rows + 1, old.shape[1], columns, old.shape[3]))
                new[:keep_rows, :, :keep_columns] = old[:keep_rows, :, :keep_columns]
                pair[which] = new
        self.rows, self.columns = rows, columns

    def copy(self, source: int, to: int, length: int) -> None:
        """Copy the first `length` positions of a row into another."""
        for pair in self.layers.values():
            for tensor in pair:
                tensor[to, :, :length] = tensor[source, :, :length]

    def clear(self, row: int) -> None:
        """Zero a row: a NaN left in it would spread, since 0 * NaN is NaN."""
        for pair in self.layers.values():
            for tensor in pair:
                tensor[row].zero_()


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention over the rows of the running pass.

    Args:
        module: the layer; its `layer_idx` names the cache layer.
        query: (1, heads, tokens, size), tokens of all requests end to end.
        key: (1, key heads, tokens, size).
        value: (1, key heads, tokens, value size).
        attention_mask: not used; the rows make the mask.
        scaling: factor of the scores; the size's inverse root if None.
        sliding_window: how many keys a query sees, itself included.
        softcap: bound of the scores (Gemma 2).
        s_aux: attention sinks, one score a head (gpt-oss).

    Returns:
        (1, tokens, heads, value size), and no weights.
    """
    run: _Pass = _running.value
    keys, values = run.store.layer(int(module.layer_idx), key, value)  # type: ignore[arg-type]
    keys[run.rows, :, run.position] = key[0].transpose(0, 1)
    values[run.rows, :, run.position] = value[0].transpose(0, 1)
    heads, tokens, size = query.shape[1:]
    groups = heads // keys.shape[1]
    scale = size**-0.5 if scaling is None else scaling
    out = query.new_zeros(tokens, heads, value.shape[3])
    for group in run.groups:
        count, queries = group.index.shape
        mask = group.mask(sliding_window, groups, query.dtype)
        q = query[0][:, group.index].transpose(0, 1)
        padded = group.padded
        q = q.expand(-1, -1, padded, -1) if queries == 1 else q
        # Contiguous, since the kernel is 10 times slower on the repeated query's zero stride.
        q = q.reshape(count, keys.shape[1], groups * padded, size).contiguous()
        if isinstance(group.rows, slice):
            k, v = keys[group.rows, :, : group.keys], values[group.rows, :, : group.keys]
        else:
            k = keys[:, :, : group.keys].index_select(0, group.rows)
            v = values[:, :, : group.keys].index_select(0, group.rows)
        if softcap is None and s_aux is None:
            o = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
        else:
            o = _plain_attention(q, k, v, mask, scale, softcap, s_aux)
        o = o.view(count, heads, padded, -1)[:, :, :queries].transpose(1, 2)
        o = o.reshape(count * queries, heads, -1)
        out.index_copy_(0, group.tokens, o.index_select(0, group.valid))
    return out[None], None


def _plain_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    scores = torch.matmul(q, k.transpose(2, 3)) * scale
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    scores = scores + mask
    if sinks is not None:
        # One score a head: heads are laid out (key head, group) along dimensions 1 and 2.
        count, kv_heads, rows, _ = scores.shape
        groups = sinks.numel() // kv_heads
        column = sinks.reshape(1, kv_heads, groups, 1).expand(count, -1, -1, rows // groups)
        scores = torch.cat([scores, column.reshape(count, kv_heads, rows, 1).to(scores)], dim=-1)
    weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(q.dtype, torch.float32))
    return torch.matmul(weights[..., : k.shape[2]].to(v.dtype), v)


class PackedRunner:
    """Runs a model over packed work.

    Args:
        model: a causal model that takes its attention from transformers' attention interface.
        rows: rows to begin with.
        columns: positions a row.
    """

    divisible = True

    def __init__(self, model: Any, rows: int = 8, columns: int = 4 * KEY_BLOCK) -> None:
        AttentionInterface.register(NAME, attend)
        model.set_attn_implementation(NAME)
        self.model = model
        self.device: torch.device = model.device
        self.store = RowStore(rows, columns)

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one token's keys and values."""
        return self.store.bytes_per_token

    def forward(self, works: Sequence[PassPart]) -> Tensor:
        """Logits of the wanted positions, in order: (positions, vocabulary)."""
        ids: list[int] = []
        rows: list[int] = []
        position: list[int] = []
        logit_rows: list[int] = []
        classes: defaultdict[int, list[tuple[PassPart, int]]] = defaultdict(list)
        for work in works:
            size = len(work.ids)
            logit_rows += range(len(ids) + work.logits_from, len(ids) + size)
            classes[_padded_queries(size)].append((work, len(ids)))
            rows += [work.row] * size
            position += range(work.start, work.start + size)
            ids += work.ids
        count = len(logit_rows)
        spare = max(0, MIN_TOKENS - len(ids))
        ids += [0] * spare
        rows += [self.store.rows] * spare
        position += [0] * spare
        logit_rows += [0] * max(0, MIN_TOKENS - count)
        device = self.device
        position_ids = torch.tensor(position, device=device)
        _running.value = _Pass(
            store=self.store,
            rows=torch.tensor(rows, device=device),
            position=position_ids,
            groups=[_Group(members, size, device) for size, members in sorted(classes.items())],
        )
        try:
            logits: Tensor = self.model(
                input_ids=torch.tensor(ids, device=device)[None],
                position_ids=position_ids[None],
                use_cache=False,
                logits_to_keep=torch.tensor(logit_rows, device=device),
            ).logits
        finally:
            del _running.value
        return logits[0, :count]

    def resize(self, rows: int, columns: int) -> None:
        """Make room for `rows` rows of `columns` positions."""
        self.store.resize(rows, columns)

    def copy(self, source: int, to: int, length: int) -> None:
        """Copy the first `length` positions of a row into another."""
        self.store.copy(source, to, length)

    def clear(self, row: int) -> None:
        """Forget a row for good."""
        self.store.clear(row)


def _padded_queries(size: int) -> int:
    return 1 if size == 1 else max(MIN_QUERIES, 1 << (size - 1).bit_length())
