"""A digest of a model's weights: what is in its files, wherever they lie.

Files of up to 256 MiB are read whole. Of larger ones the header and blocks spread over the file
are read: 65 GB are not read at every start. Digests of files that take a while are remembered by
path, size, times and inode.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import IO, Any

PATTERNS = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth")
WHOLE_BYTES = 256 << 20
BLOCK_BYTES = 1 << 20
SAMPLED_BLOCKS = 64
REMEMBERED_BYTES = 32 << 20  # a smaller file is read faster than it is worth to remember it
SETTLED_SECONDS = 2.0  # clocks of file systems are coarse: a file may change within one tick
# What of a configuration changes a model's outputs; names of paths and versions do not.
IGNORED_CONFIG = frozenset({"_name_or_path", "transformers_version", "architectures"})


def weights_digest(model: str, revision: str | None = None, *, hub: bool = False) -> str | None:
    """Digest of the weights and the configuration of a model on this machine.

    Args:
        model: a folder, a single file of weights, or a hub id.
        revision: of a hub id.
        hub: look a hub id up in this machine's cache, which is what a model that is loaded here
            comes from.

    Returns:
        16 hexadecimal digits, or None where the files are not here.
    """
    folder = model_folder(model, revision, hub=hub)
    if folder is None:
        return None
    files = [folder] if folder.is_file() else _weight_files(folder)
    if not files:
        return None
    digest = hashlib.blake2b(digest_size=8)
    digest.update(_config(folder))
    for file in files:
        digest.update(f"{file.name}:{_remembered(file)}".encode())
    return digest.hexdigest()


def model_folder(model: str, revision: str | None = None, *, hub: bool = False) -> Path | None:
    """Where a model's files are on this machine; None where they are not."""
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


def _weight_files(folder: Path) -> list[Path]:
    # A model in two formats is loaded from its safetensors.
    for pattern in PATTERNS:
        if files := sorted(folder.glob(pattern)):
            return files
    return []


def _config(folder: Path) -> bytes:
    kept = {k: v for k, v in model_config(folder).items() if k not in IGNORED_CONFIG}
    return json.dumps(kept, sort_keys=True).encode()


def _remembered(file: Path) -> str:
    """A file's digest, from the last time if the file is still the same one."""
    real = file.resolve()
    state = real.stat()
    if state.st_size < REMEMBERED_BYTES or time.time() - state.st_mtime < SETTLED_SECONDS:
        with real.open("rb") as stream:
            return _digest(stream, state.st_size)
    key = f"{real}:{state.st_size}:{state.st_mtime_ns}:{state.st_ctime_ns}:{state.st_ino}"
    place = _memory() / (hashlib.blake2b(key.encode(), digest_size=16).hexdigest())
    with contextlib.suppress(OSError):
        found = place.read_text(encoding="ascii").strip()
        if len(found) == 32:
            return found
    with real.open("rb") as stream:
        digest = _digest(stream, state.st_size)
    with contextlib.suppress(OSError):  # a read-only home only costs the time again
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = place.with_name(f"{place.name}.{os.getpid()}")
        part.write_text(digest, encoding="ascii")
        part.replace(place)
    return digest


def _digest(stream: IO[bytes], size: int) -> str:
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    if size <= WHOLE_BYTES:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()
    # The first block holds the header: names, shapes and types of every tensor.
    step = (size - BLOCK_BYTES) // (SAMPLED_BLOCKS - 1)
    for number in range(SAMPLED_BLOCKS):
        stream.seek(number * step)
        digest.update(stream.read(BLOCK_BYTES))
    return digest.hexdigest()


def _memory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "atts-harness" / "weights"
