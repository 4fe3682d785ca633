"""Joins a cluster, and refuses one on which a comparison cannot run."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atts_harness._version import __version__
from atts_harness.errors import MissingExtraError, SettingError

CONNECT_SECONDS = 5.0
PROBE_SECONDS = 120.0
LOCAL = "local"
AUTO = "auto"
SLOW_START = "the cluster did not start within the 30 s that Ray gives this machine"
# In the error of `ray.init`: the cluster's versions, then those of this process.
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
OBJECT_STORE_BYTES = 200 * 1024 * 1024


@dataclass(frozen=True)
class ClusterNode:
    """A node that is alive.

    Attributes:
        id: Ray's.
        name: for people.
        address: its IP address.
        resources: what it has in all.
    """

    id: str
    name: str
    address: str
    resources: Mapping[str, float]


def join(address: str) -> Any:
    """Join a cluster, or start one on this machine; the module `ray`.

    Args:
        address: `local`: a cluster on this machine that ends with us; `auto`: the one that runs on
            this machine; else HOST:PORT of a cluster that this machine is a node of.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: there is no such cluster, or it is of another version.
    """
    # Nothing is reported to anybody unless the user says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address != LOCAL:
        # How often Ray tries to reach a head, 45 s each time; 20 by itself.
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "2")
    if address != LOCAL and "RAY_AUTH_MODE" not in os.environ and _token_is_there():
        # Where the user has one, `ray start` asks for it since 2.60; `ray.init` does not send it.
        os.environ["RAY_AUTH_MODE"] = "token"
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("launcher=ray", "ray", "ray") from error
    if ray.is_initialized():
        raise SettingError("ray: this process is connected to a cluster already; use another one")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    else:
        _check_address(address)
    output: list[str] = []
    try:
        with _apart(), _overheard(output):
            ray.init(address=address or AUTO, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, AssertionError) as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        raise SettingError(_why_not(address, "\n".join([str(error), *output]))) from error
    except Exception as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        # Ray raises its own errors, and bare ones.
        if type(error) is not Exception and type(error).__module__.partition(".")[0] != "ray":
            raise
        raise SettingError(_why_not(address, "\n".join([str(error), *output]))) from error
    return ray


_is_apart = False


@functools.cache
def _hooked() -> None:
    def move_apart() -> None:
        if _is_apart:
            os.setsid()

    os.register_at_fork(after_in_child=move_apart)


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """Processes that Ray starts inside leave our process group, so its signals do not reach them.

    Ray holds off SIGINT alone. A cluster that ends before its driver leaves nobody to wind down.
    """
    global _is_apart
    _hooked()
    _is_apart = True
    try:
        yield
    finally:
        _is_apart = False


@contextlib.contextmanager
def _overheard(output: list[str]) -> Iterator[None]:
    """Collect standard error inside: Ray's C++ part gives its reasons only there."""
    stderr = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(stderr, 2)
                file.seek(0)
                output.append(file.read().decode("utf-8", "replace"))
    finally:
        os.close(stderr)


@contextlib.contextmanager
def hold_back() -> Iterator[None]:
    """Print what is printed inside when it ends without an error, whose own line says it better.

    A worker of another version has Ray print a traceback here.
    """
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        yield
    sys.stdout.write(printed.getvalue())


def nodes_of(ray: Any) -> list[ClusterNode]:
    """The nodes that are alive."""
    return [
        ClusterNode(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})",
            node["NodeManagerAddress"],
            node["Resources"],
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def check_versions(ray: Any, nodes: Sequence[ClusterNode]) -> None:
    """Ask every node which packages it has.

    Raises:
        SettingError: a node has another version of this package or of Ray, or does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probes = {}
    for node in nodes:
        on_node = NodeAffinitySchedulingStrategy(node.id, soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": on_node}
        probes[ray.remote(**options)(_versions()).remote()] = node
    ours = {"atts-harness": __version__, "ray": ray.__version__}
    answered, _ = ray.wait(list(probes), num_returns=len(probes), timeout=PROBE_SECONDS)
    for ref, node in probes.items():
        if ref not in answered:
            raise SettingError(
                f"ray: node {node.name} did not answer within {PROBE_SECONDS:g} s; see `ray status`"
            )
        try:
            theirs = ray.get(ref)
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise SettingError(f"ray: node {node.name} cannot be asked: {first}") from error
        for package, version in ours.items():
            if theirs[package] != version:
                installed = theirs[package] or "none"
                raise SettingError(
                    f"ray: node {node.name} has {package} {installed}, and this machine {version}; "
                    f"install the same on all nodes: pip install 'atts-harness[ray]=={__version__}'"
                )


def _versions() -> Any:
    """A function that reports versions, and needs nothing of this package on its node."""

    def versions() -> dict[str, str]:
        import ray

        try:
            from atts_harness._version import __version__ as ours
        except ImportError:
            ours = ""
        return {"atts-harness": ours, "ray": ray.__version__}

    # As a function of a program: one of a module would be looked for in that module there.
    versions.__module__ = "__main__"
    return versions


def _token_is_there() -> bool:
    """Whether the user has a token for clusters; see Ray's page on token authentication."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(path or Path.home() / ".ray" / "auth_token").is_file()


def _check_address(address: str) -> None:
    if address in ("", AUTO):
        return
    if "://" in address:
        raise SettingError(
            f"ray: {address}: a client is not a node; start `atts compare` on a node of the "
            "cluster, with HOST:PORT or auto"
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise SettingError(f"ray: {address!r} is not an address; write local, auto or HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as link:
            speaks = _speaks_http2(link)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingError(
            f"ray: nothing answers at {address} ({reason}); start a cluster with `ray start "
            "--head`, or use local"
        ) from error
    if not speaks:
        raise SettingError(
            f"ray: what answers at {address} is not the head of a cluster; give the port of "
            "`ray start --head` (6379 unless you chose one; 8265 is the dashboard's)"
        )


def _speaks_http2(link: socket.socket) -> bool:
    """Whether gRPC may be spoken there: Ray itself tries for a quarter of an hour to find out.

    Source: RFC 9113, section 3.4: both sides begin with a SETTINGS frame, type 4.
    """
    if os.environ.get("RAY_USE_TLS") == "1":
        return True  # nobody says anything before the handshake
    link.settimeout(CONNECT_SECONDS)
    try:
        link.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        head = b""
        while len(head) < 4 and (piece := link.recv(9 - len(head))):
            head += piece
    except OSError:
        return False
    return head[3:4] == b"\x04"


def _why_not(address: str, output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["it says nothing"]
    if "Unauthenticated" in output or ("oken" in output and "uth" in output):
        return (
            f"ray: {address}: it asks for a token, and the one here is missing or another; "
            "give it by RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        )
    if len(versions := _VERSIONS.findall(output)) > 1:
        theirs, ours = (f"Ray {ray} on Python {python}" for ray, python in versions[:2])
        return (
            f"ray: {address}: the cluster has {theirs}, and this machine {ours}; install the same "
            "Ray and Python on all nodes"
        )
    if "timed out during startup" in output:
        return f"ray: {address}: {SLOW_START}; give it less to do at the same time, and try again"
    if address in ("", AUTO):
        return (
            f"ray: no cluster runs on this machine ({lines[0]}); start one with `ray start "
            "--head`, give its HOST:PORT, or use local"
        )
    return f"ray: {address}: {lines[0]}"
