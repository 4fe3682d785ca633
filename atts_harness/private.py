"""Files that only the user may read: prompts, replies and logs.

Folders are made with mode 0700 and files with 0600. A symbolic link in the place of a file is not
followed: on a shared machine somebody else may have put it there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def make_folder(path: Path, *, link: bool = False) -> None:
    """Make a folder that only its owner may read.

    Args:
        path: the folder; one that is there stays as it is.
        link: it may be a symbolic link, as a folder that the user named may.

    Raises:
        OSError: it cannot be made, or a link stands there.
    """
    if not link and path.is_symlink():
        raise OSError(f"{path} is a symbolic link")
    path.mkdir(parents=True, exist_ok=True, mode=0o700)


def append_to(path: Path) -> int:
    """A descriptor that writes to the end of a file of the user's own.

    Args:
        path: made if it is not there; one that is there becomes the user's alone.

    Raises:
        OSError: a link, no plain file, another user's, or it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise OSError(f"{path} is not a plain file")
        if state.st_uid != os.geteuid():
            raise OSError(f"{path} belongs to another user")
        os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
