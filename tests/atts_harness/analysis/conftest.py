"""Shared data of this folder's tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared():
    default = Path(__file__).parents[4] / "shared"
    folder = Path(os.environ.get("ATTS_SHARED_DIR", default)) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared test data is not at {folder}; set ATTS_SHARED_DIR")
    return folder
