"""The digest of weights is of what is in the files, wherever they lie."""

import os
import shutil

import pytest

from atts_harness import weights
from atts_harness.weights import weights_digest


@pytest.fixture
def folder(tmp_path):
    model = tmp_path / "draft"
    model.mkdir()
    (model / "config.json").write_text('{"hidden_size": 8, "_name_or_path": "a"}')
    (model / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    return model


def test_the_same_weights_at_another_path(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere" / "other-name")
    assert weights_digest(str(folder)) == weights_digest(str(tmp_path / "elsewhere/other-name"))


def test_a_link_to_the_weights_is_the_weights(folder, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in folder.iterdir():
        (linked / file.name).symlink_to(file)
    assert weights_digest(str(linked)) == weights_digest(str(folder))


@pytest.mark.parametrize("at", [0, 100_000, 255_999])
def test_one_byte_anywhere_makes_other_weights(folder, at):
    before = weights_digest(str(folder))
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[at] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(raw))
    assert weights_digest(str(folder)) != before


def test_a_configuration_counts_and_where_it_came_from_does_not(folder):
    before = weights_digest(str(folder))
    (folder / "config.json").write_text('{"hidden_size": 8, "_name_or_path": "b"}')
    assert weights_digest(str(folder)) == before
    (folder / "config.json").write_text('{"hidden_size": 8, "rope_theta": 2}')
    assert weights_digest(str(folder)) != before


def test_what_is_not_here_has_no_digest(tmp_path):
    assert weights_digest("Qwen/QwQ-32B") is None
    assert weights_digest(str(tmp_path)) is None


def test_large_files_are_sampled_and_remembered(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "REMEMBERED_BYTES", 1)
    monkeypatch.setattr(weights, "WHOLE_BYTES", 1)
    monkeypatch.setattr(weights, "BLOCK_BYTES", 64)
    file = folder / "model.safetensors"
    read = []
    real = weights._digest
    monkeypatch.setattr(
        weights, "_digest", lambda stream, size: read.append(size) or real(stream, size)
    )
    os.utime(file, ns=(10**18, 10**18))
    first = weights_digest(str(folder))
    assert weights_digest(str(folder)) == first
    assert len(read) == 1
    raw = bytearray(file.read_bytes())
    raw[10] ^= 1  # in the header
    file.write_bytes(bytes(raw))
    os.utime(file, ns=(10**18, 10**18))  # the time is set back, the change time is not
    assert weights_digest(str(folder)) != first
    assert len(read) == 2


def test_a_file_that_was_written_just_now_is_not_trusted_from_memory(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "REMEMBERED_BYTES", 1)
    weights_digest(str(folder))
    assert not (tmp_path / "cache").exists()
