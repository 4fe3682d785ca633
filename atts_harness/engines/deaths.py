"""Why a server died, read from its log and its exit status."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

LONGEST_LINE = 240
MEMORY = "perhaps the machine ran out of memory"


@dataclass(frozen=True)
class Cause:
    """A line of a server's log that explains why it died.

    Attributes:
        pattern: what to look for, ignoring case.
        setting: the setting that is to blame, without the role.
        remedy: what to do.
    """

    pattern: str
    setting: str
    remedy: str


COMMON_CAUSES = (
    Cause(
        r"address already in use|errno 98",
        "port",
        "choose a free port, or leave it out for a free one",
    ),
    Cause(
        r"is not a local folder and is not a valid model identifier|repository not found|"
        r"couldn't connect to '?https://huggingface|cannot find the requested files|"
        r"is not a valid repository|config\.json.*(?:not exist|not found)|"
        r"invalid repository id or local directory",
        "",
        "give a model folder, or a hub id that this machine can reach",
    ),
    Cause(
        r"unrecognized arguments?|invalid choice|expected one argument|unexpected keyword argument",
        "server_args",
        "this version of the engine does not know it; see its `--help`",
    ),
)

# Before the text of a line: a worker's name, a level, a time, a place in the code.
_PREFIX = re.compile(
    r"^(?:\(\w[^)]*pid=\d+\)\s*)?"
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s*)?"
    r"(?:\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]*\]\s*)?"
)
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b.*?:")
# How engines announce that they cannot go on; the next error is the reason.
_FATAL = re.compile(r"encountered a fatal error|hit an exception|failed to start", re.IGNORECASE)
# A process of the engine that was ended from outside wrote nothing itself.
_WORKER = re.compile(r"died unexpectedly|exit code:? -9\b", re.IGNORECASE)
_TRACEBACK = "Traceback (most recent call last):"
# Between two tracebacks of which the first is the cause of the second.
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
# Lines that only say where to look. If there are no others, the failed process was killed.
_POINTS_ELSEWHERE = re.compile(r"see (?:the )?(?:root cause|stack trace)", re.IGNORECASE)


def cause_of_death(log: str, causes: Sequence[Cause], status: int | None) -> tuple[str, str]:
    """Why a server died: the setting to blame, without its role, and the reason in words.

    Args:
        log: what the server wrote.
        causes: lines to look for, most telling first; `COMMON_CAUSES` come after them.
        status: exit status of the server, as its guardian reports it.
    """
    lines = [line for line in (_PREFIX.sub("", raw).strip() for raw in log.splitlines()) if line]
    fatal = _fatal(lines)
    # An engine that cannot go on may also end itself by a signal.
    killed = None if fatal else _signal_of(status)
    ending = f"was killed by signal {killed}, {MEMORY}" if killed else "failed"
    for cause in (*causes, *COMMON_CAUSES):
        matches = [line for line in lines if re.search(cause.pattern, line, re.IGNORECASE)]
        if matches:
            before = "; before that it said" if killed else ""
            return cause.setting, f"{ending}{before}: {_shorten(matches[-1])} - {cause.remedy}"
    if killed:
        return "", ending
    if fatal:
        return "", f"ended with status {status}: {_shorten(fatal)}"
    last = (_last_error(lines) or lines or ["it wrote nothing"])[-1]
    gone = [line for line in lines if _WORKER.search(line)]
    if gone or _POINTS_ELSEWHERE.search(last):
        return "", f"lost one of its processes, {MEMORY}: {_shorten((gone or [last])[-1])}"
    return "", f"ended with status {status}: {_shorten(last)}"


def _fatal(lines: Sequence[str]) -> str | None:
    """The first error behind the line in which the engine says that it cannot go on."""
    for index, line in enumerate(lines):
        if _FATAL.search(line):
            return next((text for text in lines[index:] if _ERROR.match(text)), None)
    return None


def _last_error(lines: Sequence[str]) -> list[str]:
    """The error at the start of the last traceback; without one, all errors in the log."""
    first: list[str] = []
    for chain in _tracebacks(lines):
        error_lines = [line for line in chain if _ERROR.match(line)]
        telling = [line for line in error_lines if not _POINTS_ELSEWHERE.search(line)]
        first = telling[:1] or first or error_lines[:1]
    if first:
        return first
    errors = [line for line in lines if _ERROR.match(line)]
    return [line for line in errors if not _POINTS_ELSEWHERE.search(line)] or errors


def _tracebacks(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Stretches of lines from one traceback to the next that it did not cause."""
    began = None
    for index, line in enumerate(lines):
        if not line.endswith(_TRACEBACK):
            continue
        if began is not None and not any(c in lines[index - 1] for c in _CHAINED):
            yield lines[began:index]
            began = index
        began = index if began is None else began
    if began is not None:
        yield lines[began:]


def _signal_of(status: int | None) -> str | None:
    """The signal that ended a process: its guardian reports it as shells do, as 128 + number."""
    if status is None or not 128 < status < 128 + 65:
        return None
    number = status - 128
    try:
        return f"{number} ({signal.Signals(number).name})"
    except ValueError:
        return str(number)


def _shorten(line: str, limit: int = LONGEST_LINE) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"
