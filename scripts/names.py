"""Count names that make code hard to read: public classes that share a name, and filler words.

    python scripts/names.py

Filler words are participles and the like that say nothing about what a variable is for.
"""

from __future__ import annotations

import ast
import collections
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("atts_harness", "plugins", "baselines", "tasks")
FILLERS = frozenset(
    [
        "found",
        "known",
        "own",
        "told",
        "wanted",
        "said",
        "chosen",
        "shown",
        "given",
        "made",
        "kept",
        "taken",
        "there",
        "where",
        "what",
        "how",
        "why",
        "seen",
        "heard",
        "asked",
        "held",
        "left",
        "done",
        "new",
        "old",
        "both",
        "rest",
        "more",
        "one",
    ]
)


def main() -> None:
    classes: dict[str, list[str]] = collections.defaultdict(list)
    fillers: collections.Counter[str] = collections.Counter()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text())
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    classes[node.name].append(str(path.relative_to(ROOT)))
            fillers.update(name for name in _bound(tree) if name in FILLERS)
    twice = {name: places for name, places in sorted(classes.items()) if len(places) > 1}
    for name, places in twice.items():
        print(f"{name}: {', '.join(places)}")
    print(f"{len(twice)} class names stand twice or more")
    print(f"{sum(fillers.values())} bindings of filler words:")
    print("  " + ", ".join(f"{name} {count}" for name, count in fillers.most_common()))
    if "--check" in sys.argv and twice:
        sys.exit(1)


def _bound(tree: ast.AST) -> list[str]:
    """Every name that is bound: assigned, an argument, a field or a function."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.append(node.id)
        elif isinstance(node, ast.arg):
            names.append(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
    return names


if __name__ == "__main__":
    main()
