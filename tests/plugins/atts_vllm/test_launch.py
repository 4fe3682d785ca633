"""The command that starts a vLLM server, and what its log says when it dies."""

import os
from pathlib import Path

import pytest
from atts_vllm import launch as module
from atts_vllm.launch import launch
from atts_vllm.options import VLLMOptions

from atts_harness.backend import BackendSpec
from atts_harness.engines.managed import visible_devices
from atts_harness.engines.servers import explain
from atts_harness.errors import SettingError


@pytest.fixture(autouse=True)
def version(monkeypatch):
    monkeypatch.setattr(module, "package_version", lambda *_: "0.32.0")


@pytest.fixture
def gpus(monkeypatch):
    def pretend(visible):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        visible_devices.cache_clear()

    yield pretend
    visible_devices.cache_clear()


def plan(tmp_path, role="target", beside=(), **options):
    own = VLLMOptions(**options)
    spec = BackendSpec("vllm", "org/model", own, role, str(tmp_path), beside=beside)
    return launch(spec)


def flag(made, name):
    return made.argv[made.argv.index(name) + 1]


def test_several_devices_mean_tensor_parallel(gpus, tmp_path):
    gpus("0,1,2")
    made = plan(tmp_path, devices="1+2")
    assert made.env["CUDA_VISIBLE_DEVICES"] == "1,2"
    assert flag(made, "--tensor-parallel-size") == "2"
    assert "--enable-scale-out" in made.argv
    # Prompt log-probabilities of a step cost memory that vLLM does not foresee.
    assert flag(made, "--max-num-batched-tokens") == "2048"
    assert "--max-num-batched-tokens" not in plan(tmp_path, "draft", devices="0").argv


def test_an_older_release_has_no_route_for_tails(gpus, tmp_path, monkeypatch):
    gpus("0")
    monkeypatch.setattr(module, "package_version", lambda *_: "0.31.2+cu130")
    assert "--enable-scale-out" not in plan(tmp_path, devices="0").argv


def test_a_single_device_is_shared(gpus, tmp_path):
    gpus("0")
    other = BackendSpec("vllm", "org/other", VLLMOptions(), "target")
    shares = [
        float(flag(plan(tmp_path, role, beside=(other,)), "--gpu-memory-utilization"))
        for role in ("draft", "target")
    ]
    assert shares[0] < shares[1]
    assert sum(shares) < 1
    own = plan(tmp_path, beside=(other,), gpu_memory_utilization=0.4)
    assert flag(own, "--gpu-memory-utilization") == "0.4"


def test_any_flag_can_be_given_and_wins(gpus, tmp_path):
    gpus("0,1")
    made = plan(
        tmp_path,
        "draft",
        dtype="bfloat16",
        max_length=4096,
        server_args='--quantization fp8 --dtype half --speculative-config \'{"method": "ngram"}\'',
    )
    assert flag(made, "--dtype") == "half"
    assert made.argv.count("--dtype") == 1
    assert flag(made, "--max-model-len") == "4096"
    assert flag(made, "--quantization") == "fp8"
    assert flag(made, "--speculative-config") == '{"method": "ngram"}'
    assert made.log == tmp_path / "logs" / "draft-vllm.log"


def test_on_the_processor_it_takes_no_more_than_it_needs(gpus, tmp_path):
    gpus("0")
    made = plan(tmp_path, devices="cpu")
    assert "CUDA_VISIBLE_DEVICES" not in made.env
    assert made.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "--enforce-eager" in made.argv


def test_it_does_not_close_connections_that_the_run_still_uses(gpus, tmp_path):
    gpus("0")
    assert float(plan(tmp_path).env["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) >= 600


def test_a_server_of_ours_finds_the_plugin_that_reads_the_cache(gpus, tmp_path, monkeypatch):
    gpus("0")
    monkeypatch.delenv("ATTS_VLLM_TAIL", raising=False)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    made = plan(tmp_path)
    assert made.env["ATTS_VLLM_TAIL"] == "1"
    folder, mine = made.env["PYTHONPATH"].split(os.pathsep)
    assert mine == "/mine"
    # Nothing else of this environment comes with it.
    assert {path.name for path in Path(folder).iterdir()} <= {
        *("__init__.py", "__pycache__", "atts_vllm_tail.py", "atts_vllm_tail-1.dist-info")
    }
    monkeypatch.setenv("ATTS_VLLM_TAIL", "0")
    assert plan(tmp_path).env["ATTS_VLLM_TAIL"] == "0"


@pytest.mark.parametrize(
    ("options", "tokens"),
    [
        ({"max_length": 4096}, 32 * 4096),
        ({"max_length": 4096, "max_num_seqs": 8}, 8 * 4096),
        ({"max_length": 4096, "server_args": "--max-num-seqs=4"}, 4 * 4096),
        ({"server_args": "--max_model_len 512 --max-num-seqs 2"}, 2 * 512),
        ({"max_length": 64, "max_num_batched_tokens": 1 << 20}, 1 << 20),
        ({}, 32 * 131072),  # a hub model whose window is not known here
    ],
)
def test_on_the_processor_no_prompt_takes_several_steps(gpus, tmp_path, options, tokens):
    gpus("")
    assert int(flag(plan(tmp_path, **options), "--max-num-batched-tokens")) == tokens


def test_a_models_own_window_counts_where_none_is_asked_for(gpus, tmp_path):
    gpus("")
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 2048}')
    spec = BackendSpec("vllm", str(tmp_path), VLLMOptions(), "draft", str(tmp_path))
    assert int(flag(launch(spec), "--max-num-batched-tokens")) == 32 * 2048
    (tmp_path / "config.json").write_text('{"max_position_embeddings": null}')
    assert int(flag(launch(spec), "--max-num-batched-tokens")) == 32 * 131072


def test_steps_that_are_too_short_on_the_processor_are_refused(gpus, tmp_path):
    gpus("")
    with pytest.raises(SettingError, match=r"^draft_max_num_batched_tokens: .* not 2048;") as told:
        plan(tmp_path, "draft", max_length=4096, max_num_batched_tokens=2048)
    assert "32 sequences x 4096 tokens = 131072" in str(told.value)


@pytest.mark.parametrize(
    ("line", "setting"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "gpu_memory"),
        ("ValueError: No available memory for the cache blocks. Try increasing", "gpu_memory"),
        (
            "ValueError: Free memory on device (9.1/79.1 GiB) on startup is less than desired GPU "
            "memory utilization (0.9, 71.2 GiB).",
            "gpu_memory",
        ),
        (
            "RuntimeError: Worker failed with error 'Available memory on node 0 (17.57/23.54 GiB) "
            "on kv cache allocation is less than requested memory for kv (100000.0 GiB).'",
            "gpu_memory",
        ),
        (
            "ValueError: User-specified max_model_len (131072) is greater than the derived "
            "max_model_len (max_position_embeddings=4096)",
            "max_length",
        ),
        ("ModuleNotFoundError: No module named 'vllm'", "engine_python"),
        ("RuntimeError: CPU Generator does not use offset", "max_num_batched_tokens"),
    ],
)
def test_why_it_died(gpus, tmp_path, line, setting):
    gpus("0")
    made = plan(tmp_path)
    made.log.parent.mkdir()
    last = "RuntimeError: Engine core initialization failed. See root cause above."
    made.log.write_text(f"INFO begins\n(EngineCore pid=7) {line}\n(APIServer pid=6) {last}\n")
    told = explain(made, 1)
    assert told.startswith(f"target_{setting}")
    assert str(made.log) in told
    assert "\n" not in told
