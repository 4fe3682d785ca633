"""Request hashes: digests in parts, so that a difference can be named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import msgspec

from atts_harness.backend import GenerateRequest, ScoreRequest
from atts_harness.ids import as_msgpack
from atts_harness.transcript import Message

Request = GenerateRequest | ScoreRequest
GENERATE_PARTS = ("context", "max_tokens", "sampling", "seed", "stop strings", "top_logprobs")
encode = msgspec.msgpack.Encoder().encode
SCORE_PARTS = ("context", "start of the scored segment")


def _digest(raw: bytes, size: int) -> str:
    return hashlib.blake2b(raw, digest_size=size).hexdigest()


def request_hash(request: Request) -> str:
    """Digest of everything in a request that determines its reply; one part for each aspect."""
    ids = _digest(as_msgpack(request.ids), 12)
    if isinstance(request, ScoreRequest):
        return f"score:{ids}:{request.start}"
    sampling = _digest(encode(request.sampling), 4)
    stop = _digest(encode(request.stop), 4) if request.stop else ""
    seed = "" if request.seed is None else request.seed
    return f"generate:{ids}:{request.max_tokens}:{sampling}:{seed}:{stop}:{request.top_logprobs}"


def prompt_hash(messages: Sequence[Message]) -> str:
    """Digest of chat messages. Equal messages have equal digests, in every run."""
    text = json.dumps([(m.role, m.content) for m in messages])
    return _digest(text.encode(), 8)


def documents_hash(prompts: Iterable[str]) -> str:
    """Digest of a set of documents, from their prompts' digests; their order does not matter."""
    return _digest("\n".join(sorted(prompts)).encode(), 8)


def difference(recorded: str, requested: str) -> str:
    """What differs between two request hashes, in words."""
    before, after = recorded.split(":"), requested.split(":")
    names = SCORE_PARTS if after[0] == "score" else GENERATE_PARTS
    if before[0] != after[0] or len(before) != len(after):
        return "the sort of request"
    changed = [
        f"{name} ({old} then, {new} now)" if name in ("max_tokens", "seed") else name
        for name, old, new in zip(names, before[1:], after[1:], strict=True)
        if old != new
    ]
    return ", ".join(changed)
