"""The last case on the shared server: it is killed while it is in use."""

import asyncio
import os
import signal

import pytest

from atts_harness.backend import GenerateRequest, Sampling
from atts_harness.errors import BackendUnavailableError, EngineGoneError

from .serving import children


def test_a_server_that_is_killed_ends_the_run_with_a_reason(loop, backend):
    (engine,) = children(backend.server.pid)
    ids = backend.tokenizer.encode("17 + 5")
    asked = GenerateRequest(
        ids=ids, max_tokens=backend.max_length - len(ids), sampling=Sampling(temperature=1.0)
    )

    async def use_until_dead():
        call = asyncio.create_task(backend.generate(asked))
        await asyncio.sleep(0.2)
        os.kill(engine, signal.SIGKILL)
        while True:  # first the call breaks off, then the death is noticed
            try:
                await call
            except BackendUnavailableError:
                await asyncio.sleep(0.1)
            call = asyncio.create_task(backend.generate(asked))

    with pytest.raises(EngineGoneError, match="log: "):
        loop.run(use_until_dead())
    with pytest.raises(EngineGoneError, match="log: "):
        loop.run(backend.identify())
