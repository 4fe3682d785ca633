"""Run the notebooks of the documentation, or see whether they still say what they say.

    python scripts/site/notebook.py          # run them and write what they print
    python scripts/site/notebook.py --check  # run them and compare

Cells run in order in one namespace, `await` included, as Jupyter runs them; what is kept is what
they print. So no Jupyter is needed to keep them true. Another kind of processor rounds otherwise
and may draw another token; a notebook carries the kind that it ran on, and on another one it only
has to run and to print.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "notebooks"


def printed(cells: list[str]) -> list[str]:
    """What each of the cells prints, run one after the other."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    with asyncio.Runner() as runner:
        for number, source in enumerate(cells, 1):
            code = compile(source, f"<cell {number}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with contextlib.redirect_stdout(io.StringIO()) as stream:
                result = eval(code, namespace)  # a page of ours
                if inspect.iscoroutine(result):
                    runner.run(result)
            outputs.append(stream.getvalue())
    return outputs


def processor() -> str:
    """The kind of arithmetic that models run with here, such as AVX2."""
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Its cells of code, in order."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def recorded_output(cell: dict[str, Any]) -> str:
    """What a cell printed when its outputs were written."""
    return "".join("".join(output["text"]) for output in cell["outputs"])


def source(cell: dict[str, Any]) -> str:
    """A cell's code."""
    return "".join(cell["source"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    args = parser.parse_args()
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        cells = code_cells(notebook)
        outputs = printed([source(cell) for cell in cells])
        pairs = [(recorded_output(cell), text) for cell, text in zip(cells, outputs, strict=True)]
        here = notebook["metadata"].get("processor") == processor()
        wrong = [n for n, (a, b) in enumerate(pairs, 1) if (a != b if here else bool(a) != bool(b))]
        if args.check and wrong:
            sys.exit(f"{path.name}: cell {wrong[0]} prints something else")
        notebook["metadata"]["processor"] = processor()
        for number, (cell, text) in enumerate(zip(cells, outputs, strict=True), 1):
            stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(True)}
            cell["outputs"] = [stream] if text else []
            cell["execution_count"] = number
        if not args.check:
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: {len(cells)} cells")


if __name__ == "__main__":
    main()
