"""HTTP traffic with an engine: one session a backend, bytes in and out, typed errors.

Nothing is retried here, except a request that met a connection just as the server closed it
(`connections`): the role clients retry, and they must see every failure. The type of a failure
says whether trying again can help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from atts_harness.engines.replies import UNDECODABLE, decode
from atts_harness.errors import (
    AttsError,
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    ContextLengthError,
    MalformedReplyError,
    RefusedError,
)
from atts_harness.secrecy import hide, remember

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

CONNECT_SECONDS = 10.0
# Servers close idle connections after 5 s (uvicorn's default), so ours are dropped earlier.
KEEP_ALIVE_SECONDS = 3.0
LONGEST_MESSAGE = 300
DEEPEST_MESSAGE = 8
GATEWAY_STATUS = frozenset({502, 503, 504})  # of a router whose server may just be replaced
UNKNOWN_CLIENT = frozenset({401, 403})
RETRYABLE_STATUS = frozenset({408, 409, 425, 429})

LONGEST_REPLY = 64 << 20
"""Bytes; a score of 128k tokens takes 10 MB as vLLM writes it."""
LONGEST_REFUSAL = 1 << 16
# Codes by which servers say that a request is too long for the model.
TOO_LONG = frozenset({"context_length_exceeded", "input_tokens"})


class EngineHttp:
    """A connection pool to one server.

    Args:
        url: base address, without a trailing slash.
        name: the setting it came from (`target_url`); errors name it.
        headers: sent with every request; their values are hidden in every error.
        timeout: seconds a request may take; None: the caller limits it.
        longest: most bytes of a reply, after it was inflated.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "url",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        longest: int = LONGEST_REPLY,
    ) -> None:
        import aiohttp

        from atts_harness.engines import connections

        self._aiohttp, self._connections = aiohttp, connections
        self.url = url.rstrip("/")
        self.name = name
        self._longest = longest
        remember((headers or {}).values())
        self.sent_bytes = 0
        self.received_bytes = 0
        self._session = aiohttp.ClientSession(
            connector=connections.Connector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),  # an engine has no sessions, and looking costs
            headers={"Content-Type": "application/json", **(headers or {})},
        )

    async def get(self, path: str, kind: type[T] | msgspec.json.Decoder[T]) -> T:
        """GET, decoded by schema. Errors as `post`."""
        return self._decoded(await self.exchange("GET", path), kind, f"GET {path}")

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
        return self._decoded(await self.exchange("POST", path, body), kind, f"POST {path}")

    def _decoded(self, content: bytes, kind: type[T] | msgspec.json.Decoder[T], label: str) -> T:
        """Decode a good reply; the error quotes a page or an error sent with status 200."""
        try:
            return decode(content, kind, label)
        except MalformedReplyError as error:
            message = error_message(content)
            raise MalformedReplyError(
                f"{self.name}: {_one_line(str(error))}; the server said: {message}"
            ) from error

    async def exchange(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """One request and the bytes of a good reply. Errors as `post`."""
        url = self.url + path
        self.sent_bytes += len(body or b"")
        opened, send = self._connections.opened, self._session.request
        opened.set(False)
        try:
            # Redirects are not followed: they would take prompts and keys to another host.
            try:
                sent = await send(method, url, data=body, allow_redirects=False)
            except self._connections.ENDED as error:
                if opened.get() or self._connections.is_final(error):
                    raise
                sent = await send(method, url, data=body, allow_redirects=False)
            async with sent as response:
                good = response.status < 300
                content = await self._read(response, self._longest if good else LONGEST_REFUSAL)
                self.received_bytes += len(content)
                if not good:
                    raise self._refusal(
                        f"{self.name}: {method} {url}", response.status, response.headers, content
                    )
                if len(content) > self._longest:
                    raise MalformedReplyError(
                        f"{self.name}: {method} {url}: a reply of over {self._longest} bytes"
                    )
                return content
        except (self._aiohttp.ClientError, OSError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._session.closed:
                raise
            raise self._failure(f"{self.name}: {method} {url}", error) from error

    def _failure(self, request: str, error: Exception) -> AttsError:
        """The error for a request that failed; its type says whether trying again can help."""
        if isinstance(error, TimeoutError):
            return BackendTimeoutError(f"{request}: no reply in time")
        message = _one_line(str(error) or repr(error))
        if isinstance(error, self._aiohttp.ClientPayloadError):
            return MalformedReplyError(f"{request}: the reply breaks off: {message}")
        if isinstance(error, self._aiohttp.InvalidURL):
            return BadRequestError(f"{request}: not a valid URL")
        refused = isinstance(getattr(error, "os_error", None), ConnectionRefusedError)
        return BackendUnavailableError(f"{request}: {message}", absent=refused)

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        """The body; one of more than `most` bytes is not read to its end."""
        body = response.content
        content = await body.readany()
        if body.at_eof():  # as nearly every reply of a generation
            return content
        parts, size = [content], len(content)
        while size <= most and (part := await body.readany()):
            parts.append(part)
            size += len(part)
        if size > most:
            response.close()
        return b"".join(parts)

    def _refusal(
        self, request: str, status: int, headers: Mapping[str, str], content: bytes
    ) -> AttsError:
        message = error_message(content)
        if status in RETRYABLE_STATUS or status >= 500:
            return BackendUnavailableError(
                f"{request}: {status} {message}",
                _retry_after(headers),
                restarted=status in GATEWAY_STATUS,
            )
        if status < 400:
            location = _one_line(headers.get("Location", "nowhere"))
            return RefusedError(
                f"{request}: {status}, it redirects to {location}; redirects are not followed, "
                f"so give the final address as {self.name}",
                status,
            )
        if _codes(content) & TOO_LONG:
            return ContextLengthError(f"{request}: {status} {message}")
        text = f"{request}: {status} {message}"
        if status in UNKNOWN_CLIENT:
            text += (
                " (give the server's key or headers in the environment: `headers_env`, "
                "`api_key_env`)"
            )
        return RefusedError(text, status)

    async def aclose(self) -> None:
        """Close every connection; requests in flight break off."""
        await self._session.close()


def wants_key(error: AttsError) -> bool:
    """Whether a server refused a request because it lacks a key or header."""
    return isinstance(error, RefusedError) and error.status in UNKNOWN_CLIENT


def error_message(content: bytes) -> str:
    """The message of an error body of any shape, in one line.

    Seen: `{"error": {"message": m}}`, `{"error": m}`, `{"object": "error", "message": m}`,
    `{"detail": m}`, `{"detail": [{"msg": m}, ...]}`, plain text, HTML, nothing.
    """
    content = content[:LONGEST_REFUSAL]
    try:
        body: Any = msgspec.json.decode(content)
    except UNDECODABLE:
        text = re.sub(r"<[^<>]*>", " ", content.decode("utf-8", "replace"))
        return _one_line(text) or "(no message)"
    return _one_line(_find_message(body) or content.decode("utf-8", "replace"))


def _codes(content: bytes) -> set[str]:
    """The fields `code`, `type` and `param` of an error body."""
    try:
        body: Any = msgspec.json.decode(content)
    except UNDECODABLE:
        return set()
    inner = body.get("error", body) if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        return set()
    return {v for k in ("code", "type", "param") if isinstance(v := inner.get(k), str)}


def _find_message(body: Any, depth: int = 0) -> str:
    if isinstance(body, str):
        return body
    if depth > DEEPEST_MESSAGE:
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, [_find_message(part, depth + 1) for part in body]))
    if isinstance(body, dict):
        for key in ("error", "message", "msg", "detail"):
            if message := _find_message(body.get(key), depth + 1):
                return message
    return ""


def _one_line(text: str) -> str:
    # Secrets are hidden before the text is cut: half a key would not be recognised.
    line = hide(" ".join(text.split()))
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("Retry-After", ""))
    except ValueError:
        return None  # a date, or nothing; the caller's own pause will do
    return seconds if 0 <= seconds < 3600 else None
