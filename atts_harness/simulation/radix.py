"""The prefix cache of a simulated engine: a radix tree over token ids, evicted least recent first.

A path that a running request uses is pinned; only leaves that nobody uses are evicted, as in
engines with paged caches.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["PrefixTree", "RadixNode"]


@dataclass(eq=False)
class RadixNode:
    """A run of ids behind its parent's.

    Attributes:
        ids: of this run; empty for the root, and once it is evicted.
        parent: the run before it; None for the root.
        number: of its making, so that ties are broken alike in every run.
        used: when it was last used, as a count.
        pins: requests that use it.
        children: runs behind it, by their first id.
        listed: whether it stands among the candidates for eviction.
    """

    ids: tuple[int, ...]
    parent: RadixNode | None
    number: int
    used: int = 0
    pins: int = 0
    children: dict[int, RadixNode] = field(default_factory=dict)
    listed: bool = False


class PrefixTree:
    """What is cached.

    Attributes:
        tokens: in the tree.
        pinned: of them, in use by running requests.
    """

    def __init__(self) -> None:
        self.root = RadixNode((), None, 0)
        self.tokens = 0
        self.pinned = 0
        self._uses = 0
        self._made = 0
        self._candidates: list[tuple[int, int, RadixNode]] = []

    def match(self, ids: Sequence[int], most: int) -> tuple[RadixNode, int]:
        """The longest cached prefix of `ids`, of at most `most` tokens.

        Returns:
            The node with which it ends, and its length. A match that ends inside a node divides it.
        """
        node, at = self.root, 0
        self._uses += 1
        while at < most:
            child = node.children.get(ids[at])
            if child is None:
                break
            length = _common(child.ids, ids, at, most)
            whole = length == len(child.ids)
            node = child if whole else self._divide(child, length)
            node.used = self._uses
            at += length
            if not whole:
                break
        return node, at

    def insert(self, node: RadixNode, ids: tuple[int, ...]) -> RadixNode:
        """Put `ids` behind `node`, as far as they are not there; returns the node they end with."""
        at = 0
        self._uses += 1
        while at < len(ids):
            child = node.children.get(ids[at])
            if child is None:
                child = self._new(ids[at:], node)
                self.tokens += len(child.ids)
                self._list(child)
                length = len(child.ids)
            else:
                length = _common(child.ids, ids, at, len(ids))
                if length < len(child.ids):
                    child = self._divide(child, length)
            child.used = self._uses
            node, at = child, at + length
        return node

    def pin(self, node: RadixNode) -> None:
        """Keep the path to `node`."""
        step: RadixNode | None = node
        while step is not None:
            if not step.pins:
                self.pinned += len(step.ids)
            step.pins += 1
            step = step.parent

    def unpin(self, node: RadixNode) -> None:
        """Let go of the path to `node`."""
        step: RadixNode | None = node
        while step is not None:
            step.pins -= 1
            if not step.pins:
                self.pinned -= len(step.ids)
                self._list(step)
            step = step.parent

    def evict(self, tokens: float) -> int:
        """Drop unused tokens, the least recently used first, until `tokens` are gone.

        Returns:
            Tokens dropped: a few more than asked, or fewer if no more can go.
        """
        dropped = 0
        while dropped < tokens and self._candidates:
            used, _, node = heapq.heappop(self._candidates)
            node.listed = False
            if node.pins or node.children or node.parent is None:
                continue  # it is listed again when that changes
            if used != node.used:
                self._list(node)
                continue
            del node.parent.children[node.ids[0]]
            dropped += len(node.ids)
            self._list(node.parent)
        self.tokens -= dropped
        return dropped

    def _new(self, ids: tuple[int, ...], parent: RadixNode) -> RadixNode:
        self._made += 1
        node = RadixNode(ids, parent, self._made, used=self._uses)
        parent.children[ids[0]] = node
        return node

    def _divide(self, node: RadixNode, length: int) -> RadixNode:
        """Cut a node in two; returns the first part."""
        assert node.parent is not None
        first = self._new(node.ids[:length], node.parent)
        first.pins, first.used = node.pins, node.used
        node.ids, node.parent = node.ids[length:], first
        first.children[node.ids[0]] = node
        return first

    def _list(self, node: RadixNode) -> None:
        """Make a node a candidate for eviction, if it is one."""
        if node.listed or node.pins or node.children or node.parent is None:
            return
        node.listed = True
        heapq.heappush(self._candidates, (node.used, node.number, node))


def _common(run: tuple[int, ...], ids: Sequence[int], at: int, end: int) -> int:
    """How many ids of `run` stand in `ids` from `at` on, before `end`."""
    length = min(len(run), end - at)
    if run[:length] == tuple(ids[at : at + length]):
        return length
    low, high = 0, length  # the first difference lies in between
    while high - low > 1:
        middle = (low + high) // 2
        if run[low:middle] == tuple(ids[at + low : at + middle]):
            low = middle
        else:
            high = middle
    return low
