"""What somebody else's package looks like: a backend, a pair, a strategy and a task."""

from pathlib import Path
from typing import ClassVar

from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.strategy import Outcome, Strategy, StrategyOptions


class ThirdParty(Strategy):
    """The target, asked once."""

    name: ClassVar[str] = "third-party"
    Options: ClassVar = StrategyOptions
    roles: ClassVar = ("target",)

    def __init__(self, options, run):
        self.options = options

    async def run(self, sample, ctx) -> Outcome:
        reply = await ctx.target.generate(
            sample.transcript, kind="takeover", turn=0, max_tokens=ctx.room(sample.transcript)
        )
        return ctx.finish(sample.transcript + reply.segment)


async def open_scripted(spec):
    from atts_harness.testing.scripted import ScriptedBackend

    return ScriptedBackend(lambda asked: r"\boxed{42}", scores=0.5, role=spec.role)


@hookimpl
def atts_strategies():
    return [ThirdParty]


@hookimpl
def atts_backends():
    return [BackendKind("scripted", BackendOptions, open_scripted, "after a script")]


@hookimpl
def atts_presets():
    models = {"backend": "scripted", "draft": "small", "target": "large"}
    return [Preset("scripted-pair", models, "a pair after a script")]


@hookimpl
def atts_task_dirs():
    return [Path(__file__).parent / "third_party_tasks"]
