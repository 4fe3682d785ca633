"""On what file system a run directory lies, from what Linux says of its mounts."""

from pathlib import Path

import pytest

from atts_harness.journal.filesystem import MEANING, REMEDY, file_system


@pytest.fixture
def mounted(tmp_path):
    """A table of mounts with one on a folder of ours."""

    def mounted(kind, place=None):
        place = str(place or tmp_path / "here").replace(" ", "\\040")
        table = tmp_path / "mountinfo"
        table.write_text(
            "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
            f"22 21 0:30 /x {place} rw,nosuid - {kind} server:/export rw,vers=4.2\n"
            "half a line\n"
        )
        return table

    return mounted


@pytest.mark.parametrize(
    ("kind", "lasting"),
    [
        ("nfs4", "network"), ("lustre", "network"), ("fuse.sshfs", "network"), ("9p", "network"),
        ("ext4", "local"), ("xfs", "local"), ("fuseblk", "local"), ("fuse.mergerfs", "local"),
        ("tmpfs", "memory"), ("overlay", "container"),
    ],
)  # fmt: skip
def test_what_a_file_system_means_for_a_journal(mounted, tmp_path, kind, lasting):
    found = file_system(tmp_path / "here" / "run", mounted(kind))
    assert (found.kind, found.mounted, found.lasting) == (kind, str(tmp_path / "here"), lasting)
    assert str(found) == f"{kind}, mounted on {tmp_path / 'here'}: {MEANING[lasting]}"
    assert found.remedy == REMEDY[lasting]
    assert found.free > 0


def test_a_folder_lies_below_its_nearest_mount(mounted, tmp_path):
    table = mounted("nfs")
    assert file_system(tmp_path / "hereafter", table).kind == "ext4"  # no part of its name
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert file_system(tmp_path / "link", table).kind == "nfs"


def test_names_with_spaces_and_later_mounts_on_the_same_place(mounted, tmp_path):
    place = tmp_path / "a folder"
    table = mounted("cifs", place)
    assert file_system(place, table).lasting == "network"
    with table.open("a") as file:
        file.write(f"23 21 0:31 / {str(place).replace(' ', chr(92) + '040')} rw - xfs /dev/b rw\n")
    assert file_system(place, table).kind == "xfs"


def test_a_system_that_does_not_say(tmp_path):
    found = file_system(tmp_path, tmp_path / "absent")
    assert (found.kind, found.lasting) == ("", "unknown")
    assert str(found).startswith("no kind is known: this system does not say")


def test_this_system_says(tmp_path):
    if Path("/proc/self/mountinfo").exists():
        assert file_system(tmp_path).kind
