"""The table of engine versions in docs/engines.md, from what the suites recorded.

    python scripts/compatibility.py

`make test-vllm` and `make test-sglang` compare what they ran with docs/compatibility.json and fail
where it differs; with ATTS_RECORD=1 they write it.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "compatibility.json"
PAGE = ROOT / "docs" / "engines.md"
MARKS = ("<!-- compatibility: begin -->\n", "<!-- compatibility: end -->")
PACKAGES = ("torch", "transformers")
_ASK = (
    "import importlib.metadata as m, json, sys; print(json.dumps([*map(m.version, sys.argv[1:])]))"
)


def facts(engine: str, python: str, cases: int) -> dict[str, str | int]:
    """What a suite ran on.

    Args:
        engine: `vllm` or `sglang`.
        python: that of the engine's environment.
        cases: how many it passed.
    """
    process = subprocess.run(
        [python, "-I", "-c", _ASK, engine, *PACKAGES], capture_output=True, text=True, check=True
    )
    versions = [
        text.partition("+")[0] for text in json.loads(process.stdout)
    ]  # not the build's label
    return {**dict(zip(("version", *PACKAGES), versions, strict=True)), "cases": cases}


def table() -> str:
    """The record as Markdown."""
    record = json.loads(RECORD.read_text())
    lines = ["| engine | version | beside torch, transformers | suite | cases passed |"]
    lines.append("|---|---|---|---|---|")
    for engine, of_engine in sorted(record.items()):
        beside = ", ".join(str(of_engine[name]) for name in PACKAGES)
        suite = f"`make test-{engine}`, on the processor"
        lines.append(
            f"| {engine} | {of_engine['version']} | {beside} | {suite} | {of_engine['cases']} |"
        )
    return "\n".join(lines) + "\n"


def write(engine: str, of_engine: dict[str, str | int]) -> None:
    """Record what a suite ran on, in the record and in the page."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record[engine] = of_engine
    RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    write_table()


def write_table() -> None:
    """Put the table into the page."""
    page = PAGE.read_text()
    begin, end = MARKS
    block = re.escape(begin) + ".*?" + re.escape(end)
    text = re.sub(block, lambda _: begin + table() + end, page, flags=re.DOTALL)
    PAGE.write_text(text)


if __name__ == "__main__":
    write_table()
