"""The terminal: what is printed is text, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from atts_harness.neutral import plain


def console(**options: Any) -> Console:
    """A console without markup, emoji codes and control characters from outside.

    Args:
        options: of `rich.console.Console`.
    """
    made = Console(markup=False, emoji=False, highlight=False, **options)
    made.push_render_hook(_Plain())
    return made


class _Plain(RenderHook):
    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Harmless(one) for one in renderables]


class _Harmless:
    """Something to print, with the text of each of its parts made harmless."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        parts: Iterable[Segment] = console.render(self._inner, options)
        for part in parts:
            yield part if part.control else Segment(plain(part.text), part.style)
