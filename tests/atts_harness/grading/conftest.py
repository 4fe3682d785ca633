"""Shared data and modules of this folder that are not tests."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from atts_harness.grading.workers import Grader

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def load(path: Path) -> ModuleType:
    """A module by its file; tests are not a package."""
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def hand_checked():
    return load(HERE / "hand_checked.py")


@pytest.fixture(scope="session")
def load_benchmark():
    """A module of benchmarks/grading by its name; they import each other."""
    folder = ROOT / "benchmarks" / "grading"

    def loaded(name: str) -> ModuleType:
        sys.path.insert(0, str(folder))
        try:
            return load(folder / f"{name}.py")
        finally:
            sys.path.remove(str(folder))

    return loaded


@pytest.fixture(scope="session")
def golds_benchmark(load_benchmark):
    return load_benchmark("golds")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def shared():
    folder = Path(os.environ.get("ATTS_SHARED_DIR", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared test data is not at {folder}; set ATTS_SHARED_DIR")
    return folder


@pytest.fixture(scope="session")
def grader():
    """A pool with a limit that a loaded machine does not run into."""
    pool = Grader(workers=2, seconds=60.0)
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def hasty():
    """A pool with a short limit, for what is meant to run into it."""
    pool = Grader(workers=2, seconds=2.0)
    yield pool
    pool.close()
