"""The `llm` extractor as a backend: its calls are limited, retried and recorded like all calls.

Chat endpoints take and return text, while calls are recorded as ids: here the ids are the text's
UTF-8 bytes. Tokens are counted as the endpoint counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from atts_harness.backend import (
    Capabilities,
    GenerateReply,
    GenerateRequest,
    InProcess,
    ScoreReply,
    Usage,
)
from atts_harness.errors import BadRequestError
from atts_harness.identity import ModelIdentity
from atts_harness.judging.llm import Endpoint, ask_async, final_words
from atts_harness.tokenizer import Ids

if TYPE_CHECKING:
    from atts_harness.backend import ScoreRequest
    from atts_harness.transcript import Message

LONGEST_REQUEST = 1 << 20


class Utf8:
    """A `Tokenizer` whose ids are a text's UTF-8 bytes, without a chat template."""

    fingerprint = "utf-8"
    template_fingerprint = "none"
    vocab_size = 256
    named: Mapping[str, int] = {}
    eos_ids: frozenset[int] = frozenset()
    text_prefix: Ids = ()

    def encode(self, text: str) -> Ids:
        """The bytes of a text; half a surrogate pair becomes a question mark."""
        return tuple(text.encode(errors="replace"))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of bytes; bad ones become U+FFFD."""
        return bytes(ids).decode(errors="replace")

    def render(self, messages: Sequence[Message]) -> Ids:
        """The messages' texts with blank lines between: the endpoint applies its own template."""
        return self.encode("\n\n".join(message.content for message in messages))

    def render_tail(self, messages: Sequence[Message], prefill: str = "") -> Ids:
        """As `render`, after a blank line."""
        return self.encode("\n\n") + self.render(messages) + self.encode(prefill)


class EndpointBackend(InProcess):
    """A chat endpoint that answers one user message, greedily; a `Backend` without scores.

    Args:
        endpoint: the model and its address.
        timeout: seconds a call may take.

    Raises:
        MissingExtraError: the `openai` package is not installed.
    """

    max_length = LONGEST_REQUEST
    capabilities = Capabilities(
        scores=False, scores_read_cache=False, seeds=False, top_logprobs=0, counts_ids=False
    )

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.tokenizer = Utf8()
        self._endpoint = endpoint
        self._client = endpoint.async_client(timeout)

    @property
    def identity(self) -> ModelIdentity:
        """The model's identity; its address is not part of it."""
        return ModelIdentity(engine="openai-chat", model=self._endpoint.model)

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """The endpoint's reply to the request's text.

        Raises:
            BackendError: typed as `atts_harness.judging.llm.ask` says.
        """
        text = self.tokenizer.decode(request.ids)
        reply = await ask_async(self._client, self._endpoint.model, text)
        if not reply.text:
            final_words(reply.text, cut=reply.cut)  # all of it went into hidden thinking: raises
        return GenerateReply(
            ids=self.tokenizer.encode(reply.text),
            ending="length" if reply.cut else "eos",
            usage=Usage(
                prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens
            ),
        )

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Refuse every score.

        Raises:
            BadRequestError: always; chat endpoints do not score.
        """
        raise BadRequestError("a chat endpoint gives no log-probabilities of prompt tokens")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()
