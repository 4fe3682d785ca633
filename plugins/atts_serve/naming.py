"""The samples that a request asks for: their names in records, from which seeds are made."""

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
        problem: the problem that they answer.
        repeats: numbers of the samples.
    """

    problem: Problem
    repeats: tuple[int, ...]


def named(chat: ChatRequest, room: Room, task: str, request: str | None = None) -> Named:
    """The problem of a request, and the repeats that it asks for.

    A request that names a task, a document and a repeat has the seeds that `lm_eval` gives to that
    sample. A request with a `seed` always gets the same number, made of the seed, the messages, the
    budget and the stop texts; one with an id gets a number made of the id. Others are random.

    Args:
        chat: the request.
        room: the session of its model.
        task: the task of requests that name none.
        request: digest of the request's id and of its key; None: it has no id.
    """
    prompt, hashed = Prompt(chat.messages), prompt_hash(chat.messages)
    budget = _budget(chat, room, prompt)
    if chat.place is not None:
        task, doc, first = (
            chat.place.task,
            chat.place.doc,
            chat.place.repeat,
        )
    else:
        first = 0
        if chat.seed is not None:
            doc = number(hashed, chat.seed, budget, *chat.until)
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
        until=chat.until,
        max_tokens=budget,
    )
    return Named(problem, tuple(range(first, first + chat.n)))


def number(*parts: object) -> int:
    """A document's number in [0, 2^53), the same for equal parts."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> (64 - BITS)


def fingerprint(request: ChatRequest) -> str:
    """Digest of everything that decides a request's answer, except the form of the answer."""
    identity = (
        request.model,
        [(message.role, message.content) for message in request.messages],
        [request.n, request.seed, request.max_tokens, list(request.until)],
        [
            sorted(request.sampling.items()),
            sorted(request.values.items(), key=lambda item: item[0]),
        ],
        request.place,
    )
    return hashlib.blake2b(msgspec.json.encode(identity), digest_size=16).hexdigest()


def _budget(request: ChatRequest, room: Room, prompt: Prompt) -> int:
    """Most kept tokens of a sample: as many as asked for, else as many as there is room for.

    Raises:
        ContextLengthError: there is no room for a single token.
    """
    bound = room.variation.settings.run.max_gen_toks
    if request.max_tokens is not None:
        return request.max_tokens if bound is None else min(bound, request.max_tokens)
    free = []
    for role, backend in room.models.backends.items():
        length = len(prompt.ids_in(backend.tokenizer))
        if length >= backend.max_length:
            raise ContextLengthError(
                f"the messages have {length} tokens; the {role}'s context holds "
                f"{backend.max_length}"
            )
        free.append(backend.max_length - length)
    return min(bound or DEFAULT_MAX_GEN_TOKS, *free)
