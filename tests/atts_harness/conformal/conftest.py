"""Makes `published_traces` importable: the tests are collected by path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
