"""A backend whose replies come from a script: for golden traces and for replaying recorded runs.

No engine and no model. The script holds what the model *would* write without limits; stop strings,
the token limit and the end of the turn are then applied as an engine applies them:

    draft = ScriptedBackend(["17 + 5 = 22.", Says("So 22", ending="length")], role="draft")
    target = ScriptedBackend(["Wait, no."], scores=[0.31, 2.4], role="target")

A function in place of a list computes each reply from the request (`ScriptedRequest`).
`ByteTokenizer` fulfils the tokenizer contract, and is small enough to count its tokens by hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    InProcess,
    Role,
    ScoreReply,
    ScoreRequest,
    Usage,
)
from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import Ids
from atts_harness.transcript import Ending, Message

CACHE_BLOCK = 16


class ScriptError(AssertionError):
    """The script does not fit the requests: it is too short, or an item has the wrong length."""


class ByteTokenizer:
    r"""One token a byte, plus named tokens, plus pieces that merge several bytes.

    Ids 0 to 255 are bytes; named tokens follow, then pieces. Encoding takes the longest piece that
    fits at each position, so `pieces=(".\n\n",)` gives a token that ends a sentence and holds a
    blank line, as real vocabularies have.

    Args:
        pieces: merged byte runs, as text; ids in this order.
        generation_prompt: what the template puts after the assistant's header (`<think>\n`).
        shift: rotates the ids of bytes, so that two tokenizers have different vocabularies.
    """

    NAMES = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<think>", "</think>")

    def __init__(
        self, pieces: Sequence[str] = (), *, generation_prompt: str = "", shift: int = 0
    ) -> None:
        self.named: Mapping[str, int] = {name: 256 + n for n, name in enumerate(self.NAMES)}
        self.eos_ids = frozenset({self.named["<|end|>"]})
        self.text_prefix: Ids = ()
        self._bytes = [bytes([(n - shift) % 256]) for n in range(256)]
        self._bytes += [name.encode() for name in self.NAMES]
        self._bytes += [piece.encode() for piece in pieces]
        self.vocab_size = len(self._bytes)
        first = 256 + len(self.NAMES)
        plain = [*enumerate(self._bytes[:256]), *enumerate(self._bytes[first:], first)]
        self._id_of = {raw: id_ for id_, raw in reversed(plain)}
        longest_first = sorted(self._bytes[first:], key=len, reverse=True)
        self._token = re.compile(b"|".join([*map(re.escape, longest_first), b"."]), re.DOTALL)
        self._name = re.compile("(" + "|".join(map(re.escape, self.NAMES)) + ")")
        self._generation_prompt = generation_prompt
        self.fingerprint = _digest(["bytes", shift, list(pieces)])
        self.template_fingerprint = _digest(["turns", generation_prompt])

    def encode(self, text: str) -> Ids:
        """Ids of plain text; names of special tokens are plain text."""
        return tuple([self._id_of[raw] for raw in self._token.findall(text.encode())])

    def encode_named(self, text: str) -> Ids:
        """Ids of text in which the names of special tokens stand for the tokens."""
        ids: list[int] = []
        for part in self._name.split(text):
            ids.extend((self.named[part],) if part in self.named else self.encode(part))
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of a run of ids; bad bytes become U+FFFD."""
        return self.raw(ids).decode(errors="replace")

    def raw(self, ids: Sequence[int]) -> bytes:
        """The bytes of a run of ids; a special token becomes its name."""
        return b"".join(map(self._bytes.__getitem__, ids))

    def render(self, messages: Sequence[Message]) -> Ids:
        """`<|role|>content<|end|>` for each message, then the assistant's header."""
        *closed, last = messages
        if last.role != "assistant":
            return self._turns(messages) + self._opening("")
        opening = self.encode_named(self._generation_prompt + last.content)
        return (*self._turns(closed), self.named["<|assistant|>"], *opening)

    def render_tail(self, messages: Sequence[Message], prefill: str = "") -> Ids:
        """`<|end|>`, the messages, the assistant's header and the prefill."""
        return (self.named["<|end|>"], *self._turns(messages), *self._opening(prefill))

    def _turns(self, messages: Sequence[Message]) -> Ids:
        ids: list[int] = []
        for message in messages:
            header = self.named[f"<|{message.role}|>"]
            ids += (header, *self.encode(message.content), self.named["<|end|>"])
        return tuple(ids)

    def _opening(self, prefill: str) -> Ids:
        prompt = self._generation_prompt
        overlap = next((n for n in range(len(prefill), 0, -1) if prompt.endswith(prefill[:n])), 0)
        return (self.named["<|assistant|>"], *self.encode_named(prompt + prefill[overlap:]))


