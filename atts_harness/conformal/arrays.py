"""Reads arrays in numpy's file formats; headers are checked before memory is allocated.

numpy makes an array as large as a header claims, and unpacks as much as an archive holds: a file
of 380 kB took 1.4 GB.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from atts_harness.errors import SettingError
from atts_harness.files import decode

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

MOST_SCORES = 1_000_000
MOST_BYTES = 1 << 26
"""Largest bank, packed or unpacked: 64 MiB; a million scores as JSON take 40."""
COLUMNS = {"nonconformity": "f", "turn": "i", "question": "i"}
"""The columns of a bank, and the kind of their numbers."""


def read_array(content: bytes, path: Path) -> NDArray[np.generic]:
    """One row of numbers, from the content of an `.npy` file.

    Raises:
        SettingError: objects (a pickle), another shape, other things than numbers, too many or too
            few of them.
    """
    import numpy as np

    file = io.BytesIO(content)
    with _reading(path):
        version = np.lib.format.read_magic(file)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read(file)
    if dtype.hasobject:
        raise refuse_pickle(path)
    if len(shape) != 1 or dtype.kind not in "fiu":
        raise SettingError(
            f"bank={path}: an array of shape {shape} and type {dtype}; a bank is one row of numbers"
        )
    if shape[0] > MOST_SCORES:
        raise SettingError(f"bank={path}: {shape[0]} scores; a bank may have {MOST_SCORES}")
    remaining = len(content) - file.tell()
    if shape[0] * dtype.itemsize != remaining:
        raise SettingError(
            f"bank={path}: not a bank: its header promises {shape[0]} numbers of {dtype.itemsize} "
            f"bytes, and {remaining} bytes follow"
        )
    return np.frombuffer(content, dtype, offset=file.tell())


def read_npz(content: bytes, kind: type[T], path: Path) -> tuple[T, dict[str, list[Any]]]:
    """A bank's description and columns, from the content of an `.npz` file.

    Args:
        content: of the file.
        kind: the type of the description.
        path: the file, for messages.

    Raises:
        SettingError: not a bank, or too large.
    """
    with _reading(path), zipfile.ZipFile(io.BytesIO(content)) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sum(sizes.values()) > MOST_BYTES:
            raise SettingError(
                f"bank={path}: unpacks to {sum(sizes.values()) >> 20} MiB; a bank may have "
                f"{MOST_BYTES >> 20}"
            )
        files = {name: archive.read(f"{name}.npy") for name in (*COLUMNS, "about")}
    columns: dict[str, list[Any]] = {}
    for name, kind_of_column in COLUMNS.items():
        array = read_array(files[name], path)
        if array.dtype.kind != kind_of_column:
            raise SettingError(f"bank={path}: not a bank: {name} is of type {array.dtype}")
        columns[name] = array.tolist()
    about = read_array(files["about"], path).tobytes()
    return decode(about, kind, f"bank={path}: not a bank"), columns


def refuse_pickle(path: Path) -> SettingError:
    """The error for a pickle, with the two lines that convert it."""
    return SettingError(
        f"bank={path}: a pickle, which could run any code when read. If you trust it, convert it:\n"
        f"  import json, numpy; bank = numpy.load({str(path)!r}, allow_pickle=True)\n"
        f"  json.dump({{int(q): [float(p) for p in v] for q, v in getattr(bank, 'item', "
        f"lambda: bank)().items()}}, open({str(path.with_suffix('.json'))!r}, 'w'))"
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn any exception into one line: numpy and zipfile do not document what they raise."""
    try:
        yield
    except SettingError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise SettingError(f"bank={path}: not a bank: {reason}") from error
