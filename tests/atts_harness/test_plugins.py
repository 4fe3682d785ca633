"""A package of strangers cannot break the host: what is wrong with it is named, and left out."""

import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest
from typer.testing import CliRunner

from atts_harness import plugins
from atts_harness.cli import build_app
from atts_harness.errors import UnknownSettingError
from atts_harness.settings import parse_settings

HEAD = """
from pathlib import Path
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.strategy import Strategy, StrategyOptions
class Good(Strategy):
    "A strategy of strangers."
    name = "good"
    Options = StrategyOptions
    def __init__(self, options, run): ...
    async def run(self, sample, ctx): ...
"""
GOOD = """
@hookimpl
def atts_strategies(): return [Good]
@hookimpl
def atts_cli(app): app.command("good-command")(lambda: print("hello"))
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages of strangers on the path: their plugin's text, or other files."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(name, text=GOOD, entry=None, metadata=True, head=HEAD):
        module = f"stranger_{name}"
        (tmp_path / f"{module}.py").write_text(head + textwrap.dedent(text))
        monkeypatch.delitem(sys.modules, module, raising=False)
        folder = tmp_path / f"{module}-1.0.dist-info"
        folder.mkdir()
        if metadata:
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-package\n")
        points = entry if entry is not None else f"[atts_harness]\n{name} = {module}\n"
        (folder / "entry_points.txt").write_bytes(
            points if isinstance(points, bytes) else points.encode()
        )
        plugins.discovery.cache_clear()

    yield put
    plugins.discovery.cache_clear()


def look():
    """Everything that is asked of plugins when a command starts; names of strategies."""
    found = plugins.strategies()
    build_app()
    for ask in (plugins.backends, plugins.presets, plugins.task_dirs):
        ask()
    for ask in (plugins.plans, plugins.frameworks, plugins.launchers):
        ask()
    return found


def left_out():
    return {one.plugin: one for one in plugins.discovery().left_out.values()}


AT_IMPORT = {
    "raises": "raise RuntimeError('no')",
    "ends the process": "import sys; sys.exit(3)",
    "wants a package that is not there": "import no_such_package",
    "does not parse": "def",
    "recurses": "def f(): f()\nf()",
    "cannot say why": """
        class Mute(Exception):
            def __str__(self): raise ValueError
        raise Mute
        """,
    "hook of another shape": "@hookimpl\ndef atts_strategies(what): return []",
    "hook that does not exist": "@hookimpl\ndef atts_strategys(): return []",
}
WHEN_ASKED = {
    "raises": "@hookimpl\ndef atts_strategies(): raise OSError('gone')",
    "ends the process": "@hookimpl\ndef atts_strategies(): raise SystemExit",
    "raises later": "@hookimpl\ndef atts_strategies():\n  yield Good\n  raise OSError('gone')",
    "nothing": "@hookimpl\ndef atts_strategies(): return None",
    "a number": "@hookimpl\ndef atts_strategies(): return 5",
    "no classes": "@hookimpl\ndef atts_strategies(): return [Good(0, 0)]",
    "no options": "@hookimpl\ndef atts_strategies(): return [type('X', (), {'name': 'x'})]",
    "other roles": (
        "@hookimpl\ndef atts_strategies(): return [type('X', (Good,), {'roles': ('judge',)})]"
    ),
    "no name": (
        "@hookimpl\ndef atts_strategies(): return [type('X', (Good,), {'name': '\\x1b[2J'})]"
    ),
    "a backend": "@hookimpl\ndef atts_backends(): return [Good]",
    "a preset": "@hookimpl\ndef atts_presets(): return [Preset(name='x', settings=5)]",
    "a folder": "@hookimpl\ndef atts_task_dirs(): return [Path('/no/such/folder')]",
    "a plan": "@hookimpl\ndef atts_plans(): return [Path('/no/such/plan.yaml')]",
    "a framework": "@hookimpl\ndef atts_frameworks(): return [Good(0, 0)]",
    "a launcher": "@hookimpl\ndef atts_launchers(): return [Good(0, 0)]",
    "a wrapper": "@hookimpl(wrapper=True)\ndef atts_strategies():\n  yield\n  return []",
    "a command": "@hookimpl\ndef atts_cli(app): raise KeyError('x')",
    "a command that typer refuses": (
        "@hookimpl\ndef atts_cli(app):\n"
        "  import typer\n"
        "  from typing import Annotated\n"
        "  def bad(x: Annotated[int, typer.Option(), typer.Argument()]): ...\n"
        "  app.command('bad')(bad)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", AT_IMPORT.values(), ids=AT_IMPORT)
def test_a_plugin_that_cannot_be_loaded_is_left_out_and_named(install, text, caplog):
    usual = set(look())
    install("bad", text)
    install("fine")
    assert set(look()) == usual | {"good"}
    assert left_out().keys() == {"bad"}
    assert "bad-package" in caplog.text
    assert len(caplog.text.splitlines()) == 1  # told once, in a line


@pytest.mark.parametrize("text", WHEN_ASKED.values(), ids=WHEN_ASKED)
def test_a_plugin_that_answers_wrongly_is_left_out_and_named(install, text, caplog):
    usual = set(look())
    install("bad", text)
    install("fine")
    assert set(look()) == usual | {"good"}
    assert left_out().keys() == {"bad"}
    assert "bad-package" in caplog.text


@pytest.mark.parametrize(
    ("entry", "metadata"),
    [
        ("[atts_harness]\nbad\n", True),
        ("[atts_harness]\nbad = \n", True),
        ("[atts_harness]\nbad = stranger_bad:no.such.thing\n", True),
        ("[atts_harness]\nbad = ../../etc\n", True),
        (b"[atts_harness]\nbad = \xff\xfe\n", True),
        ("[atts_harness]\nbad = stranger_nowhere\n", False),
    ],
)
def test_a_damaged_package_is_left_out(install, entry, metadata):
    usual = set(look())
    install("bad", entry=entry, metadata=metadata)
    install("fine")
    assert set(look()) == usual | {"good"}
    assert "bad" not in plugins.discovery().manager.list_name_plugin()


def test_atts_plugins_shows_what_is_left_out_and_why(install):
    install("bad", AT_IMPORT["raises"])
    install("markup", "raise RuntimeError('[red]no[/red]')")
    shown = CliRunner().invoke(build_app(), ["plugins"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, shown.output
    assert "Left out" in shown.output
    (line,) = [line for line in shown.output.splitlines() if "bad-package" in line]
    assert "RuntimeError: no" in line
    assert "[red]no[/red]" in shown.output


def test_what_is_missing_because_of_that_is_explained(install):
    install("bad", AT_IMPORT["wants a package that is not there"])
    with pytest.raises(UnknownSettingError, match=r"bad-package.*no_such_package"):
        parse_settings({"strategy": "of-strangers"})


def test_a_name_of_ours_is_not_theirs_to_take(install, caplog):
    atts = plugins.strategies()["atts"].value
    usual = {command.name for command in build_app().registered_commands}
    text = 'class Good(Good):\n  name = "atts"\n' + GOOD.replace("good-command", "report")
    install("bad", text)
    assert plugins.strategies()["atts"].value is atts
    assert {command.name for command in build_app().registered_commands} == usual
    assert "'atts' too; uninstall one" in caplog.text
    assert "command 'report' of plugin bad (bad-package) is left out" in caplog.text


def test_a_name_that_two_strangers_bring_is_nobodys(install):
    install("one")
    install("two")
    assert "good" not in plugins.strategies()
    with pytest.raises(UnknownSettingError, match=r"one-package.*two-package"):
        plugins.strategy("good")


def test_a_plugin_with_the_name_of_one_of_ours_does_not_take_its_place(install):
    usual = set(look())
    install("bad", entry="[atts_harness]\natts = stranger_bad\nlm_eval = stranger_bad\n")
    assert set(look()) >= usual


def test_a_strangers_default_does_not_change_everybodys_runs(install):
    before = parse_settings({})
    text = "return [Preset(name='x', settings={'rate': 0.9}, default=True)]"
    install("bad", f"@hookimpl\ndef atts_presets(): {text}")
    after = parse_settings({})
    assert after.options() == before.options()
    assert parse_settings({"preset": "tiny+x"}).options().rate == 0.9


def test_ctrl_c_is_no_fault_of_a_plugin(install):
    install("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.discovery()


def test_the_third_partys_way_in_is_the_only_one(install):
    """The fixture's packages are seen by the same entry points as the built-in ones."""
    install("fine")
    entry = plugins.strategies()["good"]
    assert (entry.plugin, entry.distribution) == ("fine", "fine-package")
    assert EntryPoint("fine", "stranger_fine", "atts_harness").load().Good is entry.value
    shown = CliRunner().invoke(build_app(), ["good-command"])
    assert shown.output == "hello\n"
