"""Why a server died, read from what it wrote and how it ended."""

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

# What stands before a line: a worker's name, a level, a time, a place in the code.
_BEFORE = re.compile(
    r"^(?:\(\w[^)]*pid=\d+\)\s*)?"
    r"(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+\d\d-\d\d \d\d:\d\d:\d\d \[[^\]]*\]\s*)?"
    r"(?:\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[^\]]*\]\s*)?"
)
_ERROR = re.compile(r"[\w.]*(?:Error|Exception)\b.*?:")
# How engines announce that they cannot go on; what they say next is why.
_FATAL = re.compile(r"encountered a fatal error|hit an exception|failed to start", re.IGNORECASE)
# A process of the engine that was ended from outside wrote nothing itself.
_WORKER = re.compile(r"died unexpectedly|exit code:? -9\b", re.IGNORECASE)
_TRACEBACK = "Traceback (most recent call last):"
# Between two tracebacks of which the first is the cause of the second.
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
# Lines that only say where to look. Where nothing else is said, nobody was left to say it.
_POINTS_ELSEWHERE = re.compile(r"see (?:the )?(?:root cause|stack trace)", re.IGNORECASE)


def why(log: str, causes: Sequence[Cause], status: int | None) -> tuple[str, str]:
    """What ended a server: the setting to blame, without its role, and the words for it.

    Args:
        log: what it wrote.
        causes: what that may say, most telling first; `COMMON_CAUSES` are looked for after them.
        status: its exit status, as its guardian tells it.
    """
    lines = [line for line in (_BEFORE.sub("", raw).strip() for raw in log.splitlines()) if line]
    fatal = _fatal(lines)
    # An engine that cannot go on may end itself by a signal, too.
    killed = None if fatal else _signal_of(status)
    how = f"was killed by signal {killed}, {MEMORY}" if killed else "failed"
    for cause in (*causes, *COMMON_CAUSES):
        found = [line for line in lines if re.search(cause.pattern, line, re.IGNORECASE)]
        if found:
            before = "; before that it said" if killed else ""
            return cause.setting, f"{how}{before}: {_shorten(found[-1])} - {cause.remedy}"
    if killed:
        return "", how
    if fatal:
        return "", f"ended with status {status}: {_shorten(fatal)}"
    last = (_last_error(lines) or lines or ["it wrote nothing"])[-1]
    gone = [line for line in lines if _WORKER.search(line)]
    if gone or _POINTS_ELSEWHERE.search(last):
        return "", f"lost one of its processes, {MEMORY}: {_shorten((gone or [last])[-1])}"
    return "", f"ended with status {status}: {_shorten(last)}"


def _fatal(lines: Sequence[str]) -> str | None:
    """The first error behind the line in which the engine says that it cannot go on."""
    for place, line in enumerate(lines):
        if _FATAL.search(line):
            return next((said for said in lines[place:] if _ERROR.match(said)), None)
    return None


def _last_error(lines: Sequence[str]) -> list[str]:
    """The error at the start of the last traceback; without one, all errors in the log."""
    first: list[str] = []
    for chain in _tracebacks(lines):
        said = [line for line in chain if _ERROR.match(line)]
        telling = [line for line in said if not _POINTS_ELSEWHERE.search(line)]
        first = telling[:1] or first or said[:1]
    if first:
        return first
    errors = [line for line in lines if _ERROR.match(line)]
    return [line for line in errors if not _POINTS_ELSEWHERE.search(line)] or errors


def _tracebacks(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """Stretches of lines from one traceback to the next that it did not cause."""
    began = None
    for place, line in enumerate(lines):
        if not line.endswith(_TRACEBACK):
            continue
        if began is not None and not any(c in lines[place - 1] for c in _CHAINED):
            yield lines[began:place]
            began = place
        began = place if began is None else began
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
