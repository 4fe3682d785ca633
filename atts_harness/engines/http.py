"""HTTP traffic with an engine: one session a backend, bytes in and out, typed errors.

There is no retrying here but of what met a connection that was just being closed (`connections`):
the role clients do it, and they must see every failure. A failure says by its type whether trying
again can help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from atts_harness.engines.replies import decode
from atts_harness.errors import (
    AttsError,
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    ContextLengthError,
    MalformedReplyError,
)

T = TypeVar("T")

CONNECT_SECONDS = 10.0
# Servers close idle connections after 5 s (uvicorn's default), so ours are dropped earlier.
KEEP_ALIVE_SECONDS = 3.0
LONGEST_MESSAGE = 300
RETRYABLE_STATUS = frozenset({408, 409, 425, 429})

_TOO_LONG = re.compile(
    r"context length|maximum context|context window|max_model_len|maximum model length|"
    r"longer than the model|max_seq_len|too many tokens|"
    r"exceeds? the (?:maximum|available) (?:allowed )?(?:length|tokens|context)",
    re.IGNORECASE,
)


class EngineHttp:
    """A connection pool to one server.

    Args:
        url: base address, without a trailing slash.
        name: the setting it came from (`target_url`); errors name it.
        headers: sent with every request.
        timeout: seconds a request may take; None: the caller limits it.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "url",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        import aiohttp

        from atts_harness.engines.connections import Connector

        self.url = url.rstrip("/")
        self.name = name
        self.sent_bytes = 0
        self.received_bytes = 0
        self._session = aiohttp.ClientSession(
            connector=Connector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),  # an engine has no sessions, and looking costs
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    async def get(self, path: str, kind: type[T] | msgspec.json.Decoder[T]) -> T:
        """GET, decoded by schema. Errors as `post`."""
        return decode(await self.exchange("GET", path), kind, f"GET {path}")

    async def post(self, path: str, payload: Any, kind: type[T] | msgspec.json.Decoder[T]) -> T:
        """POST JSON, decoded by schema.

        Raises:
            BackendUnavailableError: not reachable, overloaded, restarting, broken off.
            BackendTimeoutError: slower than `timeout`.
            MalformedReplyError: a reply that breaks off or does not fit the schema.
            ContextLengthError: refused for its length.
            BadRequestError: refused for another reason.
        """
        body = msgspec.json.encode(payload)
        return decode(await self.exchange("POST", path, body), kind, f"POST {path}")

    async def exchange(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request and the bytes of a good reply. Errors as `post`."""
        import aiohttp

        from atts_harness.engines.connections import request

        where = f"{self.name}: {method} {self.url}{path}"
        self.sent_bytes += len(body or b"")
        try:
            async with await request(self._session, method, self.url + path, body) as response:
                content = await response.read()
                self.received_bytes += len(content)
                if response.status < 300:
                    return content
                raise _refusal(where, response.status, response.headers, content)
        except TimeoutError as error:
            raise BackendTimeoutError(f"{where}: no reply in time") from error
        except aiohttp.ClientPayloadError as error:
            raise MalformedReplyError(f"{where}: the reply breaks off: {error}") from error
        except aiohttp.InvalidURL as error:
            raise BadRequestError(f"{where}: not a valid URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailableError(
                f"{where}: {_first_line(str(error) or repr(error))}"
            ) from error

    async def aclose(self) -> None:
        """Close every connection; requests in flight break off."""
        await self._session.close()


def _refusal(where: str, status: int, headers: Mapping[str, str], content: bytes) -> AttsError:
    said = error_message(content)
    if status in RETRYABLE_STATUS or status >= 500:
        return BackendUnavailableError(f"{where}: {status} {said}", _retry_after(headers))
    if _TOO_LONG.search(said):
        return ContextLengthError(f"{where}: {status} {said}")
    if status in (401, 403):
        said += (
            " (give the server's key or headers in the environment: `headers_env`, `api_key_env`)"
        )
    return BadRequestError(f"{where}: {status} {said}")


def error_message(content: bytes) -> str:
    """What an error body says, in one line, whatever its shape.

    Seen: `{"error": {"message": m}}`, `{"error": m}`, `{"object": "error", "message": m}`,
    `{"detail": m}`, `{"detail": [{"msg": m}, ...]}`, plain text, HTML, nothing.
    """
    try:
        body: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        text = re.sub(r"<[^>]*>", " ", content.decode("utf-8", "replace"))
        return _first_line(text) or "(no message)"
    return _first_line(_find_message(body) or content.decode("utf-8", "replace"))


def _find_message(body: Any) -> str:
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_find_message, body)))
    if isinstance(body, dict):
        for key in ("error", "message", "msg", "detail"):
            if found := _find_message(body.get(key)):
                return found
    return ""


def _first_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None  # a date, or nothing; the caller's own pause will do
    return seconds if 0 <= seconds < 3600 else None
