"""How pages look: colours by name, light and dark, and the style sheet that uses them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

INK, MUTED, GRID, PAPER = "ink", "muted", "grid", "paper"
SERIES = 8
LIGHT = {
    INK: "#1b1f24",
    MUTED: "#59616b",
    GRID: "#e3e6ea",
    PAPER: "#ffffff",
    "s0": "#0b5cad",
    "s1": "#b5460f",
    "s2": "#0a7a55",
    "s3": "#8e3b8e",
    "s4": "#8a6100",
    "s5": "#00738a",
    "s6": "#b3275b",
    "s7": "#5f6368",
}
"""Okabe's and Ito's hues, dark enough for text on white."""
DARK = {
    INK: "#e6e8eb",
    MUTED: "#a3abb5",
    GRID: "#30363d",
    PAPER: "#14171a",
    "s0": "#6fb1ff",
    "s1": "#ff9e6b",
    "s2": "#4fd1a1",
    "s3": "#d79bea",
    "s4": "#e0b84c",
    "s5": "#5fd0e6",
    "s6": "#ff8fb3",
    "s7": "#b0b6bd",
}


def css_variables(colours: Mapping[str, str]) -> str:
    """Declarations of a theme's colours."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def asset(name: str) -> str:
    """A file of the report page: a style sheet or a script."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def joined_scripts(names: Sequence[str]) -> str:
    """Scripts of a page in one, in strict mode and a scope of their own."""
    body = "\n".join(asset(name) for name in names)
    return f'"use strict";{{\n{body}\n}}\n'


def security_policy(script: str) -> str:
    """Content security policy: nothing is loaded; the page's script by its hash; inline styles."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def stylesheet() -> str:
    """Of every page: colours that follow the system's theme or the chosen one, then the rules.

    Paper is white, so a print is light whatever the theme is.
    """
    colours = (
        f":root{{{css_variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{{css_variables(DARK)}}}}}"
        f"@media screen{{:root[data-theme=dark]{{{css_variables(DARK)}}}}}"
    )
    return colours + asset("page.css")
