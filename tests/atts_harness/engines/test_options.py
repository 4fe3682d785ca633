"""Settings of served models: keys of a dictionary, secrets from the environment."""

import pytest

from atts_harness.backend import BackendSpec
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.managed import (
    ManagedOptions,
    check_flags,
    check_managed,
    devices_of,
    flags,
    visible_devices,
    with_defaults,
)
from atts_harness.engines.options import EngineOptions, request_headers, template_args
from atts_harness.engines.served import check_model, check_window
from atts_harness.errors import MissingExtraError, SettingError
from atts_harness.settings import parse_settings


def spec(role="target", model=None, **options):
    return BackendSpec("engine", model, ManagedOptions(**options), role)


def test_equal_specifications_are_one_key_even_with_template_arguments():
    one = spec(chat_template_args={"a": 1, "b": [2]})
    same = spec(role="draft", chat_template_args={"b": [2], "a": 1})
    other = spec(chat_template_args={"a": 2})
    assert len({one: 0, same: 1, other: 2}) == 2


def test_thinking_is_a_template_argument():
    assert template_args(EngineOptions(enable_thinking=False)) == {"enable_thinking": False}
    assert template_args(EngineOptions(chat_template_args={"x": 1})) == {"x": 1}


def test_headers_and_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("MY_HEADERS", '{"X-Team": "a"}')
    monkeypatch.setenv("MY_KEY", "s3cret")
    options = EngineOptions(headers_env="MY_HEADERS", api_key_env="MY_KEY")
    assert request_headers(options) == {"Authorization": "Bearer s3cret", "X-Team": "a"}
    monkeypatch.delenv("MY_KEY")
    assert request_headers(options) == {"X-Team": "a"}


