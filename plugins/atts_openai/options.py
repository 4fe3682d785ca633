"""Settings of a backend behind OpenAI's completions route."""

from __future__ import annotations

from typing import Annotated

import msgspec

from atts_harness.engines.options import EngineOptions


class OpenAIOptions(EngineOptions, frozen=True, kw_only=True):
    """A served model; `url` is the base address, with or without `/v1`."""

    api_key_env: Annotated[
        str, msgspec.Meta(description="environment variable with the server's key")
    ] = "OPENAI_API_KEY"
