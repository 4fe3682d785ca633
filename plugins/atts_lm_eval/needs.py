"""Says whether a command needs lm-eval's own task files, whose index takes seconds to read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from atts_lm_eval import upstream


def needs_own_tasks(arguments: Sequence[str]) -> bool:
    """Whether a command of lm-eval's may need a task that lm-eval itself brings.

    It does not where every task is named and stands in a folder of an installed plugin or in
    `--include_path`. Whatever else a command asks (lists of tasks, patterns, files, a `--config`)
    is answered with yes.

    Args:
        arguments: of lm-eval's command.
    """
    if arguments[:1] and not arguments[0].startswith("-") and arguments[0] != "run":
        return True  # `ls`, `validate`
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--tasks", "-t", nargs="+", default=[])
    parser.add_argument("--include_path")
    parser.add_argument("--config", "-C")
    try:
        parsed, _ = parser.parse_known_args(list(arguments))
    except (argparse.ArgumentError, SystemExit):
        return True  # lm-eval says what is wrong with it
    names = [name.strip() for text in parsed.tasks for name in text.split(",") if name.strip()]
    if parsed.config is not None or not names:
        return True
    return not upstream.tasks_of_plugins(parsed.include_path).issuperset(names)
