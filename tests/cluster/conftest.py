"""A real Ray cluster on this machine: a head without devices, and nodes with declared GPUs."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ATTS = str(Path(sys.executable).with_name("atts"))
STORE = 80 * 1024 * 1024
# A raylet that was killed is noticed in seconds; a slow machine is not a dead one.
CONFIG = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10000,
    "health_check_failure_threshold": 3,
    "memory_monitor_refresh_ms": 0,  # what others use of the memory ends no cell here
    "prestart_worker_first_driver": False,  # a worker for each processor that no test needs
}
WAIT_SECONDS = 600
# One cell in its own process.
SMALL_PLAN = """
framework: mock
tasks: mock
limit: 2
pairs: {inside: {backend: mock, draft: d, target: t}}
strategies: [draft-only]
"""
# In the environment of everything that these tests start: others may use Ray beside them.
MARK = f"ATTS_CLUSTER_TESTS={os.getpid()}"


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes; not a part of `make test-ray`")


def command_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_ours(pid):
    """Whether a process was started by these tests: nodes, drivers, and all that they start."""
    with contextlib.suppress(OSError):
        return MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def descendants(root):
    """Ids of the processes below one."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            above = int(entry.read_text().rpartition(")")[2].split()[1])
            children.setdefault(above, []).append(int(entry.parent.name))
    processes, queue = [], [root]
    while queue:
        below = children.get(queue.pop(), [])
        processes += below
        queue += below
    return processes


def patiently(start):
    """Start a part of the cluster, several times if need be.

    Ray gives the processes of a node 15 and 30 s to start, which a busy machine may not have.
    """
    for left in reversed(range(8)):
        before = set(descendants(os.getpid()))
        try:
            return start()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
            for pid in set(descendants(os.getpid())) - before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    raise AssertionError("it starts, or raises")


def until(condition, message, seconds=WAIT_SECONDS):
    """Wait until a condition holds; its value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, message() if callable(message) else message
        time.sleep(0.1)
    return value


class Machine:
    """The cluster, as tests see it."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        os.environ["ATTS_CLUSTER_TESTS"] = MARK.partition("=")[2]
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["RAY_AUTH_MODE"] = "disabled"  # whatever token this user may have
        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
        head |= {"object_store_memory": STORE, "_system_config": CONFIG}
        self.cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.nodes = []

    @property
    def address(self):
        return self.cluster.address

    def have(self, count, **resources):
        """Exactly so many nodes that are alive, each with 2 GPUs and 3 CPUs."""
        node = {"num_cpus": 3, "num_gpus": 2, "object_store_memory": STORE} | resources
        while len(self.nodes) > count:
            self.kill(self.nodes[-1])
        while len(self.nodes) < count:
            self.nodes.append(patiently(lambda: self.cluster.add_node(wait=False, **node)))
        self.cluster.wait_for_nodes(WAIT_SECONDS)

    def raylet(self, node):
        return node.all_processes["raylet"][0].process.pid

    def node_of(self, pid):
        """The node that a process is below of."""
        above = {pid}
        while pid > 1:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            above.add(pid)
        return next(node for node in self.nodes if self.raylet(node) in above)

    def freeze(self, node):
        """The node does nothing any more, as one that cannot be reached; what was frozen."""
        raylet = self.raylet(node)
        frozen = []
        while new := [pid for pid in (raylet, *descendants(raylet)) if pid not in frozen]:
            for pid in new:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            frozen += new
        return frozen

    def thaw_alone(self, pid):
        """A process on a frozen node goes on, and what it started; nobody there looks after it."""
        for each in (pid, *descendants(pid)):
            os.kill(each, signal.SIGCONT)

    def thaw(self, node, frozen):
        """The node is back, or what a killed one has left; it knows nothing, and then it ends."""
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        until(lambda: not alive(frozen[0]), "the node goes on")
        if node in self.nodes:
            self.kill(node)

    def kill(self, node):
        """The node's raylet is killed at once, and all that it started beside it."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)


@pytest.fixture(scope="session")
def machine():
    started = Machine()
    yield started
    started.cluster.shutdown()


class Comparison:
    """`atts compare` of a plan in a folder of its own, on the cluster."""

    def __init__(self, machine, folder):
        self.machine = machine
        self.folder = folder
        self.out = folder / "runs" / "it"
        self.driver = None

    def plan(self, text):
        (self.folder / "plan.yaml").write_text(f"name: it\nout: runs/it\nreport: false\n{text}")

    def start(self, *arguments, ray=True):
        where = ["--ray", self.machine.address] if ray is True else ["--ray", ray] if ray else []
        self.log = (self.folder / "driver.log").open("a")
        self.driver = subprocess.Popen(
            [ATTS, "compare", "plan.yaml", *where, *arguments],
            cwd=self.folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def end(self, status=0, seconds=WAIT_SECONDS):
        """Wait for the driver's end."""
        try:
            ended = self.driver.wait(seconds)
        except subprocess.TimeoutExpired:
            ended = "it did not end"
        assert ended == status, self.said
        return self

    def run(self, *arguments, status=0, seconds=WAIT_SECONDS, **options):
        return self.start(*arguments, **options).end(status, seconds)

    def refuse(self, *arguments, ray=True):
        """Run one that cannot begin; the one line with which it ends."""
        self.run(*arguments, ray=ray, status=1)
        said = self.said.splitlines()
        assert len(said) == 1, said
        assert not (self.out / "cells").exists()
        assert not (self.out / "servers").exists()
        (self.folder / "driver.log").unlink()
        return said[0]

    @property
    def said(self):
        return (self.folder / "driver.log").read_text()

    @property
    def cells(self):
        with contextlib.suppress(OSError, ValueError):
            status = json.loads((self.out / "compare.json").read_text())
            return {cell["row"]: cell for cell in status["cells"]}
        return {}

    def texts(self):
        """What every cell answered."""
        answers = {}
        for path in sorted((self.out / "cells").rglob("results_*.json")):
            answers[path.parent.name] = json.loads(path.read_text())["texts"]
        return answers

    def journal(self, path):
        """Calls by their key with the time at which they were made, and how many samples ended."""
        database = path / "journal.sqlite3"
        try:
            read = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        except sqlite3.OperationalError:
            return {}, 0  # it is not there yet
        with contextlib.closing(read), contextlib.suppress(sqlite3.OperationalError):
            calls = {
                row[:-1]: row[-1]
                for row in read.execute(
                    "SELECT task, doc, repeat, kind, role, turn, attempt, done FROM calls"
                )
            }
            return calls, read.execute("SELECT count(*) FROM samples").fetchone()[0]
        return {}, 0

    def below(self, *words):
        """Processes on nodes whose command has all of these words."""
        return {
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if "atts_harness" in (command := command_of(entry.name))
            and all(word in command for word in words)
            and is_ours(entry.name)
        }

    def kill_driver(self):
        os.kill(self.driver.pid, signal.SIGKILL)
        self.driver.wait()

    def left(self):
        """Commands of processes of this comparison that are alive, its actors included."""
        actors = {
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if command_of(entry.name).startswith("ray::Host") and is_ours(entry.name)
        }
        return [command for pid in self.below() | actors if (command := command_of(pid))]

    def nothing_is_left(self):
        until(lambda: not self.left(), lambda: f"left: {self.left()}", 240)


@pytest.fixture
def comparison(machine, tmp_path):
    started = Comparison(machine, tmp_path)
    yield started
    if started.driver is not None and started.driver.poll() is None:
        started.kill_driver()
    started.nothing_is_left()
