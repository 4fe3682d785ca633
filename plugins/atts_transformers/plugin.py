"""Hooks of the in-process PyTorch backend; torch is imported when a model is opened."""

from __future__ import annotations

from collections.abc import Iterable

from atts_harness.backend import Backend, BackendKind, BackendSpec
from atts_harness.hookspecs import hookimpl
from atts_transformers.options import TransformersOptions, check


async def _open(spec: BackendSpec[TransformersOptions]) -> Backend:
    from atts_transformers.backend import open_backend

    return await open_backend(spec)


@hookimpl
def atts_backends() -> Iterable[BackendKind[TransformersOptions]]:
    """The backend kind `transformers`."""
    return [
        BackendKind(
            name="transformers",
            options=TransformersOptions,
            open=_open,
            check=check,
            summary="any Hugging Face causal model in this process (PyTorch, CPU or CUDA)",
            packages=("torch", "transformers"),
        )
    ]
