"""The commands around servers, as far as they need no engine."""

import asyncio
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from atts_harness import plugins
from atts_harness.backend import BackendKind, BackendOptions, BackendSpec, ServerKind
from atts_harness.cli import build_app
from atts_harness.engines import managed
from atts_harness.engines.doctor import command as commands
from atts_harness.engines.doctor import flashinfer, reach
from atts_harness.engines.doctor.examine import _dtype
from atts_harness.engines.doctor.finding import Finding
from atts_harness.engines.doctor.folders import is_folder
from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.hookspecs import hookimpl
from atts_harness.journal import filesystem
from atts_harness.testing import mock_plugin


@pytest.fixture
def atts():
    app = build_app()

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    return run


def error_of(result):
    assert result.exit_code == 1
    assert isinstance(result.exception, SettingError), result.exception
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.mark.parametrize("command", ["doctor", "warmup"])
def test_each_server_is_looked_at_whatever_the_others_do(atts, command):
    urls = ["localhost:1", "http://127.0.0.1:1", "http://::1:2", "http://127.0.0.1:3"]
    result = atts(command, *urls)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)  # nothing was raised
    said = [line.strip() for line in result.output.splitlines() if " server: " in line]
    assert len(said) == len(urls)
    assert said[0].endswith(
        "'localhost:1' is not an address: it has no scheme; write http://localhost:1"
    )
    assert said[1].endswith(
        "url: nothing answers at http://127.0.0.1:1 (connection refused); start the server, or "
        "give the address at which it listens"
    )
    assert "stands in brackets" in said[2]
    assert "nothing answers at http://127.0.0.1:3" in said[3]


def test_a_doctor_that_is_told_the_backend_and_finds_nobody(atts):
    result = atts("doctor", "http://127.0.0.1:1/v1", "--backend", "vllm")
    assert result.exit_code == 1
    assert " server: url: no usable vllm server at http://127.0.0.1:1 (" in result.output


def test_a_backend_that_does_not_exist(atts):
    result = atts("doctor", "http://127.0.0.1:1", "--backend", "vlm")
    assert isinstance(result.exception, UnknownSettingError)
    assert "vllm" in str(result.exception)


def test_a_doctor_looks_at_folders_too(atts, tmp_path, monkeypatch):
    table = tmp_path / "mounts"
    table.write_text("1 0 8:1 / / rw - xfs /dev/a rw\n2 1 0:1 / /proc rw - nfs4 host:/x rw\n")
    monkeypatch.setattr(filesystem.file_system, "__defaults__", (table,))
    result = atts("doctor", str(tmp_path), str(tmp_path / "run"))
    assert result.exit_code == 0
    assert "ok      file system: xfs, mounted on /: a disk of this machine" in result.output
    assert result.output.count("GiB free") == 2
    assert result.output.count("note    folder: is not there yet; a run makes it") == 1
    result = atts("doctor", "/proc/run")
    assert result.exit_code == 1
    assert "error   file system: nfs4, mounted on /proc: a network file system" in result.output
    assert "-> use a run_dir on a disk of this machine" in result.output
    (tmp_path / "file").touch()
    result = atts("doctor", str(tmp_path / "file"), str(tmp_path))
    assert result.exit_code == 1
    assert "is a file; give a run directory, or the URL of a server" in result.output
    assert result.output.count("GiB free") == 1  # the other one is looked at


@pytest.mark.parametrize(
    ("given", "folder"),
    [("http://h:1", False), ("h:30000", False), ("runs/first", True), ("ray://h:1", False)],
)
def test_what_is_a_folder_and_what_a_server(given, folder):
    assert is_folder(given) == folder


@pytest.mark.parametrize("error", [RuntimeError("mine"), SystemExit(3), RecursionError()])
def test_a_strangers_backend_that_breaks_hides_nobody_who_answers(monkeypatch, caplog, error):
    async def breaks(url, headers_env):
        raise error

    async def answers(url, headers_env):
        return url == "http://127.0.0.1:1"

    class Stranger:
        @hookimpl
        def atts_backends(self):
            kinds = {"broken": breaks, "mine": answers}
            return [
                BackendKind(name, BackendOptions, mock_plugin.open_mock, server=ServerKind(look))
                for name, look in kinds.items()
            ]

    stranger = Stranger()
    plugins.manager().register(stranger)
    strange = {name: kind for name, kind in plugins.servers().items() if name in ("broken", "mine")}
    monkeypatch.setattr(plugins, "servers", lambda: strange)
    try:
        found = asyncio.run(reach.kind_of("http://127.0.0.1:1", None, None))
    finally:
        plugins.manager().unregister(stranger)
    assert found.name == "mine"
    assert "recognise of backend 'broken'" in caplog.text
    assert type(error).__name__ in caplog.text


class Careless:
    """Says that its servers can be started, and has neither their options nor their class."""

    @hookimpl
    def atts_backends(self):
        return [BackendKind("careless", BackendOptions, mock_plugin.open_mock, server=SERVERS)]


async def nothing(url, headers_env):
    return False


SERVERS = ServerKind(nothing)


@pytest.fixture
def strangers():
    found = [mock_plugin, Careless()]
    for plugin in found:
        plugins.manager().register(plugin)
    yield
    for plugin in found:
        plugins.manager().unregister(plugin)


