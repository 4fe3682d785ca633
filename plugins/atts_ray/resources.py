"""The resources of an engine set in Ray: a bundle for its cells, and one for each server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atts_harness.errors import SettingError
from atts_harness.launcher import Needs

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Shape:
    """The bundles of an engine set.

    Attributes:
        cell: for the cells, models of their own process included.
        roles: by role for its server.
        strategy: of the placement group: all on one node if any is that large.
    """

    cell: Resources
    roles: Mapping[str, Resources]
    strategy: str

    @property
    def bundles(self) -> list[dict[str, float]]:
        """As a placement group has them: the cells' first."""
        return [dict(self.cell), *(dict(bundle) for bundle in self.roles.values())]


def shape_of(needs: Needs, nodes: Sequence[Resources]) -> Shape:
    """The bundles of an engine set of a pair.

    Settings that name devices decide how many GPUs a server gets; Ray chooses which. Without such a
    setting a server gets one GPU if the cluster has any.

    Args:
        needs: what the pair needs.
        nodes: what each node has in all.

    Raises:
        SettingError: no node can ever be large enough.
    """
    usual = 1 if any(node.get("GPU", 0) for node in nodes) else 0
    roles = {role: _bundle(_count(named, usual)) for role, named in needs.served.items()}
    gpus = 0 if needs.device in (None, "cpu") else usual if needs.device == "auto" else 1
    cell = _bundle(gpus)
    bundles = {"its cells": cell, **{f"its {role}": bundle for role, bundle in roles.items()}}
    for part, bundle in bundles.items():
        if not any(_fits(bundle, node) for node in nodes):
            raise SettingError(_never(needs.pair, part, bundle, nodes))
    whole = {
        name: sum(bundle.get(name, 0) for bundle in bundles.values()) for name in ("CPU", "GPU")
    }
    if any(_fits(whole, node) for node in nodes):
        return Shape(cell, roles, "STRICT_PACK")
    total = {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")}
    if not _fits(whole, total):
        raise SettingError(_never(needs.pair, "one engine set", whole, [total], "the cluster"))
    return Shape(cell, roles, "PACK")


def _bundle(gpus: int) -> dict[str, float]:
    return {"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1}


def _count(named: str | None, usual: int) -> int:
    if named is None:
        return usual
    return 0 if named == "cpu" else len(named.split("+"))


def _fits(bundle: Resources, node: Resources) -> bool:
    return all(node.get(name, 0) >= count for name, count in bundle.items())


def _never(
    pair: str, part: str, bundle: Resources, nodes: Sequence[Resources], place: str = "a node"
) -> str:
    needed = " and ".join(f"{count:g} {name}" for name, count in bundle.items() if count)
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in bundle}
    available = " and ".join(f"{count:g} {name}" for name, count in most.items())
    return (
        f"ray: pair {pair}: {part} needs {needed}, and {place} has at most {available}: it would "
        "wait for ever; name fewer devices, or start larger nodes"
    )
