"""Imports follow the order of docs/architecture.toml, and importing the core stays cheap."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "atts_harness"
OUTER = {
    path.name: path
    for folder in ("plugins", "baselines", "tasks")
    for path in (ROOT / folder).iterdir()
    if path.is_dir() and path.name.startswith("atts_")
}
FOREIGN_TO_CORE = {*OUTER, "lm_eval", "vllm", "sglang", "torch", "flashinfer"}


def drawing():
    """`scripts/architecture.py`, which is not a package."""
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "scripts/architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ARCHITECTURE = drawing()
ORDER = ARCHITECTURE.order(ARCHITECTURE.read())


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def modules(folder: Path) -> dict[str, Path]:
    """By name the modules of a package."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def edges(folder: Path) -> set[tuple[str, str]]:
    """Pairs of modules of a package, the first of which imports the second, wherever in it."""
    known = modules(folder)
    found = set()
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                asked = [full if full in known else node.module for full in inner]
            else:
                continue
            found |= {(name, other) for other in asked if other in known and other != name}
    return found


def circle(found: set[tuple[str, str]]) -> list[str]:
    """Modules that import each other in a circle; empty if there are none."""
    left = set(found)
    while left:
        # Whatever imports nothing that is left, or is imported by nothing, is in no circle.
        importers, imported = {pair[0] for pair in left}, {pair[1] for pair in left}
        kept = {pair for pair in left if pair[1] in importers and pair[0] in imported}
        if kept == left:
            return sorted({importer for importer, _ in left})
        left = kept
    return []


def part(module: str) -> str:
    """The part of the core that a module belongs to; the order may name a module of a package."""
    names = module.removeprefix("atts_harness.").split(".")
    two = ".".join(names[:2])
    return two if two in ORDER else names[0]


def test_every_layout_folder_is_found():
    assert {"atts_lm_eval", "atts_tiny", "atts_transformers"} <= OUTER.keys()
    assert {"atts_controls", "atts_tasks"} <= OUTER.keys()


def test_the_order_names_every_part_of_the_core():
    parts = {part(module) for module in modules(CORE) if "." in module}
    assert parts == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


def test_imports_follow_the_order():
    rank = {name: number for number, name in enumerate(ORDER)}
    wrong = [
        f"{importer} -> {imported}"
        for importer, imported in sorted(edges(CORE))
        if "." in importer and "." in imported and part(importer) != part(imported)
        if rank[part(imported)] > rank[part(importer)]
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["atts_harness", *sorted(OUTER)])
def test_no_modules_import_each_other(package):
    assert not circle(edges(OUTER.get(package, CORE)))


def test_a_circle_is_seen():
    found = {("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")}
    assert circle(found) == ["a", "b", "c"]
    assert circle({("a", "b"), ("b", "c"), ("a", "c")}) == []


def test_the_picture_is_that_of_the_order():
    drawn = ARCHITECTURE.draw(ARCHITECTURE.read())
    assert ARCHITECTURE.PICTURE.read_text(encoding="utf-8") == drawn, "run `make docs`"


def test_core_imports_no_engine_framework_or_plugin():
    wrong = {
        str(path.relative_to(ROOT)): bad
        for path in CORE.rglob("*.py")
        # The conformance suite's reference is a plain forward pass; it is for plugin authors.
        if "testing" not in path.parts
        if (bad := imports(path) & FOREIGN_TO_CORE)
    }
    assert not wrong


@pytest.mark.parametrize("package", sorted(OUTER))
def test_outer_packages_import_the_core_and_never_each_other(package):
    others = OUTER.keys() - {package}
    wrong = {
        str(path.relative_to(ROOT)): bad
        for path in OUTER[package].rglob("*.py")
        if (bad := imports(path) & others)
    }
    assert not wrong


def test_no_plugin_needs_what_is_for_tests():
    wrong = [
        str(path.relative_to(ROOT))
        for folder in OUTER.values()
        for path in folder.rglob("*.py")
        if "atts_harness.testing" in path.read_text(encoding="utf-8")
    ]
    assert not wrong


def test_one_module_touches_the_insides_of_lm_eval():
    package = OUTER["atts_lm_eval"]
    touching = [path.name for path in package.rglob("*.py") if "lm_eval" in imports(path)]
    assert touching == ["upstream.py"]


def test_the_check_sees_a_wrong_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from atts_tiny.paths import draft_path\n")
    assert imports(file) & OUTER.keys() == {"atts_tiny"}


@pytest.mark.parametrize(
    ("start", "heavy"),
    [
        (
            "import atts_harness.running.harness",
            "rich typer numpy scipy torch transformers lm_eval",
        ),
        (
            "from atts_harness.cli import build_app; build_app()",
            "aiohttp numpy scipy torch lm_eval transformers ray",
        ),
    ],
    ids=["a run", "the commands of all plugins"],
)
def test_what_is_heavy_is_not_imported_at_the_start(start, heavy):
    code = f"import sys; {start}; print([m for m in {heavy.split()} if m in sys.modules])"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert shown.stdout.strip() == "[]"


def test_importing_the_core_pulls_in_nothing_heavy():
    heavy = ["numpy", "asyncio", "importlib.metadata", "torch", "lm_eval", "pluggy"]
    code = (
        f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]}; "
        f"import atts_harness; print([m for m in {heavy} if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == "[]"
