"""What needs no cluster: where things lie, what a set asks for, a host, and refusals."""

import contextlib
import http.server
import importlib.util
import io
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest
from atts_ray import cluster, head, host
from atts_ray.paths import Paths
from atts_ray.resources import shape_of

from atts_harness.comparing import local
from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.launcher import Needs

NODE = {"CPU": 8.0, "GPU": 8.0, "memory": 1e9}
TWO = {"CPU": 4.0, "GPU": 2.0}
HEAD = {"CPU": 2.0}


@pytest.mark.parametrize(
    ("needs", "nodes", "strategy", "gpus"),
    [
        (Needs("p", {"draft": "0", "target": "1+2"}), [HEAD, NODE], "STRICT_PACK", [0, 1, 2]),
        (Needs("p", {"draft": "0", "target": "0+1"}), [TWO, TWO], "PACK", [0, 1, 2]),
        (Needs("p", {"draft": None, "target": None}), [NODE], "STRICT_PACK", [0, 1, 1]),
        (Needs("p", {"draft": None, "target": "cpu"}), [{"CPU": 4}], "STRICT_PACK", [0, 0, 0]),
        (Needs("p", device="auto"), [HEAD, NODE], "STRICT_PACK", [1]),
        (Needs("p", device="auto"), [HEAD], "STRICT_PACK", [0]),
        (Needs("p", device="cpu"), [NODE], "STRICT_PACK", [0]),
        (Needs("p", {"target": None}, device="cuda:0"), [NODE], "STRICT_PACK", [1, 1]),
        (Needs("p", shared=True), [NODE], "STRICT_PACK", [0]),
    ],
)  # fmt: skip
def test_what_a_set_asks_of_ray(needs, nodes, strategy, gpus):
    shape = shape_of(needs, nodes)
    assert shape.strategy == strategy
    assert [bundle.get("GPU", 0) for bundle in shape.bundles] == gpus
    assert all(bundle["CPU"] == 1 for bundle in shape.bundles)


@pytest.mark.parametrize(
    ("needs", "nodes", "told"),
    [
        (Needs("p", {"target": "0+1+2"}), [TWO, HEAD],
         "ray: pair p: its target needs 1 CPU and 3 GPU, and a node has at most 4 CPU and 2 GPU"),
        (Needs("p", device="cuda"), [HEAD],
         "ray: pair p: its cells needs 1 CPU and 1 GPU, and a node has at most 2 CPU and 0 GPU"),
        (Needs("p", {"draft": "0+1", "target": "0+1"}), [TWO],
         "ray: pair p: one engine set needs 3 CPU and 4 GPU, and the cluster has at most"),
    ],
)  # fmt: skip
def test_what_would_wait_for_ever(needs, nodes, told):
    with pytest.raises(SettingError) as caught:
        shape_of(needs, nodes)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_relative_paths_are_the_same_on_a_node(tmp_path):
    paths = Paths(Path("runs/x"))
    bank = Path("runs/x/calibrations/y/bank.json")
    assert paths.remote(bank) == str(bank)
    assert paths.here(str(bank)) == bank
    assert paths.arguments([f"bank={bank}"]) == [f"bank={bank}"]
    for foreign in ("runs/other", "/etc/passwd", "runs/x/../../y"):
        assert paths.here(foreign) is None


def test_other_paths_become_relative_on_a_node():
    paths = Paths(Path("/data/runs/x"))
    bank = Path("/data/runs/x/calibrations/y/bank.json")
    assert paths.remote(bank) == "out/calibrations/y/bank.json"
    assert paths.here("out/calibrations/y/bank.json") == bank
    assert paths.here("elsewhere/bank.json") is None
    given = [f"bank={bank},model=/more/data/runs/x/m", '{"run_dir": "/data/runs/x/cells"}']
    assert paths.arguments(given) == [
        "bank=out/calibrations/y/bank.json,model=/more/data/runs/x/m", '{"run_dir": "out/cells"}',
    ]  # fmt: skip
    assert Paths(Path("../x")).remote(Path("../x/cells")) == "out/cells"
    with pytest.raises(SettingError, match=r"^out: /a b has characters"):
        Paths(Path("/a b"))


