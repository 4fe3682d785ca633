"""A cluster with a token, made by `ray start`: who has it may use it, others get a line."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SMALL_PLAN, STORE, patiently, until

pytest.importorskip("ray")
pytest.importorskip("atts_mock_cells")

RAY = str(Path(sys.executable).with_name("ray"))


@pytest.fixture
def started(tmp_path):
    """Starts a head with a token; its address."""
    token = secrets.token_hex(32)
    # Sockets lie below it, and their paths may not be long.
    place = Path(f"/tmp/atts-token-{os.getpid()}")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)

        def start():
            # Not of the range that Ray gives to workers, 10002 to 19999.
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            log = tmp_path / "head.log"
            with log.open("w") as out:
                head = subprocess.Popen(
                    [RAY, "start", "--head", f"--port={port}", "--num-cpus=2", "--num-gpus=0",
                     "--include-dashboard=false", f"--object-store-memory={STORE}",
                     f"--temp-dir={place}", "--block"],
                    env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token,
                                      "RAY_USAGE_STATS_ENABLED": "0"},
                    stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                )  # fmt: skip
            until(
                lambda: "Ray runtime started" in log.read_text() or head.poll() is not None,
                log.read_text,
            )
            if head.poll() is not None:
                raise OSError(log.read_text())
            return head, port

        head, port = patiently(start)
        stack.callback(head.wait)
        stack.callback(head.terminate)
        yield f"127.0.0.1:{port}", token


def test_who_has_the_token_may_use_the_cluster(comparison, started, monkeypatch, tmp_path):
    address, token = started
    comparison.plan(SMALL_PLAN)
    monkeypatch.setenv("HOME", str(tmp_path))  # a user without a token of his own
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    for others in ("", "0" * 64):
        if others:
            monkeypatch.setenv("RAY_AUTH_TOKEN", others)
        told = comparison.refuse(ray=address)
        assert told.startswith(f"atts: error: ray: {address}: ")
        assert "RAY_AUTH_TOKEN" in told
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    where = tmp_path / ".ray" / "auth_token"
    where.parent.mkdir()
    where.write_text(token)
    where.chmod(0o600)
    comparison.run(ray=address)
    assert [cell["state"] for cell in comparison.cells.values()] == ["done"]
