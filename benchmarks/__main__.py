"""Everything that is timed, one script after the other: `make bench`, `make docs`.

Each script stands on its own and says in its first lines how to run it alone. `--docs` runs those
that write what the documentation quotes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
# These take their own time: `make bench-ray`, `make bench-engines`, `make bench-strategies`,
# `make docs`.
APART = {"cluster", "engines", "pays", "strategies", "statistics"}
DOCS = ("strategies/__main__.py", "conformal/__main__.py", "statistics/__main__.py")


def scripts() -> list[Path]:
    """Every script with a main of its own, in order of folders."""
    paths = sorted(HERE.glob("*/*.py"))
    return [
        path
        for path in paths
        if path.parent.name not in APART and '__name__ == "__main__"' in path.read_text()
    ]


def main() -> None:
    """Run them; a script that fails makes the exit status non-zero, and the others still run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", action="store_true", help="what writes documentation")
    parser.add_argument("--list", action="store_true", help="show the scripts only")
    args = parser.parse_args()
    paths = [HERE / name for name in DOCS] if args.docs else scripts()
    failed = []
    for path in paths:
        name = path.relative_to(HERE).with_suffix("").as_posix()
        print(f"== {name}", flush=True)
        if args.list:
            continue
        began = time.monotonic()
        module = f"benchmarks.{name.replace('/', '.')}".removesuffix(".__main__")
        status = subprocess.run([sys.executable, "-m", module], check=False).returncode
        print(f"== {name}: {time.monotonic() - began:.0f} s, status {status}", flush=True)
        if status:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
