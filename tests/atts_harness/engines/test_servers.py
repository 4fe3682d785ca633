"""Servers of ours: ready, dead with a cause, and gone however the run ends."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from atts_harness.engines.http import EngineHttp
from atts_harness.engines.servers import Cause, Launch, check_port, explain, free_port, start
from atts_harness.errors import BackendUnavailableError, EngineGoneError, SettingError

# A server with a worker, as engines have: both must be gone in the end.
SERVER = textwrap.dedent(
    """
    import http.server, pathlib, subprocess, sys
    port, pids = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

    import os
    server = http.server.HTTPServer(("127.0.0.1", port), Answer)
    pids.with_suffix(".part").write_text(f"{os.getpid()} {worker.pid}")
    pids.with_suffix(".part").rename(pids)
    server.serve_forever()
    """
)
PATIENCE = 30.0


def launch(tmp_path: Path, code: str = SERVER, **fields) -> Launch:
    port = fields.get("port") or free_port("127.0.0.1")
    argv = [sys.executable, "-c", code, str(port), str(tmp_path / "pids")]
    usual = {"role": "target", "host": "127.0.0.1", "log": tmp_path / "logs" / "server.log"}
    return Launch(**(usual | {"argv": argv, "port": port} | fields))


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def read_pids(path: Path) -> list[int]:
    assert wait_until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


def test_a_server_is_waited_for_and_stopped_with_its_workers(tmp_path):
    async def run():
        plan = launch(tmp_path)
        server = await start(plan)
        http = EngineHttp(plan.url)
        try:
            await server.wait_ready(lambda: http.get("/", dict))
            pids = read_pids(tmp_path / "pids")
            assert all(map(alive, pids))
            assert not server.dead
        finally:
            await http.aclose()
            await server.stop()
        return pids

    pids = asyncio.run(run())
    assert len(pids) == 2
    assert not any(map(alive, pids))
    assert "http.server" in (tmp_path / "logs" / "server.log").read_text()


def test_a_server_that_dies_is_told_with_the_cause_from_its_log(tmp_path):
    code = "import sys; print('RuntimeError: CUDA out of memory. Tried 3 GiB'); sys.exit(3)"
    cause = Cause("out of memory", "gpu_memory_utilization", "give it less")
    plan = launch(tmp_path, code, causes=(cause,))

    async def never():
        raise BackendUnavailableError("nobody there")

    async def run():
        server = await start(plan)
        try:
            await server.wait_ready(never)
        finally:
            await server.stop()

    with pytest.raises(SettingError) as caught:
        asyncio.run(run())
    said = str(caught.value)
    assert said.startswith("target_gpu_memory_utilization: ")
    assert "CUDA out of memory" in said
    assert "give it less" in said
    assert str(plan.log) in said
    assert "\n" not in said


def test_a_server_that_dies_later_ends_the_run_resumably(tmp_path):
    async def run():
        plan = launch(tmp_path, "import sys; sys.exit(7)")
        server = await start(plan)
        error = BackendUnavailableError("connection refused")
        assert server.check(error) is error or server.dead
        await server._process.wait()
        told = server.check(error)
        await server.stop()
        return told

    told = asyncio.run(run())
    assert isinstance(told, EngineGoneError)
    assert "status 7" in str(told)


def test_a_server_that_was_killed_is_not_explained_by_its_last_line(tmp_path):
    code = "import os, signal; print('ValueError: long ago'); os.kill(os.getpid(), signal.SIGKILL)"

    async def run():
        server = await start(launch(tmp_path, code))
        await server._process.wait()
        await server.stop()
        return server.explain()

    told = asyncio.run(run())
    assert told.startswith("target: the server was killed by signal 9 (SIGKILL)")
    assert "long ago" not in told


def test_a_servers_log_is_the_users_alone_and_no_link_is_followed(tmp_path):
    plan = launch(tmp_path, "pass")

    async def run():
        await (await start(plan)).stop()

    asyncio.run(run())
    assert plan.log.stat().st_mode & 0o777 == 0o600
    assert plan.log.parent.stat().st_mode & 0o777 == 0o700
    plan.log.unlink()
    plan.log.symlink_to(tmp_path / "victim")
    with pytest.raises(SettingError, match=r"log .* cannot be written"):
        asyncio.run(run())
    plan.log.unlink()
    plan.log.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    plan.log.parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SettingError, match="is a symbolic link"):
        asyncio.run(run())
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert not (tmp_path / "victim").exists()


def test_a_server_that_never_answers(tmp_path):
    async def never():
        raise BackendUnavailableError("not yet")

    async def run():
        server = await start(launch(tmp_path, timeout=0.3))
        try:
            await server.wait_ready(never)
        finally:
            await server.stop()

    with pytest.raises(SettingError, match=r"^target_start_timeout: .*not yet"):
        asyncio.run(run())


def test_a_command_that_does_not_exist(tmp_path):
    async def never():
        raise BackendUnavailableError("not yet")

    async def run():
        server = await start(launch(tmp_path, argv=["/no/such/program"]))
        try:
            await server.wait_ready(never)
        finally:
            await server.stop()

    with pytest.raises(SettingError, match="cannot start /no/such/program"):
        asyncio.run(run())


PARENT = textwrap.dedent(
    """
    import asyncio, signal, sys
    from pathlib import Path
    from atts_harness.engines.servers import Launch, start

    # A job in the background of a shell is started with Ctrl-C ignored; this one is not.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    async def main():
        code, port, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
        argv = [sys.executable, "-c", code, port, str(folder / "pids")]
        await start(Launch("target", argv, "127.0.0.1", int(port), folder / "server.log"))
        await asyncio.sleep(600)

    asyncio.run(main())
    """
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_are_gone_when_the_run_is_killed(tmp_path, number):
    port = str(free_port("127.0.0.1"))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, SERVER, port, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stderr=subprocess.DEVNULL,
    )
    try:
        pids = read_pids(tmp_path / "pids")
        assert all(map(alive, pids))
    finally:
        parent.send_signal(number)
        parent.wait(PATIENCE)
    assert wait_until(lambda: not any(map(alive, pids)))


def test_a_port_in_use_is_told_before_anything_is_started(tmp_path):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        plan = launch(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(SettingError, match=r"^target_port: 127.0.0.1:\d+ cannot be used"):
            check_port(plan)


def test_a_free_port_stays_free_until_its_server_is_up():
    given = [free_port("127.0.0.1") for _ in range(200)]
    assert len(set(given)) == len(given)
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(low <= port <= high for port in given)


def test_a_server_on_an_ipv6_address(tmp_path):
    import socket

    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        with pytest.raises(SettingError, match=r"^target_port: ::1:\d+ cannot be used"):
            check_port(launch(tmp_path, host="::1", port=taken.getsockname()[1]))
    family = "import socket, socketserver; socketserver.TCPServer.address_family = socket.AF_INET6"
    code = f"{family}\n{SERVER}".replace('"127.0.0.1"', '"::1"')
    plan = launch(tmp_path, code, host="::1", port=free_port("::1"))
    assert plan.url == f"http://[::1]:{plan.port}"

    async def run():
        server = await start(plan)
        http = EngineHttp(plan.url)
        try:
            await server.wait_ready(lambda: http.get("/", dict))
        finally:
            await http.aclose()
            await server.stop()

    asyncio.run(run())


def test_a_host_that_is_not_here():
    with pytest.raises(SettingError, match=r"^host: cannot listen on '192.0.2.1'"):
        free_port("192.0.2.1")


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("OSError: [Errno 98] Address already in use", "target_port"),
        ("vllm: error: unrecognized arguments: --frobnicate", "target_server_args"),
        ("OSError: org/x is not a local folder and is not a valid model identifier", "target:"),
        ("ValueError: something else", "target: the server ended with status 1: ValueError"),
    ],
)
def test_causes_that_every_engine_shares(tmp_path, line, setting):
    plan = launch(tmp_path)
    plan.log.parent.mkdir()
    plan.log.write_text(f"INFO before\n(EngineCore pid=12) {line}\nINFO after\n")
    assert explain(plan, 1).startswith(setting)


def test_a_cause_from_an_earlier_start_is_not_told_again(tmp_path):
    plan = launch(tmp_path)
    plan.log.parent.mkdir()
    old = "OSError: Address already in use\n"
    plan.log.write_text(old + "ValueError: new\n")
    assert "ValueError: new" in explain(plan, 1, len(old))


def test_the_root_cause_is_told_and_not_where_to_look_for_it(tmp_path):
    plan = launch(tmp_path)
    plan.log.parent.mkdir()
    plan.log.write_text("ValueError: the cause\nRuntimeError: failed. See root cause above.\n")
    assert "the cause" in explain(plan, 1)
