"""A scripted pair behind the real discovery: no engine, no model, no installed package needed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pluggy
import pytest
from atts_controls import plugin as controls

from atts_harness import atts, hookspecs, plugins
from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.hookspecs import PROJECT, Preset, hookimpl
from atts_harness.testing.scripted import ScriptedBackend


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
    """The scripted pair, registered as the default beside the built-in strategies."""
    found = Pair()
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    for plugin in (atts, controls, found):
        manager.register(plugin)
    monkeypatch.setattr(plugins, "manager", lambda: manager)
    return found


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
