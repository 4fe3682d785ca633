"""`--redo`: cells are forgotten and run again; what they had is kept aside."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from atts_harness.comparing.status import Folder, Status
from atts_harness.errors import UnknownSettingError


def aside(folder: Path) -> Path:
    """Where the old files of restarted cells go: beside the folder, where no report finds them."""
    return folder.with_name(f"{folder.name}.aside")


def start_afresh(folder: Folder, status: Status | None, patterns: Sequence[str]) -> list[str]:
    """Reset cells, and cells that take their rate from them; their old folders are moved aside.

    Args:
        folder: the comparison's.
        status: as read from it.
        patterns: cells' names, with `*` for anything.

    Returns:
        The names of the cells.

    Raises:
        UnknownSettingError: no cell matches a pattern.
    """
    if not patterns:
        return []
    cells = [] if status is None else [*status.cells, *status.dropped]
    reset: set[str] = set()
    for pattern in patterns:
        matches = {cell.name for cell in cells if fnmatch.fnmatchcase(cell.name, pattern)}
        if not matches:
            raise UnknownSettingError(
                pattern, [cell.name for cell in cells], source="--redo", what="cell"
            )
        reset |= matches
    reset |= {cell.name for cell in cells if cell.needs in reset}
    assert status is not None
    for cell in cells:
        cell_folder = folder.path / cell.folder
        if cell.name in reset and cell_folder.exists():
            place = aside(folder.path) / cell.name
            number = 1
            while (kept_folder := place.with_name(f"{place.name}.{number}")).exists():
                number += 1
            kept_folder.parent.mkdir(parents=True, exist_ok=True)
            cell_folder.rename(kept_folder)
    status.cells = [cell for cell in status.cells if cell.name not in reset]
    status.dropped = [cell for cell in status.dropped if cell.name not in reset]
    folder.write(status)
    return sorted(reset)
