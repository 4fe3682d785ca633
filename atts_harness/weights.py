"""Digests of a model's weights, from the contents of its files, wherever they are.

There are two. The quick one reads files of up to 256 MiB whole, and of larger ones the header and
blocks spread over the file. The full one reads larger files whole, too, but only once: nobody wants
to read 65 GB at every start. Digests of large files are remembered by path, size, times and inode,
in `$XDG_CACHE_HOME/atts-harness/weights`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from atts_harness import neutral

log = neutral.logger("atts_harness.weights")

PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth")
WHOLE_BYTES = 256 << 20
BLOCK_BYTES = 1 << 20
SAMPLED_BLOCKS = 64
REMEMBERED_BYTES = 32 << 20  # smaller files are read again, which is fast
MOST_READERS = 4  # files read at a time
SETTLED_SECONDS = 2.0  # clocks of file systems are coarse: a file may change within one tick
# Entries of a configuration that do not change a model's outputs: paths and versions.
IGNORED_CONFIG = frozenset({"_name_or_path", "transformers_version", "architectures"})


def weights_digest(model: str, revision: str | None = None, *, hub: bool = False) -> str | None:
    """Digest of the weights and the configuration of a model on this machine.

    Args:
        model: a folder, a single file of weights, or a hub id.
        revision: of a hub id.
        hub: look a hub id up in this machine's cache, from which a model is loaded here.

    Returns:
        16 hexadecimal digits, or None where the files are not here.
    """
    folder = model_folder(model, revision, hub=hub)
    files = _weight_files(folder)
    if folder is None or not files:
        return None
    return _joined(folder, [(file, _remembered(file, _digest)) for file in files])


def full_weights_digest(
    model: str,
    revision: str | None = None,
    *,
    hub: bool = False,
    stop: threading.Event | None = None,
) -> str | None:
    """Digest of every byte of weights that `weights_digest` only samples.

    The first time it takes as long as reading the files does, and a line of the log says so.

    Args:
        model: as `weights_digest` takes it.
        revision: likewise.
        hub: likewise.
        stop: set by another thread: give up.

    Returns:
        16 hexadecimal digits. None where the files are not here, where `weights_digest` reads them
        whole, and where nothing can be remembered on this machine: they would be read every time.
    """
    folder = model_folder(model, revision, hub=hub)
    files = _weight_files(folder)
    if folder is None or all(file.stat().st_size <= WHOLE_BYTES for file in files):
        return None
    unread = [file for file in files if _recalled(file, "full") is None]
    if unread and not _can_remember():
        log.warning(
            "the weights of %s are known by samples only: %s cannot be written; set XDG_CACHE_HOME "
            "to a folder that can, and they are read whole once",
            model,
            _memory(),
        )
        return None
    size = sum(file.stat().st_size for file in unread)
    if size > WHOLE_BYTES:
        log.info(
            "reading %.1f GB of weights of %s once, to know them from others; later starts "
            "remember it",
            size / 1e9,
            model,
        )

    def whole(stream: IO[bytes], size: int) -> str:
        return _whole(stream, size, stop)

    with ThreadPoolExecutor(MOST_READERS, "atts-weights") as readers:
        digests = list(readers.map(lambda file: _remembered(file, whole, "full"), files))
    return _joined(folder, list(zip(files, digests, strict=True)))


def _joined(folder: Path, files: list[tuple[Path, str]]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(_config(folder))
    for file, file_digest in files:
        digest.update(f"{file.name}:{file_digest}".encode())
    return digest.hexdigest()


def model_folder(model: str, revision: str | None = None, *, hub: bool = False) -> Path | None:
    """The folder (or file) of a model on this machine; None if it is not here."""
    path = Path(model).expanduser()
    is_file = path.suffix in {pattern[1:] for pattern in PATTERNS} and path.is_file()
    if is_file or (path / "config.json").is_file():
        return path
    if not hub or path.is_absolute() or model.startswith("."):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
    except (HFValidationError, OSError, ValueError):
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def model_config(folder: Path | None) -> dict[str, Any]:
    """A model's `config.json`; empty where there is none that can be read."""
    try:
        plain = json.loads((folder / "config.json").read_bytes()) if folder else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _weight_files(folder: Path | None) -> list[Path]:
    if folder is None or folder.is_file():
        return [] if folder is None else [folder]
    # A model in two formats is loaded from its safetensors.
    for pattern in PATTERNS:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def _config(folder: Path) -> bytes:
    relevant = {k: v for k, v in model_config(folder).items() if k not in IGNORED_CONFIG}
    return json.dumps(relevant, sort_keys=True).encode()


def _remembered(file: Path, digest: Callable[[IO[bytes], int], str], sort: str = "") -> str:
    """A file's digest, from the last time if the file is still the same one."""
    recalled = _recalled(file, sort)
    if recalled is not None:
        return recalled
    real = file.resolve()
    size = real.stat().st_size
    place = _place(file, sort)
    with real.open("rb") as stream:
        hexdigest = digest(stream, size)
    # A file that was written meanwhile has another place, or none yet.
    if place is not None and place == _place(file, sort):
        with contextlib.suppress(OSError):  # a read-only home only costs the time again
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = place.with_name(f"{place.name}.{os.getpid()}")
            part.write_text(hexdigest, encoding="ascii")
            part.replace(place)
    return hexdigest


def _recalled(file: Path, sort: str) -> str | None:
    """The remembered digest of a file; None if there is none."""
    place = _place(file, sort)
    if place is not None:
        with contextlib.suppress(OSError, ValueError):
            hexdigest = place.read_text(encoding="ascii").strip()
            if len(hexdigest) == 32:
                return hexdigest
    return None


def _place(file: Path, sort: str) -> Path | None:
    """The file in which a digest is remembered; None if it is not to be remembered."""
    real = file.resolve()
    state = real.stat()
    if state.st_size < REMEMBERED_BYTES or time.time() - state.st_mtime < SETTLED_SECONDS:
        return None
    key = f"{real}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}:{state.st_ino}{sort}"
    return _memory() / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _digest(stream: IO[bytes], size: int) -> str:
    if size <= WHOLE_BYTES:
        return _whole(stream, size)
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    # The first block holds the header: names, shapes and types of every tensor.
    step = (size - BLOCK_BYTES) // (SAMPLED_BLOCKS - 1)
    for number in range(SAMPLED_BLOCKS):
        stream.seek(number * step)
        digest.update(stream.read(BLOCK_BYTES))
    return digest.hexdigest()


def _whole(stream: IO[bytes], size: int, stop: threading.Event | None = None) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    while block := stream.read(BLOCK_BYTES):
        digest.update(block)
        if stop is not None and stop.is_set():
            raise InterruptedError("reading the weights was given up")
    return digest.hexdigest()


def _memory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "atts-harness" / "weights"


def _can_remember() -> bool:
    try:
        _memory().mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(_memory(), os.W_OK | os.X_OK)