def test_a_backend_without_servers_is_refused_in_one_line(atts, strangers, tmp_path):
    result = atts("doctor", "http://127.0.0.1:1", "--backend", "mock")
    assert result.exit_code == 1
    assert "server: backend: MockBackend speaks to no server" in result.output
    told = error_of(atts("serve-models", "backend=careless,target=a", "--run-dir", str(tmp_path)))
    assert told.startswith("target_backend: careless says that its servers can be started")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("backend", "settings: 'backend' is not NAME=VALUE"),
        ('{"backend": "vllm"', "settings: not a JSON object"),
        ('{"backend": "openai", "target": "a,b"}', "target_backend: openai has no server"),
        ("backend=openai,target=a/b,target_url=http://h:1", "target_backend: openai has no server"),
        ("backend=transformers,target=a/b", "target_backend: transformers has no server"),
        ("backend=vllm,target=/no/such/folder", "target: there is no model folder"),
        (
            "backend=sglang,target=a/b,target_url=http://h:1",
            "target_url: this command starts servers",
        ),
    ],
)
def test_servers_that_cannot_be_started(atts, tmp_path, settings, message):
    assert error_of(atts("serve-models", settings, "--run-dir", str(tmp_path))).startswith(message)


@pytest.mark.parametrize(
    ("devices", "together"), [("cpu", True), ("0", True), ("1", False), ("1+0", False)]
)
def test_servers_that_share_a_device_start_one_after_the_other(
    monkeypatch, capsys, devices, together
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    managed.visible_devices.cache_clear()
    specs = [
        BackendSpec("engine", "m", managed.ManagedOptions(devices=given), role, run_dir="runs/a")
        for role, given in (("draft", "1"), ("target", devices))
    ]
    seen = []

    class Kind:
        async def open(self, spec):
            seen.append(f"{spec.role} begins")
            await asyncio.sleep(0)
            seen.append(f"{spec.role} is up")

    async def main():
        await asyncio.gather(*commands._begin(specs))

    monkeypatch.setattr(commands.plugins, "backend", lambda name: Kind())
    asyncio.run(main())
    managed.visible_devices.cache_clear()
    assert (seen[1] == "target begins") == together
    assert sorted(seen) == ["draft begins", "draft is up", "target begins", "target is up"]
    told = capsys.readouterr().err
    assert "draft: starting engine with m (log in runs/a/logs)" in told
    assert "target: answers, 0 s" in told


@pytest.fixture
def installed(monkeypatch):
    """Pretend that an engine's environment holds something, on a machine with or without GPUs."""

    def pretend(gpus, **versions):
        told = flashinfer.Installed(
            {name.replace("_", "-"): version for name, version in versions.items()},
            "flashinfer_python==0.7.2",
            "sglang 0.5.23",
        )
        monkeypatch.setattr(flashinfer, "look", lambda python, package: told)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", gpus)
        managed.visible_devices.cache_clear()

    yield pretend
    managed.visible_devices.cache_clear()


def test_without_a_gpu_the_warm_up_says_what_it_would_do(atts, installed):
    installed("")
    result = atts("warmup", "--backend", "sglang")
    assert result.exit_code == 0, result.output
    assert "not needed without a GPU" in result.output
    assert "would run `python -m flashinfer download-kernels`" in result.output


def test_kernels_that_do_not_fit_are_an_error_with_a_remedy(atts, installed):
    installed("0", flashinfer_python="0.7.2", flashinfer_cubin="0.7.1", torch="2.13.0+cu130")
    result = atts("warmup", "--backend", "sglang", "--no-fetch")
    assert result.exit_code == 1
    assert "does not belong to flashinfer-python 0.7.2" in result.output
    assert "-> pip install 'flashinfer-cubin==0.7.2'" in result.output


def test_kernels_are_fetched_where_a_gpu_is(atts, installed, monkeypatch):
    installed("0", flashinfer_python="0.6.3", torch="2.13.0+cu130")
    commands = []

    def run(command, **_):
        commands.append(command[1:])
        raise OSError("no network")

    monkeypatch.setattr(flashinfer.subprocess, "run", run)
    result = atts("warmup", "--backend", "sglang")
    assert commands == [["-m", "flashinfer", "download-cubin"]]
    assert result.exit_code == 1
    assert "no network" in result.output


def test_no_engine_is_said(atts, monkeypatch):
    monkeypatch.setattr(flashinfer, "look", lambda python, package: flashinfer.Installed({}))
    result = atts("warmup")
    assert result.exit_code == 0
    assert "no engine is installed here" in result.output


def test_a_finding_has_its_colour_and_no_control_character_of_others(capsys):
    commands._show(Finding("ok", "engine", "calls itself \x1b[31mred"))
    shown = capsys.readouterr().out
    assert shown.startswith("  ok      engine: calls itself ")
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("served", "configured", "words"),
    [
        ("bfloat16", "bfloat16", "dtype bfloat16"),
        (None, "float16", "dtype float16 by its config.json; the server does not say what it "),
        ("auto", "float16", "dtype float16 by its config.json; the server does not say what it "),
        (None, None, "dtype not told"),
    ],
)
def test_a_number_format_that_only_the_config_names_is_said_to_be_so(served, configured, words):
    backend = SimpleNamespace(
        identity=SimpleNamespace(dtype=configured), served=SimpleNamespace(dtype=served)
    )
    assert _dtype(backend).startswith(words)
