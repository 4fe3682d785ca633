"""A place for an engine set: a placement group with a host for its cells and for each server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from atts_harness import neutral
from atts_harness.arguments import format_arguments, parse_arguments
from atts_harness.comparing.local import announced
from atts_harness.errors import SettingError
from atts_harness.journal.keeper import Keeper
from atts_harness.journal.mirror import environment
from atts_harness.launcher import Command
from atts_harness.settings import ROLES
from atts_ray.actors import RemoteHost, RemoteJob, RemoteServers
from atts_ray.head import Head
from atts_ray.host import PIECE_BYTES, Host, pack
from atts_ray.paths import Paths
from atts_ray.resources import Shape

logger = neutral.logger("atts_ray")

CELLS = "cells"
LOOK_SECONDS = 0.2
CLOSE_SECONDS = 20.0


class RayPlace:
    """An `atts_harness.launcher.Place` in a cluster.

    Args:
        ray: the module.
        head: of the cluster; without it nothing is asked of Ray.
        shape: its bundles.
        paths: where things lie on a node.
        keeper: of the journals.
        given_back: called when it is given back.
    """

    def __init__(
        self,
        ray: Any,
        head: Head,
        shape: Shape,
        paths: Paths,
        keeper: Keeper,
        given_back: Callable[[RayPlace], None],
    ) -> None:
        from ray.util import placement_group

        self._ray = ray
        self._head = head
        self._shape = shape
        self._paths = paths
        self._keeper = keeper
        self._given_back = given_back
        self._group: Any = placement_group(shape.bundles, strategy=shape.strategy)
        self._hosts: dict[str, RemoteHost] = {}
        self._devices: dict[str, Any] = {}
        self._nodes: dict[str, tuple[str, str]] = {}
        self._ready = False
        self._lost: str | None = None
        self._looked = 0.0
        self._number = 0
        self._over = False

    @property
    def name(self) -> str:
        """The node of its cells."""
        return self._nodes.get(CELLS, ("", ""))[0]

    def ready(self) -> bool:
        """Whether Ray has found room, and its hosts answer."""
        if self._ready or self.lost() is not None:
            return self._ready
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        if not self._hosts:
            if self._state() == "CREATED":
                self._make_hosts()
            return False
        for role, ref in self._devices.items():
            if not isinstance(ref, str):
                answered, device = self._hosts[role].answer(ref)
                if answered and device is None:  # it may just not have been there yet
                    self._devices[role] = self._hosts[role].call("devices")
                elif answered:
                    self._devices[role] = device
        self._ready = all(isinstance(device, str) for device in self._devices.values())
        return self._ready

    def lost(self) -> str | None:
        """Why nothing runs here any more; None: it is there."""
        if self._lost is None:
            self._lost = next((h.gone for h in self._hosts.values() if h.gone is not None), None)
        return self._lost

    def start(self, command: Command) -> RemoteJob:
        """Start a cell or a calibration; its journal is kept by the driver."""
        variables: dict[str, str] = dict(command.environment)
        ended: Callable[[], None] = lambda: None  # noqa: E731
        if command.run_dir is not None:
            run_dir = command.run_dir
            variables |= environment(self._keeper.begin(run_dir, self._paths.remote(run_dir)))

            def ended() -> None:
                self._keeper.end(run_dir)

        host = self._hosts[CELLS]
        number = self._prepare(host, command)
        reads = pack({self._paths.remote(path): path for path in command.reads})
        for begin in range(0, len(reads), PIECE_BYTES):
            last = begin + PIECE_BYTES >= len(reads)
            sent = host.call("put", number, reads[begin : begin + PIECE_BYTES], last=last)
            if not last:  # no more than one piece at a time in memory
                with contextlib.suppress(Exception):
                    self._ray.wait([sent], timeout=CLOSE_SECONDS)
        host.call("start", number, self._paths.arguments(command.arguments), variables)
        return RemoteJob(host, number, command.log, self._paths.here, ended)

    def serve(self, command: Command) -> RemoteServers:
        """Start the servers of a pair, each in its own bundle."""
        verb, text, *rest = command.arguments
        settings = parse_arguments(text, "settings")
        jobs: dict[str, RemoteJob] = {}
        for role in (role for role in ROLES if role in self._shape.roles):
            others = [other for other in ROLES if other != role]
            mine = {k: v for k, v in settings.items() if k.partition("_")[0] not in others}
            mine[f"{role}_devices"] = self._devices[role] or "cpu"
            mine[f"{role}_host"] = self._nodes[role][1]  # cells and driver may be on other nodes
            mine.pop("devices", None)
            host = self._hosts[role]
            number = self._prepare(host, command)
            arguments = self._paths.arguments([verb, format_arguments(mine), *rest])
            host.call("start", number, arguments, dict(command.environment))
            jobs[role] = RemoteJob(host, number, command.log, self._paths.here)
        if not jobs:
            raise SettingError(f"ray: pair {command.pair} has no server to start")
        return RemoteServers(jobs, announced)

    def give_back(self) -> None:
        """Stop what is left, and let others have the devices."""
        from ray.util import remove_placement_group

        if self._over:
            return
        self._over = True
        closing = [h.call("close") for h in self._hosts.values() if h.gone is None]
        with contextlib.suppress(Exception):  # whatever it is: Ray stops them below
            self._ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        if self._head.answers():
            with contextlib.suppress(Exception):
                remove_placement_group(self._group)
        self._given_back(self)

    def lose(self, reason: str) -> None:
        """Note that the place is gone."""
        for host in self._hosts.values():
            host.lose(reason)

    @property
    def node_ids(self) -> set[str]:
        """The nodes that its bundles are on."""
        table = self._table()
        return {str(node) for node in table.get("bundles_to_node_id", {}).values() if node}

    def _prepare(self, host: RemoteHost, command: Command) -> int:
        self._number += 1
        command.log.parent.mkdir(parents=True, exist_ok=True)
        host.call("prepare", self._number, [self._paths.remote(command.folder)])
        return self._number

    def _make_hosts(self) -> None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundles = {CELLS: self._shape.cell, **self._shape.roles}
        placement = self._table().get("bundles_to_node_id", {})
        nodes = {node["NodeID"]: node for node in self._ray.nodes()}
        for index, (name, bundle) in enumerate(bundles.items()):
            node = nodes.get(placement.get(index), {})
            label = f"{node.get('NodeManagerHostname', '?')} ({str(placement.get(index))[:8]})"
            self._nodes[name] = (label, node.get("NodeManagerAddress", ""))
            strategy = PlacementGroupSchedulingStrategy(
                self._group, placement_group_bundle_index=index
            )
            kind = self._ray.remote(
                num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), max_restarts=0
            )(Host)
            actor = kind.options(scheduling_strategy=strategy).remote()
            self._hosts[name] = RemoteHost(self._ray, actor, f"node {label}")
            self._devices[name] = self._hosts[name].call("devices")

    def _state(self) -> str:
        return str(self._table().get("state"))

    def _table(self) -> Mapping[str, Any]:
        from ray.util import placement_group_table

        if self._head.answers():
            with contextlib.suppress(Exception):
                return dict(placement_group_table(self._group))
        return {}
