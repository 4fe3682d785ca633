"""Which samples a request asks for: their names in records, and with them their seeds."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace

import msgspec

from atts_harness.errors import ContextLengthError
from atts_harness.journal.hashing import prompt_hash
from atts_harness.settings import DEFAULT_MAX_GEN_TOKS
from atts_harness.strategy import Problem
from atts_harness.transcript import Prompt
from atts_serve.chat import ChatRequest
from atts_serve.rooms import Room

BITS = 53
"""Of a document's number: what every JSON reader holds exactly."""


@dataclass(frozen=True)
class Named:
    """The samples of a request.

    Attributes:
        problem: what they answer.
        repeats: which.
    """

    problem: Problem
    repeats: tuple[int, ...]


def named(asked: ChatRequest, room: Room, task: str, request: str | None = None) -> Named:
    """The problem that a request poses, and the repeats that it wants.

    A request that names a task, a document and a repeat has the seeds that `lm_eval` gives to that
    sample. One with a `seed` always has the same number, made of the seed, the messages, the budget
    and the stops; so has one with an id. All others are numbered by chance.

    Args:
        asked: the request.
        room: of its model.
        task: what a request counts to that names none.
        request: digest of the request's id and of whose it is; None: it has none.
    """
    prompt, hashed = Prompt(asked.messages), prompt_hash(asked.messages)
    budget = _budget(asked, room, prompt)
    if asked.place is not None:
        task, doc, first = asked.place.task, asked.place.doc, asked.place.repeat
    else:
        first = 0
        if asked.seed is not None:
            doc = number(hashed, asked.seed, budget, *asked.until)
        elif request is not None:
            doc = number(request)
        else:
            doc = secrets.randbits(BITS)
    problem = replace(
        room.base,
        task=task,
        doc=doc,
        prompt=prompt,
        prompt_hash=hashed,
        until=asked.until,
        max_tokens=budget,
    )
    return Named(problem, tuple(range(first, first + asked.n)))


def number(*parts: object) -> int:
    """A document's number, in [0, 2^53), made of what is to be the same."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - BITS)


def fingerprint(asked: ChatRequest) -> str:
    """Digest of everything that decides a request's answer; its form is not part of it."""
    told = (
        asked.model,
        [(message.role, message.content) for message in asked.messages],
        [asked.n, asked.seed, asked.max_tokens, list(asked.until)],
        [sorted(asked.sampling.items()), sorted(asked.values.items(), key=lambda item: item[0])],
        asked.place,
    )
    return hashlib.blake2b(msgspec.json.encode(told), digest_size=16).hexdigest()


def _budget(asked: ChatRequest, room: Room, prompt: Prompt) -> int:
    """Most kept tokens of a sample: what is asked for, else what there is room for.

    Raises:
        ContextLengthError: there is no room for a single token.
    """
    bound = room.variation.settings.run.max_gen_toks
    if asked.max_tokens is not None:
        return asked.max_tokens if bound is None else min(bound, asked.max_tokens)
    left = []
    for role, backend in room.models.backends.items():
        length = len(prompt.ids_in(backend.tokenizer))
        if length >= backend.max_length:
            raise ContextLengthError(
                f"the messages have {length} tokens; the {role}'s context holds "
                f"{backend.max_length}"
            )
        left.append(backend.max_length - length)
    return min(bound or DEFAULT_MAX_GEN_TOKS, *left)
