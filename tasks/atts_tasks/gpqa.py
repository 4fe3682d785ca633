"""GPQA from the authors' own archive, for those without a Hub account.

The set asks not to be republished in plain text, so nothing of it is kept anywhere: the archive
is read in place and its rows live in memory only.
"""

from __future__ import annotations

import csv
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError
from atts_harness.files import read_file

ZIP_VARIABLE = "ATTS_GPQA_ZIP"
PASSWORD_VARIABLE = "ATTS_GPQA_PASSWORD"
MOST_BYTES = 1 << 26  # the set has 1.3 MB
_MEMBER = "gpqa_diamond.csv"
# RuntimeError (a wrong password) and NotImplementedError (a way of packing) come beside these.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, csv.Error)


def rows_from_zip(path: Path) -> list[Mapping[str, Any]]:
    """Rows of the diamond set.

    Args:
        path: the authors' `dataset.zip`.

    Returns:
        A mapping a row, under the CSV's column names.

    Raises:
        SettingError: no such file, no such member, a wrong password, damage, or one that is too
            large, packed or unpacked.
    """
    if not path.exists():
        raise SettingError(
            f"{ZIP_VARIABLE}: {path} is not there; it is dataset.zip of "
            "https://github.com/idavidrein/gpqa"
        )
    packed = read_file(path, f"{ZIP_VARIABLE}: {path}", MOST_BYTES)
    password = os.environ.get(PASSWORD_VARIABLE, "")
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            names = [name for name in archive.namelist() if name.endswith(_MEMBER)]
            if not names:
                raise SettingError(f"{ZIP_VARIABLE}: {path} holds no {_MEMBER}")
            # What the archive says of a size is not believed.
            with archive.open(names[0], pwd=password.encode() or None) as member:
                content = member.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SettingError(
                f"{ZIP_VARIABLE}: {path} unpacks to more than {MOST_BYTES >> 20} MiB, so it is not "
                "the authors' archive"
            )
        return list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
    except (*_DAMAGE, RuntimeError) as error:
        raise SettingError(
            f"{ZIP_VARIABLE}: {path} cannot be read ({error}); set {PASSWORD_VARIABLE} to the "
            "password that the authors print in the archive's README"
        ) from error