SCRIPT = """
import os, pathlib, sys, time
print("working in", os.getcwd(), flush=True)
out = pathlib.Path(sys.argv[1])
(out / "run.log").write_text("a log")
(out / "journal.sqlite3").write_text("kept elsewhere")
(out / "results_1.json").write_text(pathlib.Path("runs/bank.json").read_text() + os.environ["X"])
if sys.argv[2] == "wait":
    import signal
    signal.signal(signal.SIGINT, lambda *_: sys.exit("wound down"))
    (out / "ready").touch()
    time.sleep(60)
"""


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A host on this machine, whose commands are the script."""
    monkeypatch.setattr(local, "ATTS", (sys.executable, "-S", "-c", SCRIPT))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = host.Host()
    yield made
    made.close()
    assert not list(tmp_path.glob("atts-ray-*"))


def start(here, tmp_path, how):
    (tmp_path / "bank.json").write_text("bank ")
    here.prepare(1, ["runs/cell"])
    packed = host.pack({"runs/bank.json": tmp_path / "bank.json"})
    here.put(1, packed[:100], last=False)
    here.put(1, packed[100:], last=True)
    here.start(1, ["runs/cell", how], {"X": "and variable"})


def ended(here):
    logs = {}
    while True:
        look = here.look([1])[1]
        for name, piece in look.logs.items():
            logs[name] = logs.get(name, b"") + piece
        if look.status is not None:
            return look.status, logs
        time.sleep(0.02)


def test_a_host_runs_a_command_and_gives_back_what_it_left(here, tmp_path, monkeypatch):
    monkeypatch.setattr(host, "PIECE_BYTES", 1000)
    start(here, tmp_path, "go")
    status, logs = ended(here)
    assert status == 0
    assert logs["runs/cell/run.log"] == b"a log"
    told = logs[host.OUTPUT].decode().splitlines()
    assert told[0].startswith("$ ")
    assert told[-1].startswith(f"working in {tmp_path}/atts-ray-{os.getpid()}-")
    assert here.look([1])[1].logs == {}  # everything is told once
    packed = b""
    while piece := here.take(1, len(packed)):
        packed += piece
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert set(archive.getnames()) == {"runs/cell/results_1.json", "runs/bank.json"}
        assert archive.extractfile("runs/cell/results_1.json").read() == b"bank and variable"
    here.forget(1)


def test_a_host_winds_down_and_tidies_up(here, tmp_path):
    start(here, tmp_path, "wait")
    ready = next(tmp_path.glob("atts-ray-*")) / "1" / "runs" / "cell" / "ready"
    while not ready.exists():
        time.sleep(0.02)
    here.wind_down(1)
    status, logs = ended(here)
    assert status == 1
    assert logs[host.OUTPUT].endswith(b"wound down\n")
    left, running = tmp_path / "atts-ray-999999999-x", tmp_path / f"atts-ray-{os.getpid()}-y"
    for folder in (left, running):
        folder.mkdir()
    host._tidy_up()
    assert running.exists()
    assert not left.exists()
    running.rmdir()


CHILD = """
import os, sys, tempfile, time
from pathlib import Path
from atts_harness.comparing import local
from atts_ray.host import Host
tempfile.tempdir = sys.argv[1]
local.ATTS = (sys.executable, "-S", "-c", sys.argv[2])
(Path(sys.argv[1]) / "bank.json").touch()
here = Host()
here.prepare(1, ["runs/cell"])
(here._jobs[1].folder / "runs" / "bank.json").touch()
here.start(1, ["runs/cell", "wait"], {"X": "y"})
print(os.getpid(), here._jobs[1].process.popen.pid, flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:]])
time.sleep(60)
"""


def alive(pid):
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_host_ends_with_its_node(tmp_path):
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path), SCRIPT]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert all(map(alive, pids))
    parent.kill()
    parent.wait()
    while any(map(alive, pids)):
        time.sleep(0.05)
    parent.stdout.close()
    assert not list(tmp_path.glob("atts-ray-*"))


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://h:10001", "ray: ray://h:10001: a client is not a node"),
        ("somewhere", "ray: 'somewhere' is not an address; write local, auto or HOST:PORT"),
        ("h:port", "ray: 'h:port' is not an address"),
    ],
)
def test_addresses_that_are_none(address, told):
    with pytest.raises(SettingError) as caught:
        cluster._check_address(address)
    assert str(caught.value).startswith(told)


def test_an_address_at_which_nobody_is():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(SettingError, match=rf"^ray: nothing answers at {address} \("):
            cluster._check_address(address)


@pytest.mark.parametrize(
    ("answer", "speaks"),
    [
        (b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0", True),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False),
        (b"", False),
    ],
)
def test_an_address_at_which_something_else_is(answer, speaks):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        assert cluster._speaks_http2(ours) is speaks


def test_something_else_is_refused_in_a_line():
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        address = f"127.0.0.1:{other.server_port}"
        with pytest.raises(SettingError, match=rf"^ray: what answers at {address} is not the head"):
            cluster._check_address(address)
        other.shutdown()


def test_a_head_that_is_away_for_too_long_is_gone():
    now = [0.0]
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        watched = head.Head(f"127.0.0.1:{port}", 30.0, lambda: now[0])
        assert watched.answers()
        assert watched.gone() is None
    now[0] = 10.0
    assert not watched.answers()
    now[0] = 39.0
    assert watched.gone() is None
    with socket.create_server(("127.0.0.1", port)):
        now[0] = 45.0
        assert watched.gone() is None  # it came back
        assert watched.answers()
    for now[0] in (50.0, 70.0):
        assert watched.gone() is None
    now[0] = 80.0
    assert watched.gone() == f"ray: the cluster's head at 127.0.0.1:{port} is gone"


def test_a_signal_to_the_group_does_not_reach_what_is_started_apart():
    def group(apart):
        with apart:
            process = subprocess.Popen(["sleep", "60"], preexec_fn=lambda: None)
        found = os.getpgid(process.pid)
        process.kill()
        process.wait()
        return found == os.getpgid(0)

    assert group(contextlib.nullcontext())
    assert not group(cluster._apart())
    assert group(contextlib.nullcontext())


def test_a_closed_host_leaves_no_thread(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(threading.enumerate())
    made = host.Host()
    (watch,) = set(threading.enumerate()) - before
    made.close()
    watch.join(30)
    assert not watch.is_alive()


def test_what_ray_says_becomes_one_line():
    mismatch = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.55.0\n    Python: 3.11.7\n"
        "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"
    )
    assert cluster._why_not("h:1", mismatch + "what else was written to standard error\n") == (
        "ray: h:1: the cluster has Ray 2.55.0 on Python 3.11.7, and this machine Ray 2.60.0 on "
        "Python 3.11.7; install the same Ray and Python on all nodes"
    )
    assert cluster._why_not("auto", "nobody").startswith("ray: no cluster runs on this machine")
    assert cluster._why_not("h:1", "a\nb") == "ray: h:1: a"
    said = []
    with cluster._overheard(said):
        os.write(2, b"Unauthenticated: RPC error: InvalidAuthToken\n")
    assert cluster._why_not("h:1", "\n".join(["Failed to connect", *said])).startswith(
        "ray: h:1: it asks for a token, and the one here is missing or another; "
    )
    slow = "The current node timed out during startup. This could happen because"
    told = cluster._why_not("local", slow)
    assert told.startswith("ray: local: the cluster did not start within the 30 s")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_its_extra_is_named():
    with pytest.raises(MissingExtraError, match=r"pip install 'atts-harness\[ray\]'"):
        cluster.join("local")
