"""GPQA from the authors' own archive, for those without a Hub account.

The set asks not to be republished in plain text, so nothing of it is kept anywhere: the archive
is read in place and its rows live in memory only.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError

ZIP_VARIABLE = "ATTS_GPQA_ZIP"
PASSWORD_VARIABLE = "ATTS_GPQA_PASSWORD"
_MEMBER = "gpqa_diamond.csv"


def rows_from_zip(path: Path) -> list[Mapping[str, Any]]:
    """Rows of the diamond set.

    Args:
        path: the authors' `dataset.zip`.

    Returns:
        A mapping a row, under the CSV's column names.

    Raises:
        SettingError: no such file, no such member, or a wrong password.
    """
    password = os.environ.get(PASSWORD_VARIABLE, "")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(_MEMBER)]
            if not names:
                raise SettingError(f"{ZIP_VARIABLE}: {path} holds no {_MEMBER}")
            text = archive.read(names[0], pwd=password.encode() or None).decode("utf-8")
    except FileNotFoundError as error:
        raise SettingError(
            f"{ZIP_VARIABLE}: {path} is not there; it is dataset.zip of "
            "https://github.com/idavidrein/gpqa"
        ) from error
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise SettingError(
            f"{ZIP_VARIABLE}: {path} cannot be read ({error}); set {PASSWORD_VARIABLE} to the "
            "password that the authors print in the archive's README"
        ) from error
    return list(csv.DictReader(io.StringIO(text)))
