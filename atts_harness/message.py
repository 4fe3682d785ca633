"""Chat messages, before any template has rendered them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message, unrendered."""

    role: str
    content: str
