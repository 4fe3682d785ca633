"""FLOP estimates: counted weights, attention by hand, what is not known stays unknown."""

import json
import struct

import pytest

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.flops import (
    ModelSize,
    attended,
    estimate,
    parse_parameters,
    size_of,
)
from atts_harness.analysis.leaderboard.sources import Options
from atts_harness.backend import GenerateReply, Usage
from atts_harness.errors import SettingError
from atts_harness.records import CallKey, CallRecord, SampleId


def weights(path, **shapes):
    header = {name: {"dtype": "F32", "shape": shape} for name, shape in shapes.items()}
    text = json.dumps({**header, "__metadata__": {"format": "pt"}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)


def model(folder, **config):
    folder.mkdir()
    usual = {"num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32}
    (folder / "config.json").write_text(json.dumps(usual | config))
    return folder


def test_parameters_are_counted_in_the_weights(tmp_path):
    folder = model(tmp_path / "m")
    weights(folder / "model.safetensors", a=[10, 20], b=[5], scalar=[])
    size = size_of(str(folder))
    assert (size.parameters, size.source) == (206, "weights")
    assert size.attention == 4 * 3 * 32  # 2 products of 2 FLOPs, by layer and width


def test_parts_are_counted_by_their_index_and_heads_may_be_wider(tmp_path):
    folder = model(tmp_path / "m", head_dim=16)
    weights(folder / "one.safetensors", a=[100])
    weights(folder / "two.safetensors", b=[11])
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    size = size_of(str(folder))
    assert size.parameters == 111
    assert size.attention == 4 * 3 * 4 * 16


@pytest.mark.parametrize("config", [{"num_experts": 8}, {"quantization_config": {"bits": 4}}])
def test_what_does_not_count_by_its_shapes_needs_a_setting(tmp_path, config):
    folder = model(tmp_path / "m", **config)
    weights(folder / "model.safetensors", a=[100])
    assert size_of(str(folder)) is None
    assert size_of(str(folder), 40.0) == ModelSize(40.0, "setting", 4 * 3 * 32)


def test_a_model_that_is_not_here_is_not_known(tmp_path):
    assert size_of("/nowhere/at-all") is None
    assert size_of("some-org/a-model-that-nobody-cached") is None
    assert size_of(None) is None
    assert size_of("served", 7e9) == ModelSize(7e9, "setting", None)
    assert size_of(str(model(tmp_path / "m"))) is None  # no weights


def test_a_broken_weight_file_is_told(tmp_path):
    folder = model(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"\xff" * 8)
    with pytest.raises(SettingError, match="--parameters"):
        size_of(str(folder))


def record(role, prompt, cached, written):
    usage = Usage(prompt_tokens=prompt, cached_tokens=cached, completion_tokens=written)
    reply = GenerateReply(ids=(1,) * written, ending="stop", usage=usage)
    return CallRecord(key=CallKey(SampleId("t", 0, 0), "k", role, 0), request_hash="", reply=reply)


@pytest.mark.parametrize(
    "config",
    [{"num_attention_heads": 0}, {"head_dim": 2**1100}, {"head_dim": "16"}, {"hidden_size": -1}],
)
def test_a_configuration_that_cannot_be_is_no_error_of_pythons(tmp_path, config):
    usual = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(usual | config))
    assert size_of(str(tmp_path)) is None


@pytest.mark.parametrize("part", ["../other.safetensors", "/etc/passwd", ["a"], "x" * 5000])
def test_a_part_of_a_model_lies_beside_its_index(tmp_path, part):
    (tmp_path / "config.json").write_text("{}")
    index = {"weight_map": {"w": part}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SettingError, match="not in its folder"):
        size_of(str(tmp_path))


def test_attention_by_hand():
    # positions 3, 4, 5 of the context: 3 + 4 + 5; then 1 + 2 of another call; a failed one is none
    calls = [record("draft", 4, 2, 1), record("draft", 2, None, 0), record("target", 1, 1, 0)]
    calls.append(CallRecord(key=calls[0].key, request_hash="", error="gone"))
    assert attended(calls) == {"draft": 15.0, "target": 0.0}


def test_an_estimate_is_of_a_sample_and_says_what_is_in_it():
    sizes = {"draft": ModelSize(100, "weights", 10.0), "target": ModelSize(1000, "setting", None)}
    found = estimate({"draft": 6.0, "target": 3.0}, 2, sizes, {"draft": 15.0, "target": 4.0})
    assert found.by_role == {"draft": (2 * 100 * 6 + 10 * 15) / 2, "target": 2 * 1000 * 3 / 2}
    assert found.total == sum(found.by_role.values())
    assert found.attention == {"draft": True, "target": False}
    without = estimate({"draft": 6.0, "target": 3.0}, 2, sizes)
    assert without.by_role["draft"] == 2 * 100 * 6 / 2
    assert without.attention == {"draft": False, "target": False}


def test_a_sum_without_one_of_its_parts_is_none():
    found = estimate({"draft": 6.0, "target": 3.0}, 2, {"draft": ModelSize(100, "weights")})
    assert found.total is None
    assert found.by_role == {"draft": 600.0}
    assert estimate({"draft": 6.0}, 2, {}) is None
    assert estimate({}, 0, {"draft": ModelSize(100, "weights")}) is None


def test_parameters_as_settings():
    given = parse_parameters(["draft=1.5B,target=32e9", "draft=2b"])
    assert given == {"draft": 2e9, "target": 32e9}
    for wrong in ("draft", "draft=", "judge=1B", "target=-1", "target=many", "target=nan"):
        with pytest.raises(SettingError, match="expected draft=NUMBER"):
            parse_parameters([wrong])


def test_weights_that_are_no_longer_those_that_ran_are_not_counted(make_run, tmp_path):
    folder = model(tmp_path / "m")
    weights(folder / "model.safetensors", a=[100])
    run = make_run("target-only", models={"target": str(folder)}, identify=True)
    (row,) = report([run]).leaderboard.rows
    assert row.flops.parameters == {"target": 100.0}
    assert row.flops.attention == {"target": True}
    weights(folder / "model.safetensors", a=[200])
    (row,) = report([run]).leaderboard.rows
    assert row.flops is None
    assert "the target that ran is no longer at its place: --parameters target=N" in row.notes
    (row,) = report([run], Options(parameters={"target": 100.0})).leaderboard.rows
    assert row.flops.source == {"target": "setting"}
    assert row.flops.attention == {"target": False}
