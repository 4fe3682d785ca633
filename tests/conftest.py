"""What tests of several parts need."""

from __future__ import annotations

import http.server
import importlib.util
import json
import shutil
import threading
from dataclasses import dataclass, field

import hypothesis
import pytest
from atts_controls import plugin as controls

from atts_harness import atts, builtin, plugins
from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.discovery import Discovery
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.testing import mock_plugin
from atts_harness.testing.scripted import ScriptedBackend

# How long an example takes is the machine's affair: no test depends on it.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


class FakeEndpoint(http.server.ThreadingHTTPServer):
    """A chat endpoint on this machine: answers the n-th request with `replies[n]`, then the last.

    A reply is (status, text) or (status, text, finish reason); a text of bytes is the whole body.
    `answer`, a function of the request's message, goes before them.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen = []
        self.replies = [(200, "ANSWER: 5")]
        self.answer = None
        self.delay = threading.Event()
        self.hang = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def messages(self):
        return [request["messages"][0]["content"] for _, _, request in self.seen]


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        length = int(self.headers["Content-Length"])
        request = json.loads(self.rfile.read(length))
        server = self.server
        server.seen.append((self.path, self.headers.get("Authorization"), request))
        if server.hang:
            server.delay.wait(20)
        status, text, *finish = server.replies[min(len(server.seen), len(server.replies)) - 1]
        if server.answer is not None:
            status, text = server.answer(request["messages"][0]["content"])
        finish = finish[0] if finish else "stop"
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": finish,
                    "message": {"role": "assistant", "content": text},
                }
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }
        if isinstance(text, bytes):
            data = text
        else:
            data = json.dumps(body if status == 200 else {"error": {"message": text}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def chat_server():
    """A `FakeEndpoint`, serving."""
    pytest.importorskip("openai")
    fake = FakeEndpoint()
    thread = threading.Thread(target=fake.serve_forever, daemon=True)
    thread.start()
    yield fake
    fake.delay.set()
    fake.shutdown()
    fake.server_close()


@pytest.fixture
def chat_endpoint(chat_server, monkeypatch):
    """The same, named by the environment as users name theirs."""
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    monkeypatch.setenv("OPENAI_MODEL", "judge-1")
    monkeypatch.setenv("OPENAI_BASE_URL", chat_server.url)
    return chat_server


class ScriptedOptions(BackendOptions, frozen=True, kw_only=True):
    """As an in-process backend has them."""

    device: str = "auto"
    trust_remote_code: bool = False
    max_batch_size: int = 64


@dataclass(eq=False)
class Pair:
    """What the test's `scripted` backend opens; a default pair that answers 42."""

    draft: ScriptedBackend = field(
        default_factory=lambda: ScriptedBackend(lambda asked: r"So \boxed{42}.", role="draft")
    )
    target: ScriptedBackend = field(
        default_factory=lambda: ScriptedBackend(lambda asked: r"Thus \boxed{42}.", scores=0.5)
    )
    opened: list = field(default_factory=list)

    async def open(self, spec):
        self.opened.append(spec)
        return self.draft if spec.role == "draft" else self.target

    @hookimpl
    def atts_backends(self):
        return [BackendKind("scripted", ScriptedOptions, self.open, "after a script")]

    @hookimpl
    def atts_presets(self):
        models = {"backend": "scripted", "draft": "small", "target": "large"}
        return [Preset("pair", models, "the scripted pair", default=True)]


@pytest.fixture
def pair(monkeypatch):
    """A scripted pair behind the real discovery, as the default: no engine and no model needed."""
    found = Pair()
    known = Discovery(installed=False)
    for plugin in (builtin, atts, controls, found):
        known.manager.register(plugin)
    monkeypatch.setattr(plugins, "discovery", lambda: known)
    return found


ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


# One browser a module, not a session: Playwright keeps an event loop running in this thread, which
# tests of other folders could not have.
@pytest.fixture(scope="module")
def chromium():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install -e '.[dev]'")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on PATH: on Debian, apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def mock_installed():
    """The mock engine and its strategy, as plugins."""
    manager = plugins.manager()
    manager.register(mock_plugin)
    yield
    manager.unregister(mock_plugin)


@pytest.fixture
def visit(chromium):
    """Opens a file with the network cut, or the page of a server at a port of this machine.

    Fails at the end if a page said anything, if a file loaded anything but itself, or if a page
    asked anybody but its server. A test that expects messages clears `visit.said`.
    """
    contexts, said, asked = [], [], []

    def visit(place, *, width=1280, height=900, scheme="light"):
        served = isinstance(place, int)
        url = f"http://127.0.0.1:{place}/" if served else place.as_uri()
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append((context, url))
        context.set_offline(not served)
        context.on("request", lambda request: asked.append((url, request.url)))
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(url)
        return page

    visit.said = said
    yield visit
    for context, _ in contexts:
        context.close()
    assert said == []
    assert [loaded for url, loaded in asked if url.startswith("file:")] == [
        url for _, url in contexts if url.startswith("file:")
    ], "a file loads nothing but itself"
    served = [(url, loaded) for url, loaded in asked if not url.startswith("file:")]
    assert [loaded for url, loaded in served if not loaded.startswith((url, "data:,"))] == []


FAULTS_OF_FIGURES = """() => {
  const faults = [];
  for (const svg of document.querySelectorAll("figure svg")) {
    const frame = svg.getBoundingClientRect();
    if (!frame.width) continue;
    const name = svg.closest("figure").dataset.figure;
    const texts = [...svg.querySelectorAll("text")].map(
      (text) => [text.textContent, text.getBoundingClientRect()],
    );
    texts.forEach(([text, box], place) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
          box.bottom > frame.bottom + 1) faults.push(`${name}: ${text} leaves the figure`);
      for (const [other, second] of texts.slice(place + 1)) {
        const across = Math.min(box.right, second.right) - Math.max(box.left, second.left);
        const down = Math.min(box.bottom, second.bottom) - Math.max(box.top, second.top);
        if (across > 1 && down > 2.5) faults.push(`${name}: ${text} lies on ${other}`);
      }
    });
  }
  return faults;
}"""


@pytest.fixture
def faults_of_figures():
    """What texts in the visible figures of a page lie on each other, or leave their figure."""
    return lambda page: page.evaluate(FAULTS_OF_FIGURES)
