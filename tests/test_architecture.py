"""Dependencies point inwards, and importing the core stays cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OUTER = {
    path.name: path
    for folder in ("plugins", "baselines", "tasks")
    for path in (ROOT / folder).iterdir()
    if path.is_dir() and path.name.startswith("atts_")
}
FOREIGN_TO_CORE = {*OUTER, "lm_eval", "vllm", "sglang", "torch", "flashinfer"}


def imports(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_every_layout_folder_is_found():
    assert {"atts_lm_eval", "atts_tiny", "atts_transformers"} <= OUTER.keys()
    assert {"atts_controls", "atts_tasks"} <= OUTER.keys()


def test_core_imports_no_engine_framework_or_plugin():
    wrong = {
        str(path.relative_to(ROOT)): bad
        for path in (ROOT / "atts_harness").rglob("*.py")
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


def test_the_check_sees_a_wrong_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text("def f():\n    from atts_tiny.paths import draft_path\n")
    assert imports(file) & OUTER.keys() == {"atts_tiny"}


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
