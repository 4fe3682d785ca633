"""The page to watch samples: its files, and what keeps it from loading anything else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from aiohttp import web

from atts_harness._version import __version__
from atts_harness.analysis.html.style import asset, stylesheet

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
SCRIPTS = ("main.js", "dom.js", "turns.js", "live.js", "recorded.js")


def add_page(
    app: web.Application, *, live: bool, key: bool = False, problems: Sequence[str] = ()
) -> None:
    """Serve the page at `/`.

    Args:
        app: the application.
        live: whether problems can be asked; otherwise the page shows recorded samples.
        key: whether a key is needed to ask.
        problems: to pick from.
    """
    version = f"atts-harness {__version__}"
    about = {
        "live": live,
        "key": key,
        "problems": list(problems),
        "words": f"Ask a problem and see who writes what. {version}" if live else version,
    }
    texts = {name: ("text/javascript", _file(name)) for name in SCRIPTS}
    texts["theme.js"] = ("text/javascript", asset("theme.js"))
    texts["style.css"] = ("text/css", stylesheet() + _file("watch.css"))
    index = _file("index.html")

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=index, content_type="text/html", headers=HEADERS)

    async def send_about(request: web.Request) -> web.Response:
        return web.json_response(about, headers=HEADERS)

    async def part(request: web.Request) -> web.Response:
        content = texts.get(request.match_info["name"])
        if content is None:
            raise web.HTTPNotFound
        kind, text = content
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=HEADERS)

    app.router.add_get("/", page)
    app.router.add_get("/page/about.json", send_about)
    app.router.add_get("/page/{name}", part)


def examples() -> list[str]:
    """Problems that the embedded pair was trained for."""
    return _file("problems.txt").splitlines()


def _file(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
