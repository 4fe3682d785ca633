"""Shares of devices, held against what the engines themselves work out from them."""

import math
import os
from pathlib import Path

import pytest
from atts_sglang import launch as sglang
from atts_sglang.options import SGLangOptions
from atts_vllm import launch as vllm
from atts_vllm.options import VLLMOptions

from atts_harness.backend import BackendSpec
from atts_harness.engines.managed import visible_devices
from atts_harness.engines.memory import GIB, device_memory, share_of, shares
from atts_harness.errors import SettingError
from atts_harness.settings import parse_settings
from atts_harness.shapes import shape_of

SMALL, DRAFT = (
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
)
TARGET, LARGE = "Qwen/QwQ-32B", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"
WINDOW = 15_000 + 4096
CARDS = {"1 x 80": (79.6, 1), "1 x 141": (139.7, 1), "2 x 80": (79.6, 2), "4 x 80": (79.6, 4)}


def pair(draft, target, card):
    memory, devices = CARDS[card]
    models = {"draft": shape_of(draft), "target": shape_of(target)}
    return models, shares(models, memory * GIB, devices, dict.fromkeys(models, WINDOW))


def vllm_cache(share, weights):
    """Bytes of KV cache by vLLM's arithmetic (`request_memory`, `determine_available_memory`)."""
    requested = math.ceil(share.total * share.of_device)
    assert requested <= share.total - share.before  # else: "less than desired GPU memory"
    return requested - (weights + share.working)


def sglang_cache(share, weights):
    """Bytes of KV cache by SGLang's arithmetic (`_profile_available_bytes`)."""
    before_loading = share.total - share.before
    slack = before_loading * (1 - share.of_free)
    return before_loading - weights - slack


@pytest.mark.parametrize("cache", [vllm_cache, sglang_cache])
@pytest.mark.parametrize(
    ("draft", "target", "card"),
    [
        (SMALL, TARGET, "1 x 141"),
        (SMALL, TARGET, "2 x 80"),
        (DRAFT, TARGET, "1 x 141"),
        (DRAFT, TARGET, "2 x 80"),
        (DRAFT, TARGET, "4 x 80"),
        (SMALL, LARGE, "4 x 80"),
    ],
)
def test_both_engines_find_room_for_whole_contexts(cache, draft, target, card):
    models, found = pair(draft, target, card)
    devices = CARDS[card][1]
    left = found["draft"].total
    for role, share in found.items():
        weights = models[role].weight_bytes / devices
        bytes_ = cache(share, weights)
        # A fraction has three digits; a thousandth of the device may be missing.
        assert bytes_ >= share.kv - 0.002 * share.total
        assert bytes_ >= WINDOW * models[role].kv_bytes / devices
        left -= weights + share.working + bytes_
    assert left >= 0.02 * found["draft"].total


@pytest.mark.parametrize(
    ("draft", "target", "card"),
    [(SMALL, TARGET, "1 x 80"), (DRAFT, TARGET, "1 x 80"), (SMALL, LARGE, "2 x 80")],
)
def test_what_cannot_fit_is_refused_with_figures(draft, target, card):
    with pytest.raises(SettingError, match=r"are too little; a device needs draft .* GiB of weigh"):
        pair(draft, target, card)


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """`nvidia-smi` as a machine with such cards has it."""

    def pretend(*mebibytes):
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        listed = "".join(f"GPU {n}: card\n" for n in range(len(mebibytes)))
        queried = "".join(f"{n}, {size}\n" for n, size in enumerate(mebibytes))
        tool.write_text(
            f"#!/bin/sh\ncase $1 in -L) printf '{listed}';; *) printf '{queried}';; esac\n"
        )
        tool.chmod(0o755)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
        visible_devices.cache_clear()
        device_memory.cache_clear()

    yield pretend
    visible_devices.cache_clear()
    device_memory.cache_clear()


@pytest.fixture(autouse=True)
def versions(monkeypatch):
    monkeypatch.setattr(vllm, "package_version", lambda *_: "0.32.0")
    monkeypatch.setattr(sglang, "package_version", lambda *_: "0.5.23")
    monkeypatch.setattr("atts_harness.engines.managed.package_version", lambda *_: "0.32.0")