@pytest.mark.parametrize("value", [None, "[]", "X-Team: a", '{"X-Team": 1}'])
def test_headers_that_cannot_be_read(monkeypatch, value):
    monkeypatch.delenv("MY_HEADERS", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_HEADERS", value)
    with pytest.raises(SettingError, match=r"^headers_env: "):
        request_headers(EngineOptions(headers_env="MY_HEADERS"))


def test_flags_from_a_line_a_list_and_a_mapping():
    assert flags("--a 1 --b 'x y'") == ["--a", "1", "--b", "x y"]
    assert flags(["--a", "1"]) == ["--a", "1"]
    mapped = {"a_b": 2, "--c": True, "d": False, "e": None, "f": {"x": [1]}, "g": "t"}
    assert flags(mapped) == ["--a-b", "2", "--c", "--f", '{"x":[1]}', "--g", "t"]
    with pytest.raises(SettingError, match="server_args"):
        flags("--a 'x")


def test_flags_by_name_win_over_usual_ones():
    command = with_defaults(["--max-model-len", "8", "--port=3"], {"port": 1, "dtype": "auto"})
    assert command == ["--dtype", "auto", "--max-model-len", "8", "--port=3"]


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    visible_devices.cache_clear()
    yield
    visible_devices.cache_clear()


def test_devices_are_split_between_the_roles(four_gpus):
    assert devices_of(spec("draft")) == ("4",)
    assert devices_of(spec("target")) == ("5", "6")  # three are left; parallel sizes are 1, 2, 4
    assert devices_of(spec("target", devices="5+6+7+4")) == ("5", "6", "7", "4")
    assert devices_of(spec("target", devices="cpu")) == ()
    with pytest.raises(SettingError, match=r"^target_devices: there is no device '9'"):
        devices_of(spec("target", devices="4+9"))


def test_what_can_be_known_before_a_server_is_started(tmp_path):
    with pytest.raises(SettingError, match=r"^target: give a model"):
        check_managed(spec(), "pytest", "NO_SUCH_VARIABLE", "x")
    with pytest.raises(SettingError, match="no model folder"):
        check_managed(spec(model=str(tmp_path / "none")), "pytest", "NO_SUCH_VARIABLE", "x")
    with pytest.raises(SettingError, match="holds no model"):
        check_managed(spec(model=str(tmp_path)), "pytest", "NO_SUCH_VARIABLE", "x")
    with pytest.raises(SettingError, match=r"^target_url: 'localhost:1' is not an address"):
        check_managed(spec(url="localhost:1"), "pytest", "NO_SUCH_VARIABLE", "x")
    with pytest.raises(SettingError, match="engine_python"):
        check_managed(
            spec(model="org/model", engine_python="/no/python"), "pytest", "NO_SUCH_VARIABLE", "x"
        )
    with pytest.raises(MissingExtraError, match=r"pip install 'atts-harness\[vllm\]'") as raised:
        check_managed(spec(model="org/model"), "no-such-package-anywhere", "NO_VARIABLE", "vllm")
    assert "name the Python that has it by engine_python" in str(raised.value)
    check_managed(spec(model="org/model", devices="cpu"), "pytest", "NO_SUCH_VARIABLE", "x")


@pytest.mark.parametrize(
    ("wanted", "served"),
    [
        ("Qwen/QwQ-32B", "Qwen/QwQ-32B"),
        ("Qwen/QwQ-32B", "/data/models/QwQ-32B"),
        ("Qwen/QwQ-32B", "/hub/models--Qwen--QwQ-32B/snapshots/abc"),
        ("/data/models/QwQ-32B/", "Qwen/qwq-32b"),
    ],
)
def test_one_model_has_several_names(wanted, served):
    check_model(spec(model=wanted), FakeHttp(), ["other", served])


def test_another_model_behind_a_url():
    with pytest.raises(SettingError, match=r"^target_url: http://h:1 serves a/B, not a/C; "):
        check_model(spec(model="a/C"), FakeHttp(), ["a/B"])
    check_model(spec(model="a/C", served_model_name="a/B"), FakeHttp(), ["a/B"])
    check_model(spec(), FakeHttp(), ["a/B"])


def test_the_window_may_be_made_smaller_and_not_larger():
    assert check_window(spec(), 4096) == 4096
    assert check_window(spec(max_length=1024), 4096) == 1024
    with pytest.raises(SettingError, match=r"^target_max_length: the server's window is 4096"):
        check_window(spec(max_length=8192, url="http://h:1"), 4096)


@pytest.mark.parametrize("name", ["vllm", "sglang", "openai"])
def test_every_setting_can_be_given_as_text(name):
    import msgspec

    from atts_harness import plugins
    from atts_harness.settings import struct_from

    options = plugins.backend(name).options
    texts = {"dict[": '{"a": 1}', "bool": "true", "int": "16", "float": "0.5", "str": "x"}
    for field in msgspec.structs.fields(options):
        sort = next(s for s in texts if s in str(field.type))
        made = struct_from(options, {field.name: texts[sort]})
        assert getattr(made, field.name) is not None
        hash(made)


def test_a_setting_out_of_range_is_named():
    from atts_harness.settings import struct_from

    with pytest.raises(SettingError, match=r"^max_length: "):
        struct_from(ManagedOptions, {"max_length": "1"})
    with pytest.raises(SettingError, match=r"^port: "):
        struct_from(ManagedOptions, {"port": "70000"})


class FakeHttp(EngineHttp):
    """An address without connections."""

    def __init__(self):
        self.url = "http://h:1"


@pytest.mark.parametrize(
    "given",
    [
        "--host 0.0.0.0",
        "--port=1",
        "--api-key x",
        "--api_key=x",
        "--admin-api-key x",
        "--api x",
        "--hos 0.0.0.0",
        "--PORT 1",
        "--model other/model",
        "--model-path /elsewhere",
        "--uds /tmp/socket",
        ["--max-num-seqs", "8", "--host", "0.0.0.0"],
        {"port": 1},
        {"host": "0.0.0.0"},
    ],
)
def test_flags_that_the_harness_owns_cannot_come_through(given):
    with pytest.raises(
        SettingError, match=r"^target_server_args: --\S+ is set by the harness; use"
    ):
        check_flags("target", flags(given))


@pytest.mark.parametrize(
    "given",
    [
        "--max-model-len 8",
        "--hf-overrides {}",
        "--model-impl transformers",
        "--portable",
        "--quantization fp8 -tp 2",
        {"model_loader_extra_config": {}},
    ],
)
def test_other_flags_do(given):
    check_flags("target", flags(given))


URL = "http://127.0.0.1:1"
PAIR = {"backend": "vllm", "draft": "org/small", "target": "org/large"}


@pytest.fixture
def engines(monkeypatch):
    """As if both engines were installed, on a machine without GPUs."""
    monkeypatch.setattr("atts_harness.engines.managed.package_version", lambda *_: "0.32.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    visible_devices.cache_clear()
    yield
    visible_devices.cache_clear()


@pytest.mark.parametrize("backend", ["vllm", "sglang"])
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"draft_url": URL, "draft_devices": "cpu"}, "draft_devices"),
        ({"draft_url": URL, "draft_dtype": "bfloat16"}, "draft_dtype"),
        ({"draft_url": URL, "draft_server_args": "--seed 1"}, "draft_server_args"),
        ({"draft_url": URL, "draft_port": 80}, "draft_port"),
        ({"draft_url": URL, "target_url": URL, "start_timeout": 9}, "start_timeout"),
        ({"url": URL, "engine_python": "/usr/bin/python3"}, "engine_python"),
    ],
)
def test_what_a_running_server_cannot_be_told_is_refused(engines, backend, given, name):
    with pytest.raises(
        SettingError, match=rf"^{name}: (draft|target)_url names a server"
    ) as caught:
        parse_settings({**PAIR, "backend": backend, **given})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        # For both roles, and the target's server is started.
        {"draft_url": URL, "dtype": "float32", "devices": "cpu"},
        {"draft_url": URL, "target_dtype": "float32", "target_devices": "cpu"},
        # Of the model in this process.
        {"draft_url": URL, "target_backend": "transformers", "dtype": "float32"},
        # What is read here, whoever started the server.
        {"draft_url": URL, "target_url": URL, "max_length": 512, "tokenizer": "org/small"},
    ],
)
def test_what_somebody_has_a_use_for_is_taken(engines, given):
    parse_settings({**PAIR, **given})


def test_a_preset_says_how_servers_are_started_and_they_may_run_already(engines):
    found = parse_settings({"preset": "tiny", "backend": "vllm", "url": URL})
    assert found.roles["draft"].options.dtype == "float32"


@pytest.mark.parametrize(
    ("backend", "option"), [("vllm", "tensor_parallel_size"), ("sglang", "tp_size")]
)
def test_what_does_nothing_on_the_processor_is_refused(engines, monkeypatch, backend, option):
    pair = {**PAIR, "backend": backend}
    for name in (option, f"target_{option}"):
        with pytest.raises(SettingError, match=rf"^{name}: does nothing on the processor"):
            parse_settings({**pair, name: 2})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    visible_devices.cache_clear()
    parse_settings({**pair, option: 1, "draft_devices": "cpu"})  # the target is on GPUs
    with pytest.raises(SettingError, match=rf"^draft_{option}: does nothing"):
        parse_settings({**pair, f"draft_{option}": 1, "draft_devices": "cpu"})
