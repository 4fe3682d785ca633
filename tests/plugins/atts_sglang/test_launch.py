"""The command that starts an SGLang server, and what its log says when it dies."""

import pytest
from atts_sglang import launch as module
from atts_sglang.launch import CPU_CACHE_TOKENS, launch
from atts_sglang.options import SGLangOptions

from atts_harness.backend import BackendSpec
from atts_harness.engines.managed import visible_devices
from atts_harness.engines.servers import explain


@pytest.fixture(autouse=True)
def version(monkeypatch):
    monkeypatch.setattr(module, "package_version", lambda *_: "0.5.23")


@pytest.fixture
def gpus(monkeypatch):
    def pretend(visible):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        visible_devices.cache_clear()

    yield pretend
    visible_devices.cache_clear()


def plan(tmp_path, role="target", beside=(), **options):
    own = SGLangOptions(**options)
    spec = BackendSpec("sglang", "org/model", own, role, str(tmp_path), beside=beside)
    return launch(spec)


def flag(made, name):
    return made.argv[made.argv.index(name) + 1]


def test_several_devices_mean_tensor_parallel(gpus, tmp_path):
    gpus("0,1,2")
    made = plan(tmp_path, devices="1+2")
    assert made.env["CUDA_VISIBLE_DEVICES"] == "1,2"
    assert flag(made, "--tp-size") == "2"
    assert "--device" not in made.argv
    assert flag(plan(tmp_path, devices="1+2", tp_size=1), "--tp-size") == "1"


def test_log_probabilities_are_never_tempered(gpus, tmp_path):
    gpus("0")
    assert plan(tmp_path).env["SGLANG_RETURN_ORIGINAL_LOGPROB"] == "1"


def test_it_does_not_close_connections_that_the_run_still_uses(gpus, tmp_path):
    gpus("0")
    assert float(plan(tmp_path).env["SGLANG_TIMEOUT_KEEP_ALIVE"]) >= 600


def test_it_soon_notices_that_a_client_is_gone(gpus, tmp_path):
    gpus("0")
    looks = plan(tmp_path).env["SGLANG_REQUEST_STATE_WAIT_TIMEOUT"]
    assert 0 < int(looks) < 4  # read as a whole number; 0 would be looking all the time


def test_a_single_device_is_shared(gpus, tmp_path):
    gpus("0")
    other = BackendSpec("sglang", "org/other", SGLangOptions(), "target")
    shares = [
        float(flag(plan(tmp_path, role, beside=(other,)), "--mem-fraction-static"))
        for role in ("draft", "target")
    ]
    assert shares[0] < shares[1]
    assert sum(shares) < 1
    assert flag(plan(tmp_path, mem_fraction_static=0.4), "--mem-fraction-static") == "0.4"


def test_any_flag_can_be_given_and_wins(gpus, tmp_path):
    gpus("0,1")
    made = plan(
        tmp_path,
        "draft",
        dtype="bfloat16",
        max_length=4096,
        server_args={"lora_paths": "a=/b", "dtype": "half", "enable_deterministic_inference": True},
    )
    assert flag(made, "--dtype") == "half"
    assert made.argv.count("--dtype") == 1
    assert flag(made, "--context-length") == "4096"
    assert flag(made, "--lora-paths") == "a=/b"
    assert "--enable-deterministic-inference" in made.argv
    assert made.log == tmp_path / "logs" / "draft-sglang.log"


def test_on_the_processor_its_cache_is_bounded(gpus, tmp_path):
    gpus("0")
    made = plan(tmp_path, devices="cpu")
    assert flag(made, "--device") == "cpu"
    assert flag(made, "--max-total-tokens") == str(CPU_CACHE_TOKENS)
    assert "--sleep-on-idle" in made.argv


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "mem_fraction"),
        ("RuntimeError: Not enough memory. Please try to increase --mem-fraction", "mem_fraction"),
        (
            "ValueError: Loaded weights leave no GPU memory for the KV cache under "
            "--mem-fraction-static=0.0001. Raise --mem-fraction-static above 0.003",
            "mem_fraction",
        ),
        (
            "RuntimeError: [enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't "
            "allocate memory: you tried to allocate 512000000000 bytes. Error code 12",
            "mem_fraction",
        ),
        (
            "ValueError: User-specified context_length (131072) is greater than the derived "
            "context_length (4096).",
            "max_length",
        ),
        ("ModuleNotFoundError: No module named 'sglang'", "engine_python"),
    ],
)
def test_why_it_died(gpus, tmp_path, line, setting):
    gpus("0")
    made = plan(tmp_path)
    made.log.parent.mkdir()
    made.log.write_text(f"INFO begins\n[2026-01-01 00:00:00] {line}\nKilled\n")
    told = explain(made, 1)
    assert told.startswith(f"target_{setting}")
    assert str(made.log) in told
    assert "\n" not in told