def specs(tmp_path, backend="vllm", **given):
    settings = {"backend": backend, "draft": DRAFT, "target": TARGET, "run_dir": str(tmp_path)}
    return parse_settings({**settings, **given}).roles


def flag(made, name):
    return made.argv[made.argv.index(name) + 1] if name in made.argv else None


@pytest.mark.parametrize("given", [{}, {"devices": "0"}])
def test_a_pair_on_one_card_is_started_with_what_fits(gpus, tmp_path, given):
    gpus(143_000)
    roles = specs(tmp_path, max_gen_toks=15_000, **given)
    fractions = []
    for spec in roles.values():
        made = vllm.launch(spec)
        fractions.append(float(flag(made, "--gpu-memory-utilization")))
        assert flag(made, "--max-model-len") == str(WINDOW)
        assert "GiB of weights" in made.note
    assert 0.2 < fractions[0] < fractions[1] < 0.75
    assert sum(fractions) <= 0.95


def test_sglang_takes_its_fraction_of_what_the_other_left(gpus, tmp_path):
    gpus(143_000)
    roles = specs(tmp_path, "sglang", max_gen_toks=15_000)
    draft, target = (
        float(flag(sglang.launch(spec), "--mem-fraction-static")) for spec in roles.values()
    )
    assert draft < 0.25
    assert target > 0.8


def test_a_lone_role_keeps_the_engines_own_fraction(gpus, tmp_path):
    gpus(143_000)
    alone = specs(tmp_path, strategy="target-only")["target"]
    made = vllm.launch(alone)
    assert flag(made, "--gpu-memory-utilization") is None
    assert flag(made, "--max-model-len") == str(32_768 + 4096)


def test_a_long_window_is_asked_for_only_where_it_is_wanted(gpus, tmp_path):
    gpus(143_000, 143_000)
    roles = specs(tmp_path, max_gen_toks=2000, draft_max_length=65_536)
    assert flag(vllm.launch(roles["draft"]), "--max-model-len") == "65536"
    assert flag(vllm.launch(roles["target"]), "--max-model-len") == "6096"


def test_a_pair_that_cannot_fit_is_refused_before_anything_is_started(gpus, tmp_path):
    gpus(81_559)
    with pytest.raises(SettingError, match="draft_devices and target_devices: 1 x 80 GiB are too"):
        specs(tmp_path)


def test_devices_that_overlap_in_part_are_refused(gpus, tmp_path):
    gpus(81_559, 81_559)
    with pytest.raises(SettingError, match="overlap in 1 only"):
        specs(tmp_path, draft_devices="1", target_devices="0+1")


def test_without_sizes_the_usual_shares_stand(gpus, tmp_path):
    gpus(143_000)
    options = {"vllm": VLLMOptions(), "sglang": SGLangOptions()}
    for engine, own in options.items():
        other = BackendSpec(engine, "org/unknown-large", own, "target", str(tmp_path))
        spec = BackendSpec(engine, "org/unknown", own, "draft", str(tmp_path), beside=(other,))
        assert share_of(spec) is None
    made = vllm.launch(BackendSpec("vllm", "org/a", VLLMOptions(), "draft", beside=(other,)))
    assert flag(made, "--gpu-memory-utilization") == "0.25"


def test_one_model_in_both_roles_is_one_server(gpus, tmp_path):
    gpus(143_000)
    roles = specs(tmp_path, strategy="self", target=TARGET, draft=TARGET)
    assert flag(vllm.launch(roles["target"]), "--gpu-memory-utilization") is None


def test_quantised_weights_count_as_what_they_are(tmp_path):
    import json

    config = {
        **{"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4},
        **{"intermediate_size": 128, "vocab_size": 100, "torch_dtype": "bfloat16"},
    }
    for method, size in ({"quant_method": "awq", "bits": 4}, 0.5), ({"quant_method": "fp8"}, 1.0):
        (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": method}))
        shape = shape_of(str(tmp_path))
        expected = shape.block_parameters * size + 2 * 64 * 100 * 2
        assert shape.weight_bytes == expected
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))
    with pytest.raises(SettingError, match="not known"):
        shape_of(str(tmp_path))


def test_the_table_of_the_docs_is_what_is_worked_out():
    from benchmarks.engines.memory import table

    page = (Path(__file__).parents[3] / "docs" / "engines.md").read_text()
    assert table() in page