@dataclass(frozen=True)
class Says:
    """A text that the model would write.

    Attributes:
        text: names of special tokens in it stand for the tokens.
        ending: what comes after the text if no stop or limit came before: `eos` closes the turn,
            `length` breaks off.
        top_logprobs: alternatives of the first tokens, token text to log-probability; the tokens
            after them get themselves with probability 1.
        ids: instead of `text`: exact ids.
        delay: seconds before the reply.
    """

    text: str = ""
    ending: Literal["eos", "length"] = "eos"
    top_logprobs: tuple[Mapping[str, float], ...] = ()
    ids: Ids | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class ScriptedRequest:
    """A request as a reply function sees it.

    Attributes:
        role: the backend's role.
        request: as it came.
        text: the whole context as text, named tokens by name.
        number: how many requests of this sort (generate, score) came before.
    """

    role: Role
    request: GenerateRequest | ScoreRequest
    text: str
    number: int

    @property
    def ids(self) -> Ids:
        """The whole context."""
        return self.request.ids


Reply = str | Says | Exception
Replies = Sequence[Reply] | Callable[[ScriptedRequest], Reply]
Scoring = float | Sequence[float] | Exception
"""A mean negative log-probability in nats, the same for every token; or each log-probability."""
Scores = float | Sequence[Scoring] | Callable[[ScriptedRequest], Scoring]


@dataclass(frozen=True)
class ServedRequest:
    """One request that was served, in order; `error` instead of a reply if one was scripted."""

    request: GenerateRequest | ScoreRequest
    text: str
    reply: GenerateReply | ScoreReply | None = None
    error: Exception | None = None


