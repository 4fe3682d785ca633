"""The messages that the troubleshooting page quotes are those that the programs print."""

import ast
import re
from functools import cache
from pathlib import Path

import lm_eval.api.registry
import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
SYMPTOM = re.compile(r"^\| `([^`]+)`", re.MULTILINE)
SOURCES = ("atts_harness", "plugins", "baselines", "tasks")


@cache
def literals():
    """Every text that the code holds, f-strings by their constant parts, in lower case."""
    files = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    files.append(Path(lm_eval.api.registry.__file__))
    trees = (ast.parse(path.read_text()) for path in files)
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return "\n".join(node.value.lower() for node in nodes if isinstance(node.value, str))


@pytest.mark.parametrize("symptom", SYMPTOM.findall(PAGE))
def test_a_quoted_message_is_one_that_is_printed(symptom):
    parts = [part.strip(" ,;:?") for part in symptom.split("...")]
    missing = [part for part in parts if part.lower() not in literals()]
    assert not missing, f"no code prints {missing}"


def test_messages_are_quoted():
    assert len(SYMPTOM.findall(PAGE)) >= 10
