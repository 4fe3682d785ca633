"""Where things lie on a node: as below the driver's working directory, in a folder of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from atts_harness.errors import SettingError

OUT = "out"
"""What a comparison's folder is called on a node, where it is not a relative path."""


class Paths:
    """Turns the driver's paths into a node's and back.

    Args:
        out: the comparison's folder.

    Raises:
        SettingError: it has a name that cannot be looked for in a command.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._moves = out.is_absolute() or ".." in out.parts
        if self._moves and re.fullmatch(r"[\w./+=@-]+", str(out), re.ASCII) is None:
            raise SettingError(
                f"out: {out} has characters that a command line may change; give a path below the "
                "working directory, or one of letters, digits and . _ - + = @"
            )

    def remote(self, path: Path) -> str:
        """A path of the comparison on a node."""
        return str(Path(OUT) / path.relative_to(self._out)) if self._moves else str(path)

    def here(self, name: str) -> Path | None:
        """The driver's path of a file on a node; None: it is not part of the comparison."""
        folder = Path(OUT) if self._moves else self._out
        path = Path(name)
        if not path.is_relative_to(folder) or ".." in path.relative_to(folder).parts:
            return None
        return self._out / path.relative_to(folder)

    def arguments(self, arguments: Sequence[str]) -> list[str]:
        """A command as it is on a node."""
        if not self._moves:
            return list(arguments)
        whole = rf"(?<![\w./-]){re.escape(str(self._out))}(?=/)"
        return [re.sub(whole, OUT, text) for text in arguments]
