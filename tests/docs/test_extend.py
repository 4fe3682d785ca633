"""Every page of docs/extend builds a package that works as it stands there.

`docs/extend/strategy.md` is installed into a fresh environment by tests/examples; the packages of
the other pages lie on the path with the metadata that an installer would write.
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from atts_harness import hookspecs

EXTEND = Path(__file__).parents[2] / "docs" / "extend"
PAGES = sorted(p.name for p in EXTEND.glob("*.md") if p.name not in ("README.md", "strategy.md"))
FILE = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page):
    return dict(FILE.findall((EXTEND / page).read_text(encoding="utf-8")))


def install(files, folder):
    """Put a page's files into a folder, with its entry points beside them."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(metadata)
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("page", PAGES)
def test_the_package_of_a_page_works(page, tmp_path):
    files = files_of(page)
    install(files, tmp_path)
    tests = [name for name in files if name.startswith("test_")]
    assert tests
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PAGES)
def test_a_page_ships_every_file_but_its_tests(page):
    files = files_of(page)
    wheel = tomllib.loads(files["pyproject.toml"])["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["include"]} == {
        name for name in files if name != "pyproject.toml" and not name.startswith("test_")
    }


def test_the_index_names_every_page():
    index = (EXTEND / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", index)) == {*PAGES, "strategy.md"}


def test_every_hook_stands_in_the_documentation():
    told = "".join(path.read_text(encoding="utf-8") for path in EXTEND.glob("*.md"))
    hooks = [name for name in dir(hookspecs) if name.startswith("atts_")]
    assert [name for name in hooks if name not in told] == []
