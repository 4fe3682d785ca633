"""`ray`: a comparison on a cluster, with one engine set in each placement group."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from atts_harness.journal.keeper import Keeper
from atts_harness.launcher import Needs
from atts_ray.cluster import LOCAL, ClusterNode, check_versions, hold_back, join, nodes_of
from atts_ray.head import PATIENCE_SECONDS, Head
from atts_ray.paths import Paths
from atts_ray.place import RayPlace
from atts_ray.resources import Shape, shape_of

LOOK_SECONDS = 1.0
WIND_DOWN_SECONDS = 15.0


class RayLauncher:
    """An `atts_harness.launcher.Launcher`; nothing of Ray is imported before `begin`."""

    name = "ray"

    def __init__(self) -> None:
        self._ray: Any = None
        self._head: Head | None = None
        self._gone: float | None = None  # since when
        self._keeper: Keeper | None = None
        self._paths: Paths | None = None
        self._shapes: dict[str, Shape] = {}
        self._places: list[RayPlace] = []
        self._address = LOCAL
        self._nodes: list[ClusterNode] = []
        self._looked = 0.0

    def begin(
        self, folder: Path, needs: Sequence[Needs], say: Callable[[str], None], address: str = ""
    ) -> None:
        """Join the cluster, and see whether everything can run there.

        Raises:
            SettingError: no such cluster, another version on a node, or a pair that no node can
                ever hold.
        """
        self._address = address or "auto"
        self._paths = Paths(folder)
        self._ray = join(self._address)
        self._gone = None
        with hold_back():
            try:
                # One that was started here does not come back.
                patience = 0.0 if self._address == LOCAL else PATIENCE_SECONDS
                self._head = Head(self._ray.get_runtime_context().gcs_address, patience)
                nodes = nodes_of(self._ray)
                check_versions(self._ray, nodes)
                resources = [node.resources for node in nodes]
                self._shapes = {need.pair: shape_of(need, resources) for need in needs}
                self._keeper = Keeper(self._ray.util.get_node_ip_address(), say)
                self._look()
            except BaseException:
                self.end()
                raise
        say(f"ray: {self.state()}")

    def place(self, needs: Needs) -> RayPlace | None:
        """A placement group; it becomes ready as soon as Ray finds room for it."""
        assert self._head is not None
        assert self._keeper is not None
        assert self._paths is not None
        if not self._head.answers():
            return None
        shape = self._shapes[needs.pair]
        place = RayPlace(
            self._ray, self._head, shape, self._paths, self._keeper, self._places.remove
        )
        self._places.append(place)
        return place

    def lost(self) -> str | None:
        """Why the cluster's head is gone, or None; places are lost after cells had time to end."""
        reason = None if self._head is None else self._head.gone()
        if reason is None:
            self._gone = None
            return None
        self._gone = self._gone or time.monotonic()
        if time.monotonic() - self._gone > WIND_DOWN_SECONDS:
            for place in self._places:
                place.lose(reason)
        return reason

    def state(self) -> str:
        """Nodes, devices and engine sets."""
        if self._ray is None or self._head is None:
            return ""
        if not self._head.answers():
            return "the cluster's head does not answer"
        self._look()
        total = {name: _sum(self._nodes, name) for name in ("GPU", "CPU")}
        with contextlib.suppress(Exception):  # it is for people who watch
            free = self._ray.available_resources()
            used = {name: total[name] - free.get(name, 0) for name in total}
            unit = "GPU" if total["GPU"] else "CPU"
            sets = sum(place.ready() for place in self._places)
            parts = [_counted(len(self._nodes), "node")]
            parts.append(f"{used[unit]:g} of {total[unit]:g} {unit}s in use")
            return ", ".join([*parts, _counted(sets, "engine set")])
        return _counted(len(self._nodes), "node")

    def end(self) -> None:
        """Leave the cluster; one that was started here ends."""
        for place in list(self._places):
            place.give_back()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._ray is not None:
            with contextlib.suppress(Exception):
                self._ray.shutdown()
            self._ray = None

    def _look(self) -> None:
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(Exception):
                self._nodes = nodes_of(self._ray)


def _sum(nodes: Sequence[ClusterNode], name: str) -> float:
    return sum(node.resources.get(name, 0) for node in nodes)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
