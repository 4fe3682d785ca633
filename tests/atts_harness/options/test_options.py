"""`atts options` says of every setting what its struct says, also of a stranger's."""

import json
from typing import Annotated, Literal

import msgspec
import pytest
from typer.testing import CliRunner

from atts_harness import plugins
from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.cli import build_app
from atts_harness.errors import UnknownSettingError
from atts_harness.hookspecs import hookimpl
from atts_harness.options.declared import settings_of
from atts_harness.settings import RunOptions


class Base(BackendOptions, frozen=True, kw_only=True):
    """Settings of strangers.

    Attributes:
        device: where it runs: `cpu`, or
            a device of theirs.

    Raises:
        nothing: is not a setting.
    """

    device: str = "cpu"


class Stranger(Base, frozen=True, kw_only=True):
    """More of them."""

    beams: Annotated[int, msgspec.Meta(ge=1, le=8, description="beams of the search")] = 4
    mode: Literal["fast", "exact"]
    share: Annotated[float, msgspec.Meta(gt=0, description="of memory")] | None = None
    further: dict[str, int] = msgspec.field(default_factory=dict)


class Plugin:
    """Brings a backend whose settings are its own."""

    @hookimpl
    def atts_backends(self):
        return [BackendKind("stranger", Stranger, lambda spec: None)]


@pytest.fixture
def invoke(pair):
    plugins.manager().register(Plugin())

    def invoke(*given, width=80):
        result = CliRunner().invoke(build_app(), ["options", *given], terminal_width=width)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return invoke


def test_a_setting_is_described_by_its_struct_alone():
    found = {one.name: one for one in settings_of(Stranger)}
    assert [(one.kind, one.default, one.meaning, one.owner) for one in found.values()] == [
        ("text", "cpu", "where it runs: `cpu`, or a device of theirs", Base),
        ("int >= 1, <= 8", "4", "beams of the search", Stranger),
        ("fast | exact", None, "", Stranger),
        ("float > 0 or none", "none", "of memory", Stranger),
        ("JSON object", "{}", "", Stranger),
    ]


def test_every_setting_of_ours_has_a_meaning():
    structs = [RunOptions]
    structs += [s.value.made_for({}).Options for s in plugins.strategies().values()]
    structs += [b.value.options for b in plugins.backends().values()]
    silent = {
        f"{struct.__name__}.{one.name}"
        for struct in structs
        for one in settings_of(struct)
        if not one.meaning
    }
    assert not silent
    assert len(structs) > 15


def test_the_settings_of_a_stranger_are_listed_with_who_declares_them(invoke):
    shown = invoke("stranger")
    assert "backend stranger: Base" in shown
    assert "a device of theirs" in " ".join(shown.replace("│", " ").split())
    assert "(required)" in shown
    (row,) = [one for one in json.loads(invoke("stranger", "--json")) if one["name"] == "beams"]
    assert row["declared_by"].endswith("Stranger")
    assert row["of"], row["what"] == ("stranger", "backend")
    names = {(one["of"], one["name"]) for one in json.loads(invoke("--json"))}
    assert {("stranger", "beams"), ("run", "seed"), ("atts", "rate")} <= names


def test_a_name_that_nobody_has(invoke):
    with pytest.raises(UnknownSettingError, match="did you mean stranger"):
        invoke("strangr")
