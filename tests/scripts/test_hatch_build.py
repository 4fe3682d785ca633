"""The package's page on an index: links lead somewhere, or are not there."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HOOK = hook()
README = (ROOT / "README.md").read_text(encoding="utf-8")


def relative(text):
    """Links of a text that lead to nowhere outside the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [path for path in found if not path.startswith(("http", "#"))]


def test_links_into_the_repository_become_absolute():
    assert relative(README)
    made = HOOK.absolute(README, "https://example.org/p", "main")
    assert relative(made) == []
    assert "(https://example.org/p/blob/main/CONTRIBUTING.md)" in made
    assert made.count("](") == README.count("](")


def test_without_an_address_they_are_left_out_and_their_words_stay():
    made = HOOK.absolute(README, "", "main")
    assert relative(made) == []
    assert "CONTRIBUTING" in made
    assert "](https://github.com/EleutherAI/lm-evaluation-harness)" in made


def test_urls_come_from_the_same_setting():
    found = HOOK.urls("https://example.org/p", "main")
    assert found["Changelog"] == "https://example.org/p/blob/main/CHANGELOG.md"
    assert HOOK.urls("", "main") == {}
