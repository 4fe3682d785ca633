"""Files of strangers: bounded, plain, and every fault is one line that names the file."""

import gzip
import os

import pytest

from atts_harness import files
from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file, read_lines


def test_a_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x\n\ny")
    assert read_file(tmp_path / "a") == b"x\n\ny"
    assert list(read_lines(tmp_path / "a")) == [(1, b"x\n"), (3, b"y")]
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"x\n\ny"))
    assert list(read_lines(tmp_path / "a.gz")) == [(1, b"x\n"), (3, b"y")]


@pytest.mark.parametrize("read", [read_file, lambda path: list(read_lines(path))])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "a folder"),
        (os.mkfifo, "not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
    ],
)
def test_what_is_no_file_is_told_and_never_waited_for(tmp_path, read, make, why):
    path = tmp_path / "a"
    make(path)
    with pytest.raises(SettingError, match=f"{path}: .*{why}"):
        read(path)


def test_names_that_no_file_can_have(tmp_path):
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(SettingError):
            read_file(tmp_path / name)


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(SettingError, match="larger than 256 MiB"):
        read_file(path)
    monkeypatch.setattr(files, "MOST_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(files, "MOST_UNPACKED_BYTES", 1 << 30)
    with pytest.raises(SettingError, match="line 1 is longer than 1 MiB"):
        list(read_lines(path))
    path.write_bytes(gzip.compress(b"\0" * (1 << 22)))
    with pytest.raises(SettingError, match="line 1 is longer than 1 MiB"):
        list(read_lines(path))
    monkeypatch.setattr(files, "MOST_UNPACKED_BYTES", 1 << 20)
    path.write_bytes(gzip.compress(b"x" * 99 + b"\n", 9) * 20_000)
    with pytest.raises(SettingError, match="unpacks to more than 0 GiB"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "change",
    [lambda d: d[:-4], lambda d: d[: len(d) // 2], lambda d: d[:9] + b"\xff" * 9 + d[18:]],
)
def test_a_packed_file_that_is_cut_or_damaged_is_told(tmp_path, change):
    path = tmp_path / "a.gz"
    path.write_bytes(change(gzip.compress(b"line\n" * 1000)))
    with pytest.raises(SettingError, match="cannot be read after line"):
        list(read_lines(path))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 100_000, b"1e999", b'{"a": "\\ud800"}']
)
def test_what_is_no_json_of_the_type_is_told(content):
    with pytest.raises(SettingError, match=r"a\.json: not a thing: "):
        decode(content, dict[str, float], "a.json: not a thing")
