"""Servers that the cells of a pair share, and their prefix caches."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from atts_harness import plugins
from atts_harness.comparing import caches, local, servers
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Task
from atts_harness.errors import SettingError

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture
def installed():
    pytest.importorskip("atts_vllm")
    pytest.importorskip("atts_sglang")


@pytest.fixture
def engine():
    """A server that answers POSTs with the statuses it is given, the last one for ever."""
    asked, statuses = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.statuses = asked, statuses
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_caches_are_cleared_by_the_engines_own_route(engine):
    settings = {"strategy": "atts", "backend": "sglang", "url": engine.url}
    assert caches.clear_caches(settings) == {"draft": "cleared", "target": "cleared"}
    assert engine.asked == ["/flush_cache"]  # both roles are on one server
    settings = {"strategy": "target-only", "backend": "vllm", "target_url": engine.url}
    assert caches.clear_caches(settings) == {"target": "cleared"}
    assert engine.asked[1:] == ["/reset_prefix_cache"]


def test_an_engine_that_is_busy_is_asked_again(engine, monkeypatch):
    monkeypatch.setattr(caches, "PAUSE_SECONDS", 0.0)
    engine.statuses[:] = [400, 400, 200]
    settings = {"strategy": "target-only", "backend": "sglang", "target_url": engine.url}
    assert caches.clear_caches(settings) == {"target": "cleared"}
    monkeypatch.setattr(caches, "CLEAR_SECONDS", 0.0)
    engine.statuses[:] = [400]
    assert caches.clear_caches(settings)["target"].startswith("not cleared: url: POST http://")


def test_what_cannot_be_cleared_is_said(engine):
    engine.statuses[:] = [404]
    vllm = {"strategy": "target-only", "backend": "vllm", "target_url": engine.url}
    told = "not cleared: the server was started without VLLM_SERVER_DEV_MODE=1"
    assert caches.clear_caches(vllm) == {"target": told}
    other = {"strategy": "target-only", "backend": "openai", "target_url": engine.url}
    assert caches.clear_caches(other) == {"target": "not cleared: no way is known for this engine"}


def test_a_model_in_the_cells_own_process_has_no_cache_yet():
    told = caches.clear_caches({"strategy": "draft-only", "preset": "tiny"})
    assert told == {"draft": caches.OWN_PROCESS}


# In place of `atts serve-models`: writes what it was asked for, announces, and serves until told.
SERVER = """
import json, os, pathlib, signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
settings = json.loads(sys.argv[2])
with open("started", "a") as file:
    print(json.dumps([settings, sys.argv[3:], os.environ.get("VLLM_SERVER_DEV_MODE")]), file=file)
if "port" in settings:
    sys.exit("atts: error: port: 1 is in use")
roles = [role for role in ("draft", "target") if role in settings]
print("draft: vllm at http://h:1 (log: x)")
parts = [f"{role}_{what}" for role in roles for what in ("backend=vllm", "url=http://h:1/" + role)]
print("--model_args " + ",".join([*parts, *(f"{role}={settings[role]}" for role in roles)]))
sys.stdout.flush()
time.sleep(60)
"""
PAIR = {"backend": "vllm", "draft": "a/b", "target": "c/d", "target_devices": "1+2", "dtype": "x"}


@pytest.fixture
def pair_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "ATTS", (sys.executable, "-S", "-c", SERVER))
    monkeypatch.setattr(servers, "POLL_SECONDS", 0.01)
    made = []

    def pair_of(*strategies, **further):
        cells = [
            Cell(Task(task="sums"), "pair", name, name, served={**PAIR, **further})
            for name in strategies
        ]
        made.append(
            servers.Servers(cells, tmp_path / "servers" / "pair", local.LocalPlace(), said.append)
        )
        return made[-1]

    said = pair_of.said = []
    yield pair_of
    for found in made:
        found.stop()


def reach(pair, strategy):
    """Settings that reach the servers, once they answer."""
    while not pair.ready():
        time.sleep(0.01)
    return pair.settings(plugins.strategy(strategy).roles)


@pytest.fixture
def started(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "started").read_text().splitlines()]


def test_servers_are_started_once_and_stopped(pair_of, started, tmp_path):
    pair = pair_of("draft-only", "atts")
    assert reach(pair, "atts") == {
        "draft_backend": "vllm",
        "draft_url": "http://h:1/draft",
        "draft": "a/b",
        "target_backend": "vllm",
        "target_url": "http://h:1/target",
        "target": "c/d",
    }
    assert set(reach(pair, "draft-only")) == {"draft_backend", "draft_url", "draft"}
    ((settings, rest, mode),) = started()
    assert settings == PAIR
    assert rest == ["--run-dir", str(tmp_path / "servers" / "pair")]
    assert mode == "1"  # so that vLLM's cache can be cleared
    job = pair._job
    pair.stop()
    assert job.poll() == 0
    assert [line.split(":")[0] for line in pair_of.said] == ["pair", "pair"]


def test_servers_that_died_are_started_again(pair_of, started):
    pair = pair_of("atts")
    reach(pair, "atts")
    pair._job.popen.kill()
    pair._job.popen.wait()
    assert reach(pair, "atts")["draft_url"] == "http://h:1/draft"
    assert len(started()) == 2


def test_servers_that_do_not_start_say_why_and_are_not_tried_again(pair_of, started):
    pair = pair_of("atts", "draft-only", port=1)
    for strategy in ("atts", "draft-only"):
        with pytest.raises(SettingError, match=r"^servers: port: 1 is in use$"):
            reach(pair, strategy)
    assert len(started()) == 1


@pytest.mark.parametrize(
    ("strategies", "further", "served"),
    [
        (["draft-only"], {}, {"backend": "vllm", "draft": "a/b", "dtype": "x"}),
        (["atts"], {"draft_url": "http://h:2"},
         {"backend": "vllm", "target": "c/d", "target_devices": "1+2", "dtype": "x"}),
        (["atts"], {"draft_backend": "transformers"},
         {"backend": "vllm", "target": "c/d", "target_devices": "1+2", "dtype": "x"}),
    ],
)  # fmt: skip
def test_only_what_needs_a_server_is_served(pair_of, started, strategies, further, served):
    assert reach(pair_of(*strategies, **further), strategies[0])
    assert started()[0][0] == served


@pytest.mark.parametrize("further", [{"url": "http://h:2"}, {"backend": "transformers"}])
def test_a_pair_that_needs_no_server(pair_of, tmp_path, further):
    assert reach(pair_of("atts", **further), "atts") == {}
    assert not (tmp_path / "started").exists()
