"""The exceptions of the project. Each says what to do, and whether trying again can help.

    AttsError                       what this project raises on purpose
        SettingError                a setting that cannot be used; names the remedy
            UnknownSettingError     there is no such setting; names the nearest
            MissingExtraError       a package is not installed; names the extra
            ContextLengthError      does not fit a model's context window
        JournalError                the journal cannot be opened, written or replayed
            JournalMismatchError    the resumed run makes another request
            RunDirError             the run directory cannot be used
                JournalLostError    it was lost under a run
                DamagedJournalError it is damaged; can be repaired
        BackendError                an engine could not serve a request
            BackendUnavailableError gone, overloaded or restarting; try again
            MalformedReplyError     a reply that cannot be trusted; try again
            CutReplyError           a reply that ends too early
            BackendTimeoutError     no reply in time; try again
            BadRequestError         refused; trying again gives the same
                RefusedError        by the server, with its status
        StrategyError               a strategy breaks its contract; says how to keep it
        SampleFailedError           a sample failed for good
        RunIncompleteError          the run ended early; says how to resume
            RunInterruptedError     by a signal
            TooManyFailuresError    too many samples failed
            ModelChangedError       an engine came back as another model
            EngineGoneError         an engine did not come back

"Try again" is what `retryable` says.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from atts_harness.neutral import plain
from atts_harness.secrecy import hide

__all__ = [
    "SAMPLES_FAILED",
    "AttsError",
    "BackendError",
    "BackendTimeoutError",
    "BackendUnavailableError",
    "BadRequestError",
    "ContextLengthError",
    "CutReplyError",
    "EngineGoneError",
    "JournalError",
    "JournalMismatchError",
    "MalformedReplyError",
    "MissingExtraError",
    "ModelChangedError",
    "RefusedError",
    "RunDirError",
    "RunIncompleteError",
    "RunInterruptedError",
    "SampleFailedError",
    "SettingError",
    "StrategyError",
    "TooManyFailuresError",
    "UnknownSettingError",
]

SAMPLES_FAILED = 3
"""Exit status of a run in which every sample has a result, and some of them failed for good."""


class AttsError(Exception):
    """Base of every error this project raises on purpose. Secrets are taken out of its message.

    Attributes:
        retryable: True if the same call may succeed later (a busy or restarting engine).
        exit_status: of a process that it ends.
    """

    retryable: bool = False
    exit_status: int = 1

    def __str__(self) -> str:
        """Its message; names, paths and servers' words in it are harmless to show."""
        return plain(super().__str__())

    def __init__(self, message: str = "") -> None:
        super().__init__(hide(message))


class SettingError(AttsError):
    """A setting that cannot be used. The message names the setting and the remedy in one line."""


MOST_LISTED = 12
"""Most names that a message lists; for longer lists it names the command that shows them."""


class UnknownSettingError(SettingError):
    """An unknown setting, or an unknown name of something else; names the nearest that exist.

    Args:
        name: what was given.
        names: what exists.
        source: the setting, option or place that was given it.
        besides: what else may help.
        what: kind of thing that `name` names.
    """

    def __init__(
        self,
        name: str,
        names: Iterable[str],
        source: str = "model_args",
        besides: str = "",
        what: str = "setting",
    ) -> None:
        every = list(dict.fromkeys(names))
        near = difflib.get_close_matches(name, every, n=3, cutoff=0.5)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        elif 0 < len(every) <= MOST_LISTED:
            hint = f"there are: {', '.join(every)}"
        else:
            # A long list holds settings or registered names, which these commands show.
            hint = f"`atts {'options' if source == 'model_args' else 'plugins'}` lists what exists"
        also = f" ({besides})" if besides else ""
        super().__init__(f"{source}: unknown {what} {name!r}; {hint}{also}")
        self.name = name


class MissingExtraError(SettingError):
    """A package that a chosen part needs is not installed; names the extra that brings it."""

    def __init__(self, part: str, extra: str, package: str, instead: str = "") -> None:
        super().__init__(
            f"{part} needs the package {package!r}: pip install 'atts-harness[{extra}]'{instead}"
        )


class ContextLengthError(SettingError):
    """A request that does not fit a model's context window."""


class JournalError(AttsError):
    """The journal cannot be opened, written or replayed."""


class JournalMismatchError(JournalError):
    """A resumed run makes a request that differs from the recorded one; names the difference."""


class RunDirError(JournalError):
    """A run directory that cannot be used: of another run or version, locked, full, read-only."""


class DamagedJournalError(RunDirError):
    """A damaged record; the message names it and what to do."""


class JournalLostError(RunDirError):
    """The run directory was removed or renamed while a run wrote to it.

    Attributes:
        finished: the samples that the run had finished (`records.SampleRecord`), by their ids.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.finished: tuple[Any, ...] = ()


class BackendError(AttsError):
    """A backend could not serve a request."""


class BackendUnavailableError(BackendError):
    """Not reachable, overloaded or restarting: retryable.

    Attributes:
        retry_after: seconds the server asked to wait, or None.
        restarted: whether the engine may have been restarted. An engine that answered
            with an error of its own is still there.
        absent: whether nothing listens at its address any more, so that it is certainly gone.
    """

    retryable = True

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        restarted: bool = True,
        absent: bool = False,
    ) -> None:
        super().__init__(message)
        self.absent = absent
        self.retry_after = retry_after
        self.restarted = restarted


class MalformedReplyError(BackendError):
    """A reply that cannot be trusted (truncated, NaN, wrong length): retryable, never a number."""

    retryable = True


class CutReplyError(BackendError):
    """A model's reply that reached its token limit; asking again would cut it again."""


class BackendTimeoutError(BackendError):
    """No reply within the time limit: retryable."""

    retryable = True


class BadRequestError(BackendError):
    """The backend refused the request itself; trying again gives the same answer."""


class RefusedError(BadRequestError):
    """A server refused the request (status 400 to 499).

    The text of a refusal decides nothing. The role client checks requests before they are sent, so
    it tries again, and other calls to the engine show whether the request or the engine is at
    fault.

    Attributes:
        status: of the reply.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class StrategyError(AttsError):
    """A strategy that breaks its contract; the message says what it did and what to do instead."""


class SampleFailedError(AttsError):
    """A sample that failed for good; it is recorded, graded wrong and counted apart."""


class RunIncompleteError(AttsError):
    """The run ended before all samples were finished; the message says why and how to resume.

    Attributes:
        missing: the samples without a result, as `task/doc/repeat`.
        exit_status: for the process.
    """

    def __init__(self, message: str, missing: Iterable[str] = (), exit_status: int = 1) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.exit_status = exit_status


class RunInterruptedError(RunIncompleteError):
    """The run was stopped by a signal (exit status 128 + signal)."""


class TooManyFailuresError(RunIncompleteError):
    """More samples failed for good than `max_failures` allows."""


class ModelChangedError(RunIncompleteError):
    """An engine serves another model than when the run began; its replies are refused."""


class EngineGoneError(RunIncompleteError):
    """An engine did not come back within `engine_timeout`."""
