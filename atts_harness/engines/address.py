"""Addresses of servers: reading the one that a user gives, and writing one."""

from __future__ import annotations

from urllib.parse import urlsplit

from atts_harness.errors import SettingError

API = "/v1"


def base_address(url: str, name: str) -> str:
    """The base address of an engine's routes, without the API's `/v1`.

    Args:
        url: as given.
        name: the setting that it came from.

    Raises:
        SettingError: it is not an address; the message says how to write it.
    """
    text = url.strip()
    scheme, divider, rest = text.partition("://")
    if not divider:
        raise SettingError(
            f"{name}: {url!r} is not an address: it has no scheme; write http://{text.lstrip('/')}"
        )
    if scheme not in ("http", "https"):
        raise SettingError(f"{name}: {url!r} is not an address; write http://HOST:PORT")
    host_port = rest.partition("/")[0].rpartition("@")[2]
    if host_port.count(":") > 1 and not host_port.startswith("["):
        raise SettingError(
            f"{name}: {url!r}: an IPv6 address stands in brackets, as in http://[::1]:8000"
        )
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError as error:
        raise SettingError(f"{name}: {url!r}: {error}; write http://HOST:PORT") from error
    if not host:
        raise SettingError(f"{name}: {url!r} names no host; write http://HOST:PORT")
    return text.rstrip("/").removesuffix(API).rstrip("/")


def address(host: str, port: int) -> str:
    """`http://HOST:PORT`, an IPv6 address in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
