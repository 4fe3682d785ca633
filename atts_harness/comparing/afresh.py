"""`--redo`: cells are forgotten and run again; what they had is kept aside."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path

from atts_harness.comparing.status import Folder, Status
from atts_harness.errors import UnknownSettingError


def aside(folder: Path) -> Path:
    """Where cells go that are started afresh: beside the folder, where no report of it looks."""
    return folder.with_name(f"{folder.name}.aside")


def start_afresh(folder: Folder, status: Status | None, patterns: Sequence[str]) -> list[str]:
    """Reset cells, and cells that take their rate from them; their folders are kept aside.

    Args:
        folder: the comparison's.
        status: as read from it.
        patterns: cells' names, with `*` for anything.

    Returns:
        The names of the cells.

    Raises:
        UnknownSettingError: a pattern that is no cell's.
    """
    if not patterns:
        return []
    known = [] if status is None else [*status.cells, *status.dropped]
    chosen: set[str] = set()
    for pattern in patterns:
        found = {cell.name for cell in known if fnmatch.fnmatchcase(cell.name, pattern)}
        if not found:
            raise UnknownSettingError(pattern, [cell.name for cell in known], where="--redo")
        chosen |= found
    chosen |= {cell.name for cell in known if cell.needs in chosen}
    assert status is not None
    for cell in known:
        old = folder.path / cell.folder
        if cell.name in chosen and old.exists():
            place = aside(folder.path) / cell.name
            number = 1
            while (new := place.with_name(f"{place.name}.{number}")).exists():
                number += 1
            new.parent.mkdir(parents=True, exist_ok=True)
            old.rename(new)
    status.cells = [cell for cell in status.cells if cell.name not in chosen]
    status.dropped = [cell for cell in status.dropped if cell.name not in chosen]
    folder.write(status)
    return sorted(chosen)
