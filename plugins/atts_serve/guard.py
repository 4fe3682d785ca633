"""Who may ask: Host, Origin, Content-Type and key are checked before a body is read."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from atts_harness import neutral
from atts_harness.errors import AttsError, SettingError
from atts_harness.secrecy import remember
from atts_serve.defaults import KEY_VARIABLE
from atts_serve.refusal import Refusal, internal, refusal_of

logger = neutral.logger("atts_serve")

SHORTEST_KEY = 16
OPEN = frozenset({"/", "/health"})
OPEN_FOLDER = "/page/"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Door:
    """The checks that a request must pass before its body is read.

    Attributes:
        keys: the valid keys, of which a request needs one; empty: none is needed.
        hosts: names of this server, beside IP addresses.
        loopback: whether only this machine can reach it.
        body_bytes: most bytes of a body.
        body_seconds: most seconds until a body is there.
    """

    keys: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()
    loopback: bool = True
    body_bytes: int = 4 << 20
    body_seconds: float = 30.0

    def owner(self, request: web.Request) -> str:
        """The key that a request brought; empty where none is needed.

        Raises:
            Refusal: it brought none of them.
        """
        if not self.keys:
            return ""
        header = request.headers.get("Authorization", "")
        scheme, _, key = header.partition(" ")
        for accepted in self.keys:
            if scheme.lower() == "bearer" and hmac.compare_digest(
                key.strip().encode(errors="replace"), accepted.encode()
            ):
                return accepted
        raise Refusal(
            401,
            "a key is needed: Authorization: Bearer KEY",
            kind="authentication_error",
            code="invalid_api_key",
        )

    def check(self, request: web.Request) -> None:
        """Refuse requests that a foreign web page could send.

        Raises:
            Refusal: the name in `Host` is not this server's, or another site's page asks.
        """
        host = request.headers.get("Host", "")
        if not self._ours(_name(f"//{host}")):
            raise Refusal(403, "the name in Host is not one of this server's", code="foreign_host")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(403, "pages of other sites may not ask this server", code="foreign_page")

    def _ours(self, name: str) -> bool:
        if name == "localhost" or name in self.hosts:
            return True
        try:
            # Nobody can point a number here, as they can a name.
            return ipaddress.ip_address(name).is_loopback or not self.loopback
        except ValueError:
            return False

    async def body(self, request: web.Request) -> bytes:
        """A request's body.

        Raises:
            Refusal: not announced as JSON, too large, or too slow.
        """
        if request.content_type != "application/json":
            raise Refusal(
                415, "Content-Type must be application/json", code="unsupported_media_type"
            )
        too_large = Refusal(
            413, f"the body is larger than {self.body_bytes} bytes", code="body_too_large"
        )
        if (request.content_length or 0) > self.body_bytes:
            raise too_large
        try:
            async with asyncio.timeout(self.body_seconds):
                return await request.read()
        except TimeoutError as error:
            late = f"the body was not there within {self.body_seconds:g} s"
            raise Refusal(408, late, code="body_too_slow") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise too_large from error


def door_of(
    host: str, environment: Mapping[str, str], *, names: tuple[str, ...] = (), body_mib: float = 4
) -> Door:
    """The door of a server that listens on an address.

    Args:
        host: the address.
        environment: holds the keys, separated by commas.
        names: further names of the server.
        body_mib: most MiB of a body.

    Raises:
        SettingError: others can reach the address and there is no key, or one is too short.
    """
    keys = tuple(filter(None, map(str.strip, environment.get(KEY_VARIABLE, "").split(","))))
    if any(len(key) < SHORTEST_KEY or not key.isascii() for key in keys):
        raise SettingError(f"{KEY_VARIABLE}: a key needs at least {SHORTEST_KEY} ASCII characters")
    remember(keys)
    loopback = _is_loopback(host)
    if not loopback and not keys:
        raise SettingError(
            f"--host {host}: others can reach it; put a key into the environment variable "
            f"{KEY_VARIABLE}, or keep to 127.0.0.1"
        )
    hosts = frozenset(name.lower() for name in (*names, host))
    return Door(keys, hosts, loopback, int(body_mib * (1 << 20)))


def middleware(door: Door) -> Middleware:
    """Turns every error into OpenAI's error object, without details of the server."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            door.check(request)
            if request.path not in OPEN and not request.path.startswith(OPEN_FOLDER):
                door.owner(request)
            return await handler(request)
        except Refusal as refusal:
            return refused(refusal)
        except web.HTTPException as error:
            messages = {404: "there is nothing here", 405: "another method is needed"}
            return refused(Refusal(error.status, messages.get(error.status, error.reason)))
        except AttsError as error:
            logger.error("a request failed: %s", error)
            return refused(refusal_of(error))
        except Exception:
            logger.exception("a request failed")
            return refused(internal())

    return guarded


def refused(refusal: Refusal) -> web.Response:
    """The reply to a refused request; the rest of the request's body is not read."""
    reply = web.json_response(refusal.body(), status=refusal.status, headers=refusal.headers())
    if refusal.status in (408, 413):
        reply.force_close()
    return reply


def _name(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
