"""What a request is refused with, in OpenAI's error shape."""

from __future__ import annotations

from typing import Any

from atts_harness.errors import (
    AttsError,
    ContextLengthError,
    JournalMismatchError,
    RunIncompleteError,
    SettingError,
)

RETRY_SECONDS = 5


class Refusal(Exception):
    """A request that gets no answer.

    Attributes:
        status: of the reply.
        kind: OpenAI's `type`.
        code: for programs; None where there is none.
        param: the field that is at fault.
        retry_after: seconds after which trying again may help; None: it does not.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        kind: str = "invalid_request_error",
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The body of the response: OpenAI's error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def headers(self) -> dict[str, str]:
        """Of the reply."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """The error for a request that asks for something not offered, or is malformed."""
    return Refusal(400, message, code=code, param=param)


def busy(message: str, retry_after: int) -> Refusal:
    """The error for a full queue."""
    return Refusal(
        429,
        message,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after=retry_after,
    )


def conflict(message: str) -> Refusal:
    """The error for a name that is in use for something else."""
    return Refusal(409, message, code="conflict")


def internal() -> Refusal:
    """The error for an internal fault; the server's log says which."""
    return Refusal(500, "the server failed; its log says how", kind="server_error", code="internal")


def refusal_of(error: AttsError) -> Refusal:
    """The refusal for an error; words that may name a file stay in the log."""
    if isinstance(error, ContextLengthError):
        return bad(str(error), "messages", "context_length_exceeded")
    if isinstance(error, JournalMismatchError):
        return conflict("this sample is recorded with another question or on other terms")
    if isinstance(error, SettingError):
        return bad(
            "the request does not go together with how this model is served; the server's log "
            "says how"
        )
    if isinstance(error, RunIncompleteError):
        return Refusal(
            503,
            "an engine is not there, or the server is ending",
            kind="server_error",
            code="unavailable",
            retry_after=RETRY_SECONDS,
        )
    return internal()


def failed() -> Refusal:
    """The error for a sample that failed for good."""
    return Refusal(
        502,
        "an engine's reply was not what was requested; the server's log has it",
        kind="server_error",
        code="sample_failed",
    )
