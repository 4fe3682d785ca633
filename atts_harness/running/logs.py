"""The run's log file, without secrets; texts of prompts and replies are never logged at INFO."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from atts_harness.neutral import plain
from atts_harness.private import append_to
from atts_harness.secrecy import HIDDEN, hide

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
SHORTEST = 8  # a shorter value would hide half the log

_SECRET = re.compile(
    r"(?i)(\b(?:sk|hf|ghp|xox[abp])[-_][\w-]{8,}"
    r"|\bbearer\s+[\w.~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|\b(?:api[-_]?key|token|password|secret|authorization)\b[\"']?\s*[=:]\s*[\"']?(?:bearer\s+)?[^\s\"',;&]{4,})"
)
_SECRET_NAME = re.compile(r"(?i)(api_?key|secret|password|token)$")


def redact(text: str) -> str:
    """`text` without keys that were sent, texts that look like keys, and secret variables."""
    text = hide(text)
    for name, value in os.environ.items():
        if len(value) >= SHORTEST and _SECRET_NAME.search(name):
            text = text.replace(value, HIDDEN)
    return _SECRET.sub(HIDDEN, text)


class Redacting(logging.Formatter):
    """Formats a record and hides secrets in the result, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return plain(redact(super().format(record)))


@contextlib.contextmanager
def log_to(path: Path | None) -> Iterator[None]:
    """Append what the project logs, from DEBUG on, to a file while the block runs.

    Args:
        path: of the file; None: no file.
    """
    if path is None:
        yield
        return
    logger = logging.getLogger("atts_harness")
    stream = os.fdopen(append_to(path), "a", encoding="utf-8")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Redacting(FORMAT))
    handler.setLevel(logging.DEBUG)
    before = logger.level
    # Other handlers keep their level; only the file gets everything.
    quiet = _Threshold(logger.getEffectiveLevel())
    others = [h for h in (*logger.handlers, *logging.getLogger().handlers) if h is not handler]
    for other in others:
        other.addFilter(quiet)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
        stream.close()
        for other in others:
            other.removeFilter(quiet)


class _Threshold(logging.Filter):
    """Lets through what the logger let through before it was opened for the file."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.name.startswith("atts_harness") or record.levelno >= self._level