@dataclass
class ScriptedBackend(InProcess):
    """A backend after a script; see the module.

    Attributes:
        replies: a list, used up in the order of requests, or a function.
        scores: one number for all, a list used up in order, or a function.
        role: passed to functions, and part of `identity`.
        served: every request so far.
    """

    replies: Replies = ()
    scores: Scores = ()
    role: Role = "target"
    tokenizer: ByteTokenizer = field(default_factory=ByteTokenizer)
    max_length: int = 1 << 20
    capabilities: Capabilities = field(default_factory=Capabilities)
    served: list[ServedRequest] = field(default_factory=list)
    closed: bool = False
    _counts: dict[str, int] = field(default_factory=lambda: {"generate": 0, "score": 0})
    _cached: set[int] = field(default_factory=set)

    @property
    def identity(self) -> ModelIdentity:
        """The script's role and vocabulary."""
        return ModelIdentity(
            engine="scripted",
            model=f"scripted-{self.role}",
            tokenizer=self.tokenizer.fingerprint,
        )

    @property
    def unused(self) -> int:
        """Items of the scripts that were not used."""
        unused = 0
        for script, sort in ((self.replies, "generate"), (self.scores, "score")):
            if isinstance(script, Sequence):
                unused += max(0, len(script) - self._counts[sort])
        return unused

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """The script's next reply, cut as an engine cuts it."""
        scripted = self._next("generate", request)
        item = self.replies(scripted) if callable(self.replies) else _item(self.replies, scripted)
        if isinstance(item, Exception):
            raise self._failed(scripted, item)
        says = Says(item) if isinstance(item, str) else item
        if says.delay:
            await asyncio.sleep(says.delay)
        reply = self._cut(says, request)
        self.served.append(ServedRequest(request, scripted.text, reply))
        self._remember((*request.ids, *reply.ids))
        return reply

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """The scripted log-probabilities."""
        scripted = self._next("score", request)
        item: Scoring
        if callable(self.scores):
            item = self.scores(scripted)
        elif isinstance(self.scores, int | float):
            item = self.scores
        else:
            item = _item(self.scores, scripted)
        if isinstance(item, Exception):
            raise self._failed(scripted, item)
        count = len(request.ids) - request.start
        if isinstance(item, int | float):
            item = [-float(item)] * count
        if len(item) != count:
            raise ScriptError(f"score {scripted.number}: {len(item)} scripted for {count} tokens")
        usage = Usage(
            prompt_tokens=len(request.ids),
            # The log-probability of the first scored token needs the position before it.
            cached_tokens=min(self._hit(request.ids), max(0, request.start - 1)),
            scored_tokens=count,
        )
        reply = ScoreReply(logprobs=tuple(item), usage=usage)
        self.served.append(ServedRequest(request, scripted.text, reply))
        self._remember(request.ids)
        return reply

    async def aclose(self) -> None:
        """Mark it closed."""
        self.closed = True

    def _next(self, sort: str, request: GenerateRequest | ScoreRequest) -> ScriptedRequest:
        number = self._counts[sort]
        self._counts[sort] += 1
        return ScriptedRequest(self.role, request, self.tokenizer.decode(request.ids), number)

    def _failed(self, scripted: ScriptedRequest, error: Exception) -> Exception:
        self.served.append(ServedRequest(scripted.request, scripted.text, error=error))
        return error

    def _cut(self, says: Says, request: GenerateRequest) -> GenerateReply:
        ids = self.tokenizer.encode_named(says.text) if says.ids is None else says.ids
        ids, ending, stop = self._stopped(ids, request, says.ending)
        if len(ids) > request.max_tokens:
            ids, ending, stop = ids[: request.max_tokens], "length", None
        top = None
        if request.top_logprobs:
            top = tuple(
                self._alternatives(says.top_logprobs[n], request.top_logprobs)
                if n < len(says.top_logprobs)
                else {id_: 0.0}
                for n, id_ in enumerate(ids)
            )
        usage = Usage(
            prompt_tokens=len(request.ids),
            cached_tokens=min(self._hit(request.ids), len(request.ids) - 1),
            completion_tokens=len(ids),
        )
        logprobs = None
        if top is not None:  # a written token is at most as likely as the named ones
            logprobs = tuple(
                step.get(id_, min(step.values())) for id_, step in zip(ids, top, strict=True)
            )
        return GenerateReply(
            ids=ids, ending=ending, usage=usage, stop=stop, logprobs=logprobs, top_logprobs=top
        )

    def _stopped(
        self, ids: Ids, request: GenerateRequest, ending: Ending
    ) -> tuple[Ids, Ending, str | None]:
        """Ids up to the token that completes the first stop, or all of them and what follows."""
        raw = self.tokenizer.raw(ids)
        ends = {stop: raw.find(stop.encode()) + len(stop.encode()) for stop in request.stop}
        hits = {stop: end for stop, end in ends.items() if end >= len(stop.encode())}
        if not hits:
            closing = tuple(sorted(self.tokenizer.eos_ids)) if ending == "eos" else ()
            return (*ids, *closing), ending, None
        first = min(hits, key=lambda stop: hits[stop])
        length = 0
        for n, id_ in enumerate(ids):
            length += len(self.tokenizer.raw((id_,)))
            if length >= hits[first]:
                return ids[: n + 1], "stop", first
        raise AssertionError("a stop that was found lies within the ids")

    def _alternatives(self, named: Mapping[str, float], most: int) -> dict[int, float]:
        alternatives: dict[int, float] = {}
        for text, logprob in sorted(named.items(), key=lambda entry: -entry[1])[:most]:
            ids = self.tokenizer.encode_named(text)
            if len(ids) != 1:
                raise ScriptError(f"top_logprobs: {text!r} is not one token; make it a piece")
            alternatives[ids[0]] = logprob
        return alternatives

    def _remember(self, ids: Ids) -> None:
        self._cached.update(_blocks(ids))

    def _hit(self, ids: Ids) -> int:
        """Length of the longest known prefix, in whole blocks as paged caches have it."""
        blocks = 0
        for digest in _blocks(ids):
            if digest not in self._cached:
                break
            blocks += 1
        return blocks * CACHE_BLOCK


def _blocks(ids: Ids) -> list[int]:
    digests, digest = [], 0
    for at in range(0, len(ids) - CACHE_BLOCK + 1, CACHE_BLOCK):
        digest = hash((digest, ids[at : at + CACHE_BLOCK]))
        digests.append(digest)
    return digests


def _item(script: Sequence[Any], request: ScriptedRequest) -> Any:
    if request.number >= len(script):
        raise ScriptError(
            f"{request.role}: request {request.number + 1} of a script of {len(script)}; "
            f"context ends {request.text[-60:]!r}"
        )
    return script[request.number]


def _digest(state: Any) -> str:
    return hashlib.blake2b(json.dumps(state).encode(), digest_size=8).hexdigest()
