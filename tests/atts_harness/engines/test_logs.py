"""Logs of servers of ours: where they lie, and that none is left behind that nobody needs."""

import asyncio
import stat
import sys
import tempfile

import pytest

from atts_harness.backend import BackendSpec
from atts_harness.engines.logs import log_of, remove_own
from atts_harness.engines.options import EngineOptions
from atts_harness.engines.servers import Launch, free_port, start
from atts_harness.errors import BackendUnavailableError, SettingError

IN_NO_RUN = BackendSpec("vllm", "m", EngineOptions(), "draft")
STAYS = "import time; time.sleep(600)"
DIES = "raise SystemExit(3)"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def launch(log, code, **fields):
    port = free_port("127.0.0.1")
    return Launch("draft", [sys.executable, "-c", code], "127.0.0.1", port, log, **fields)


def test_a_log_lies_in_the_run_directory_or_in_a_folder_of_its_own(tmp_path, temporary):
    spec = BackendSpec("vllm", "m", EngineOptions(), "draft", str(tmp_path))
    assert log_of(spec, "vllm") == tmp_path / "logs" / "draft-vllm.log"
    first, second = log_of(IN_NO_RUN, "vllm"), log_of(IN_NO_RUN, "vllm")
    assert first.parent != second.parent
    assert first.parent.parent == temporary
    assert not list(temporary.iterdir())  # nothing has started


def test_a_server_that_was_stopped_leaves_nothing(temporary):
    log = log_of(IN_NO_RUN, "vllm")

    async def run():
        server = await start(launch(log, STAYS))
        mode = stat.S_IMODE(log.parent.stat().st_mode)
        written = log.exists()
        await server.stop()
        return mode, written

    assert asyncio.run(run()) == (0o700, True)
    assert not list(temporary.iterdir())


def test_a_log_in_a_run_directory_stays(tmp_path):
    log = tmp_path / "logs" / "draft-vllm.log"

    async def run():
        server = await start(launch(log, STAYS))
        await server.stop()

    asyncio.run(run())
    assert log.exists()


@pytest.mark.parametrize(("code", "timeout"), [(DIES, 30.0), (STAYS, 0.1)])
def test_a_log_that_an_error_names_stays(code, timeout):
    log = log_of(IN_NO_RUN, "vllm")

    async def no_answer():
        raise BackendUnavailableError("nobody there")

    async def run():
        server = await start(launch(log, code, timeout=timeout))
        try:
            await server.wait_ready(no_answer)
        finally:
            await server.stop()

    with pytest.raises(SettingError) as caught:
        asyncio.run(run())
    assert str(log) in str(caught.value)
    assert log.exists()


def test_what_lies_beside_a_log_stays():
    log = log_of(IN_NO_RUN, "vllm")
    log.parent.mkdir()
    log.touch()
    (log.parent / "core").touch()
    remove_own(log)
    assert [path.name for path in log.parent.iterdir()] == ["core"]
