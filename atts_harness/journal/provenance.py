"""What a run's scores depend on, as a bank's provenance has to name it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.backend import Backend, Role, Sampling
from atts_harness.identity import ModelIdentity
from atts_harness.strategy import StrategyOptions

_SAMPLE_BYTES = 1 << 16
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def model_identity(model: str) -> str:
    """A name for a model that is the same on every machine.

    A hub id or a served name is one. A local folder is named by what is in it: its own name and
    a digest of its configuration and of each weight file's size, first and last 64 KiB.
    """
    folder = Path(model)
    if not (folder / "config.json").is_file():
        return model
    digest = hashlib.blake2b((folder / "config.json").read_bytes(), digest_size=8)
    for file in sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_SAMPLE_BYTES))
            stream.seek(max(0, size - _SAMPLE_BYTES))
            digest.update(stream.read(_SAMPLE_BYTES))
    return f"{folder.name}@{digest.hexdigest()}"


def run_provenance(
    backends: Mapping[Role, Backend],
    options: StrategyOptions,
    sampling: Mapping[Role, Sampling],
    task: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields of `atts_harness.conformal.Provenance` that a run knows.

    Args:
        backends: by role.
        options: the strategy's; those that shape a draft or a takeover are taken.
        sampling: by role.
        task: further fields that the caller knows: task name, prompt fingerprint.
    """
    fields: dict[str, Any] = dict(task)
    for role, backend in backends.items():
        fields[role] = model_identity(backend.identity.model)
        fields[f"{role}_identity"] = _portable(backend.identity).record()
        tokenizer = backend.tokenizer
        fields[f"{role}_template"] = f"{tokenizer.fingerprint}/{tokenizer.template_fingerprint}"
    draft, target = sampling["draft"], sampling["target"]
    fields |= {
        "draft_temperature": draft.temperature,
        "draft_top_p": draft.top_p,
        "draft_top_k": draft.top_k,
        "draft_min_p": draft.min_p,
        "target_temperature": target.temperature,
    }
    fields |= options.provenance()
    return fields


def _portable(identity: ModelIdentity) -> ModelIdentity:
    """An identity without the parts that depend on a machine or on one start of a server."""
    name = identity.model
    if (Path(name) / "config.json").is_file():
        name = Path(name).name
    return msgspec.structs.replace(identity, model=name, server={}, started=None)
