"""The digest of weights is of what is in the files, wherever they lie."""

import logging
import os
import shutil
import threading
from pathlib import Path

import pytest

from atts_harness import weights
from atts_harness.weights import full_weights_digest, weights_digest


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


@pytest.fixture
def large(folder, tmp_path, monkeypatch):
    """The folder, as if its file were too large to be read whole at every start."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "REMEMBERED_BYTES", 1)
    monkeypatch.setattr(weights, "WHOLE_BYTES", 1)
    monkeypatch.setattr(weights, "BLOCK_BYTES", 64)
    os.utime(folder / "model.safetensors", ns=(10**18, 10**18))
    return folder


def flip(file, at):
    """Another byte, and the time set back; the change time is not."""
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1
    file.write_bytes(bytes(raw))
    os.utime(file, ns=(10**18, 10**18))


@pytest.fixture
def opened(monkeypatch):
    """Names of files of weights that were opened."""
    names = []
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *a, **k: names.append(self.name) or real(self, *a, **k)
    )
    return names


def test_large_files_are_sampled_and_remembered(large, opened):
    first = weights_digest(str(large))
    assert weights_digest(str(large)) == first
    assert opened.count("model.safetensors") == 1
    flip(large / "model.safetensors", 10)  # in the header
    opened.clear()
    assert weights_digest(str(large)) != first
    assert opened.count("model.safetensors") == 1


def test_a_byte_that_no_sample_has_is_in_the_full_digest(large, opened):
    sampled, full = weights_digest(str(large)), full_weights_digest(str(large))
    flip(large / "model.safetensors", 100)  # between two samples
    assert weights_digest(str(large)) == sampled
    assert full_weights_digest(str(large)) != full


def test_every_byte_is_read_once_and_not_at_every_start(large, opened, caplog):
    with caplog.at_level(logging.INFO):
        first = full_weights_digest(str(large))
    assert "once, to know them from others" in caplog.text
    caplog.clear()
    opened.clear()
    with caplog.at_level(logging.INFO):
        assert full_weights_digest(str(large)) == first
    assert "model.safetensors" not in opened
    assert caplog.text == ""


def test_the_full_digest_does_not_depend_on_the_place(large, tmp_path):
    first = full_weights_digest(str(large))
    shutil.copytree(large, tmp_path / "elsewhere")
    assert full_weights_digest(str(tmp_path / "elsewhere")) == first


def test_files_that_are_read_whole_anyway_have_no_second_digest(folder):
    assert full_weights_digest(str(folder)) is None
    assert full_weights_digest("Qwen/QwQ-32B") is None


def test_where_nothing_can_be_remembered_samples_have_to_do(large, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert full_weights_digest(str(large)) is None
    assert "set XDG_CACHE_HOME" in caplog.text
    assert weights_digest(str(large)) is not None


def test_reading_can_be_given_up_and_nothing_is_remembered_of_it(large):
    stop = threading.Event()
    stop.set()
    with pytest.raises(InterruptedError):
        full_weights_digest(str(large), stop=stop)
    before = full_weights_digest(str(large))
    assert before is not None


def test_a_file_that_was_written_just_now_is_not_trusted_from_memory(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "REMEMBERED_BYTES", 1)
    weights_digest(str(folder))
    assert not (tmp_path / "cache").exists()
