"""What a release is made of, and its page on an index: links lead somewhere, or are not there."""

import importlib.util
import re
import tomllib
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


def packed(kind):
    """Paths in a release's file of a kind, as the builder that pyproject.toml names makes it."""
    plugin = importlib.import_module(f"hatchling.builders.{kind}")
    builder = getattr(plugin, f"{kind.capitalize()}Builder")(str(ROOT))
    return {one.distribution_path for one in builder.recurse_included_files()}


def test_the_sdist_has_what_the_wheel_is_built_from_and_no_tests():
    tops = {path.split("/")[0] for path in packed("sdist")}
    folders = {"atts_harness", "plugins", "baselines", "tasks"}
    files = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "hatch_build.py"}
    assert tops - {"pyproject.toml", ".gitignore"} == folders | files


def test_the_wheel_has_every_file_of_its_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = packed("wheel")
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        folder = ROOT / package
        files = {
            str(path.relative_to(folder.parent))
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert files <= found | {"atts_lm_eval/autoload.pth"}, package
    assert {"atts_tiny/models/target/model.safetensors", "atts_tasks/atts_aime24.yaml"} <= found
    assert "atts_lm_eval/plans/published-marginal.yaml" in found
