"""Requests as lm-eval hands them over."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Request:
    """An lm-eval instance, as far as a model looks at it."""

    args: tuple
    task_name: str = "sums"
    doc_id: int = 0
    idx: int = 0
    doc: dict = field(default_factory=dict)


def ask(text="2+2?", doc=0, task="sums", idx=0, fields=None, **kwargs):
    """A `generate_until` request."""
    return Request((text, {"until": [], **kwargs}), task, doc, idx, fields or {})


@pytest.fixture(name="ask")
def _ask():
    return ask
