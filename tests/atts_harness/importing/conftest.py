"""Makes `published_folders` and `published_traces` importable: tests are collected by path."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "conformal")]
