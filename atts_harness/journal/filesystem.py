"""The file system of a folder, and what it means for a journal in it.

SQLite's write-ahead log needs shared memory and locks that hold between all processes that use the
file. Network file systems promise neither (sqlite.org/wal.html, section 1; sqlite.org/faq.html,
question 5). A file system in memory, or a container's own layer, is gone with it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Lasting = Literal["local", "network", "memory", "container", "unknown"]

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "lustre", "gpfs", "beegfs"),
        *("glusterfs", "orangefs", "pvfs2", "ocfs2", "gfs2", "panfs", "wekafs", "quobyte", "ncpfs"),
        *("virtiofs", "vboxsf", "prl_fs", "webdav", "davfs"),
    }
)
IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
LAYERS = frozenset({"overlay", "aufs"})
# FUSE file systems on a disk of this machine; all others count as remote.
LOCAL_FUSE = frozenset({"fuseblk", "fuse.ntfs-3g", "fuse.ext2", "fuse.mergerfs", "fuse.bindfs"})

MEANING: dict[Lasting, str] = {
    "local": "a disk of this machine: the journal is safe here",
    "network": (
        "a network file system: its locks cannot be trusted, and SQLite's write-ahead log is not "
        "made for it; a journal may be damaged here"
    ),
    "memory": "memory: all of it is gone when the machine is restarted",
    "container": "the layer of a container: all of it is gone with the container",
    "unknown": "this system does not say what kind it is",
}
REMEDY: dict[Lasting, str] = {
    "local": "",
    "network": "use a run_dir on a disk of this machine, and copy it afterwards",
    "memory": "use a run_dir on a disk for what is to be kept",
    "container": "mount a disk of the machine there for what is to be kept",
    "unknown": "make sure that it is not a network file system",
}


@dataclass(frozen=True)
class FileSystem:
    """The file system of a folder.

    Attributes:
        kind: the system's name for it, such as `ext4` or `nfs4`; "" if unknown.
        mounted: on which folder it is mounted.
        lasting: what that means for files in it.
        free: bytes that its user may still write.
    """

    kind: str
    mounted: str
    lasting: Lasting
    free: int

    def __str__(self) -> str:
        name = f"{self.kind}, mounted on {self.mounted}" if self.kind else "no kind is known"
        return f"{name}: {MEANING[self.lasting]}"

    @property
    def remedy(self) -> str:
        """What to do about it; empty if nothing is needed."""
        return REMEDY[self.lasting]


def file_system(path: Path, mounts: Path = MOUNTS) -> FileSystem:
    """The file system of a folder, which need not exist yet.

    Args:
        path: of the folder.
        mounts: Linux's list of mounts.

    Raises:
        OSError: the folder cannot be examined.
    """
    existing = whole = path.resolve()
    while not existing.exists():
        existing = existing.parent
    space = os.statvfs(existing)
    kind, mounted = _mount_of(whole, mounts)
    return FileSystem(kind, mounted, _lasting(kind), space.f_bavail * space.f_frsize)


def _lasting(kind: str) -> Lasting:
    if not kind:
        return "unknown"
    if kind in NETWORK or (kind.startswith("fuse.") and kind not in LOCAL_FUSE):
        return "network"
    if kind in IN_MEMORY:
        return "memory"
    return "container" if kind in LAYERS else "local"


def _mount_of(path: Path, mounts: Path) -> tuple[str, str]:
    """Kind and place of the mount that a path is below; of several on one place, the last."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    kind, best = "", ""
    for line in lines:
        # proc_pid_mountinfo(5): the place is the fifth field, the kind the first behind " - ".
        front, dash, behind = line.partition(" - ")
        fields = front.split(" ")
        if not dash or len(fields) < 5 or not behind:
            continue
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if path.is_relative_to(place) and len(place) >= len(best):
            kind, best = behind.split(" ")[0], place
    return kind, best
