"""One line instead of a traceback, under lm-eval's command line.

lm-eval's own command lets every exception through to the interpreter. What this project raises
on purpose says in one line what is wrong and what to do; the traceback above it would bury that.
From Python (`simple_evaluate`, a notebook) exceptions stay what they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType

from atts_harness.errors import AttsError
from atts_lm_eval import ending, upstream

PROGRAMS = ("lm_eval", "lm-eval", "atts", "atts_harness")
"""Commands that run it, as scripts or by `python -m`. A process that only imports it is a program
of its own, and how that ends is not ours to decide."""


def install() -> None:
    """Print uncaught `AttsError`s as one line if lm-eval's command line is what runs.

    The exit status is the error's own, else that of every uncaught exception (1); without an
    error it is `ending`'s business.
    `ATTS_TRACEBACK=1` keeps tracebacks.
    """
    if not _is_command() or getattr(sys.excepthook, "of_atts", False):
        return
    ending.install()
    usual = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ending.broke()
        if isinstance(error, AttsError) and os.environ.get("ATTS_TRACEBACK") != "1":
            print(f"lm_eval: error: {error}", file=sys.stderr)
            raise SystemExit(error.exit_status)  # honoured in an excepthook
        else:
            usual(kind, error, trace)

    hook.of_atts = True  # type: ignore[attr-defined]
    sys.excepthook = hook


def _is_command() -> bool:
    program = Path(sys.argv[0])
    name = program.parent.name if program.name == "__main__.py" else program.stem
    return upstream.is_command() and name in PROGRAMS
