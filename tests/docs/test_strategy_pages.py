"""Every strategy has a page, and its table is the code's."""

import json
import re
from pathlib import Path

import msgspec
import pytest
from atts_controls import plugin as controls
from atts_glimprouter import glimprouter
from atts_specreason import specreason
from atts_speculative_thinking import plugin as speculative_thinking
from atts_speculative_thinking.rules import Rules
from atts_votes import plugin as votes

from atts_harness import atts
from atts_harness.hookspecs import Preset
from atts_harness.settings import RunOptions

PAGES = Path(__file__).parents[2] / "docs" / "strategies"
PLUGINS = (atts, controls, specreason, speculative_thinking, votes, glimprouter)
STRATEGIES = {s.name: s for plugin in PLUGINS for s in plugin.atts_strategies()}
ROW = re.compile(r"^\| `(\w+)` \| `(.*?)` \|", re.MULTILINE)


def shown(value):
    """A default as the pages write it."""
    if isinstance(value, msgspec.Struct):
        return "see below"
    if value is None:
        return "none"
    if value == "":
        return "empty"
    if isinstance(value, str):
        return value if value.strip() == value and "\n" not in value else json.dumps(value)
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_pages_options_and_defaults_are_the_strategys(name):
    page = (PAGES / f"{name}.md").read_text()
    defaults = {f.name: f.default for f in msgspec.structs.fields(STRATEGIES[name].Options)}
    if name == "speculative-thinking":
        defaults |= {f.name: f.default for f in msgspec.structs.fields(Rules)}
    assert dict(ROW.findall(page)) == {key: shown(value) for key, value in defaults.items()}


def test_there_is_no_page_without_a_strategy_and_the_index_has_all():
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    assert pages == set(STRATEGIES)
    index = (PAGES / "README.md").read_text()
    assert set(re.findall(r"\]\((\S+)\.md\)", index)) >= pages


def test_presets_set_what_exists():
    presets = [p for plugin in PLUGINS if hasattr(plugin, "atts_presets")
               for p in plugin.atts_presets()]  # fmt: skip
    assert {preset.name for preset in presets} == {
        "paper", "specreason-paper", "speculative-thinking-paper", "adaptive-consistency-paper",
        "esc-paper", "glimprouter-paper", "deepconf-paper", "deepconf-low-paper",
        "deepconf-offline-paper",
    }  # fmt: skip
    for preset in presets:
        assert isinstance(preset, Preset)
        kind = STRATEGIES[preset.settings.get("strategy", "atts")]
        options = kind.made_for(preset.settings).Options
        known = {*RunOptions.__struct_fields__, *options.__struct_fields__}
        assert set(preset.settings) <= known
