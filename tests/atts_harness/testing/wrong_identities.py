"""Backends that are wrong about who they are, and the case that they must fail."""

from __future__ import annotations

from typing import Any

from atts_harness.identity import ModelIdentity

from .wrong_backends import FAULTS, Wrong, changed


class NamesAnotherTokenizer(Wrong):
    @property
    def identity(self) -> Any:
        return changed(self.inner.identity, tokenizer="another")


class BecomesAnotherModel(Wrong):
    async def identify(self) -> Any:
        return changed(self.inner.identity, weights="others", model="another")


class HasNoIdentity(Wrong):
    @property
    def identity(self) -> Any:
        return ModelIdentity(template="x")  # type: ignore[call-arg]  # no such field


class FiguresAreWords(Wrong):
    async def metrics(self) -> Any:
        return {"prompt_tokens": "many"}


IDENTITY_FAULTS = (NamesAnotherTokenizer, BecomesAnotherModel, HasNoIdentity, FiguresAreWords)
ALL_FAULTS: list[tuple[type[Wrong], tuple[str, ...]]] = [
    *FAULTS,
    *((fault, ("identity_and_figures",)) for fault in IDENTITY_FAULTS),
]
