"""The backend of `backend=transformers`: checks requests and hands them to the engine's thread."""

from __future__ import annotations

import asyncio

from atts_harness.backend import (
    BackendSpec,
    Capabilities,
    GenerateReply,
    GenerateRequest,
    InProcess,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.guards import check_generate, check_score
from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import HuggingFaceTokenizer
from atts_transformers.engine import LocalEngine
from atts_transformers.jobs import LocalJob, wake
from atts_transformers.load import LoadedModel, load
from atts_transformers.options import TransformersOptions


async def open_backend(spec: BackendSpec[TransformersOptions]) -> TransformersBackend:
    """Load a model and start its thread.

    Raises:
        SettingError: the model, its template or a setting cannot be used.
    """
    loaded = await asyncio.to_thread(load, spec)
    return TransformersBackend(loaded)


class TransformersBackend(InProcess):
    """A model in this process."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._engine = LocalEngine(
            loaded.runner,
            loaded.tokenizer,
            max_rows=loaded.max_rows,
            max_running=loaded.options.max_batch_size,
            max_batch_tokens=loaded.options.max_batch_tokens,
            cache_tokens=loaded.cache_tokens,
            threads=loaded.options.threads,
        )

    @property
    def tokenizer(self) -> HuggingFaceTokenizer:
        """The model's own."""
        return self._loaded.tokenizer

    @property
    def max_length(self) -> int:
        """Context window in tokens."""
        return self._loaded.max_length

    @property
    def capabilities(self) -> Capabilities:
        """Everything; any number of alternatives up to 1,000."""
        return Capabilities(
            top_logprobs=min(1000, self.tokenizer.vocab_size), output_ids=self._loaded.output_ids
        )

    @property
    def running(self) -> int:
        """Requests that compute now."""
        return self._engine.running

    @property
    def identity(self) -> ModelIdentity:
        """Who answers."""
        return self._loaded.identity

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`.

        Raises:
            BadRequestError: no ids, an id outside the vocabulary, or a setting out of range.
            ContextLengthError: context and `max_tokens` exceed the window.
        """
        check_generate(
            request,
            vocab_size=self._loaded.output_ids,
            max_length=self.max_length,
            top_logprobs=self.capabilities.top_logprobs,
        )
        reply = await self._run(request)
        assert isinstance(reply, GenerateReply)
        return reply

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on.

        Raises:
            BadRequestError: nothing to score, or an id outside the vocabulary.
            ContextLengthError: the context exceeds the window.
        """
        check_score(request, vocab_size=self._loaded.output_ids, max_length=self.max_length)
        reply = await self._run(request)
        assert isinstance(reply, ScoreReply)
        return reply

    async def aclose(self) -> None:
        """Stop the thread and let go of the model."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        # No executor: at the interpreter's exit, when runs are closed at the latest, none is left.
        self._engine.close(lambda: wake(loop, ended.set))
        await ended.wait()

    async def _run(self, request: GenerateRequest | ScoreRequest) -> GenerateReply | ScoreReply:
        loop = asyncio.get_running_loop()
        job = LocalJob(request, loop.create_future(), loop)
        self._engine.submit(job)
        try:
            return await job.future
        finally:
            # Cancelled here means that nobody waits: the next turn frees its row.
            job.cancelled = True
