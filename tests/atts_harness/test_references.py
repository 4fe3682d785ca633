"""What to cite: entries that say where they were looked up, for what is used and nothing else."""

import re

import pytest

from atts_harness import plugins
from atts_harness.errors import SettingError
from atts_harness.hookspecs import hookimpl
from atts_harness.references import bibtex, read_references, references_for

PUBLISHED = {
    *("atts", "synchronous", "random-takeover", "always-takeover", "specreason"),
    *("speculative-thinking", "glimprouter", "self-consistency", "adaptive-consistency"),
    *("esc", "deepconf"),
}


def test_every_published_method_and_data_set_has_an_entry():
    tasks = [f"atts_{name}" for name in ("math500", "aime24", "aime25", "amc23", "gsm8k")]
    tasks += ["atts_gpqa_diamond", "atts_olympiadbench", "atts_math500_paper"]
    assert references_for(PUBLISHED, tasks).without == ()
    rest = plugins.strategies().keys() - PUBLISHED
    assert set(references_for(rest, ()).without) == rest == {"draft-only", "target-only", "self"}


def test_every_entry_names_its_source_and_no_key_is_described_twice():
    every = [one for path in plugins.references() for one in read_references(path)]
    described = [one for one in every if one.fields]
    assert len({one.key for one in described}) == len(described) > 10
    assert {one.key for one in every} == {one.key for one in described}
    for one in described:
        assert one.source
        assert {"title", "url", "eprint", "doi", "journal", "booktitle"} & one.fields.keys()
        for value in one.fields.values():
            depth = 0
            for sign in re.sub(r"\\.", "", value):
                depth += (sign == "{") - (sign == "}")
                assert depth >= 0
            assert depth == 0


def test_a_file_of_entries_holds_what_is_used_once():
    text = bibtex(
        references_for(["atts", "synchronous", "atts", "draft-only"], ["atts_gsm8k", "mine"])
    )
    keys = re.findall(r"^@\w+\{(.*),$", text, re.MULTILINE)
    assert keys == sorted(set(keys)) == ["cobbe2021gsm8k", "gao2021lmeval", "xiong2025atts"]
    assert text.count("% Source: ") == 3
    assert "% No reference is registered for: draft-only, mine." in text
    assert text.count("{") == text.count("}")


def test_a_stranger_brings_entries_too(pair, tmp_path):
    class Plugin:
        @hookimpl
        def atts_references(self):
            return [tmp_path / "mine.yml"]

    (tmp_path / "mine.yml").write_text(
        "- {key: me2026, source: here, strategies: [mine], fields: {title: Mine}}\n"
    )
    plugins.manager().register(Plugin())
    assert [one.key for one in references_for(["mine"], ()).references if one.strategies] == [
        "me2026"
    ]
    (tmp_path / "mine.yml").write_text("- {keys: me}\n")
    with pytest.raises(SettingError, match=r"mine\.yml: not a file of references"):
        references_for(["mine"], ())
