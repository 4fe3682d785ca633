"""Addresses of servers: what a user gives as one, and how one is written."""

from __future__ import annotations

from urllib.parse import urlsplit

from atts_harness.errors import SettingError

API = "/v1"


def base_address(url: str, name: str) -> str:
    """The address that an engine's routes stand behind, without the API's `/v1`.

    Args:
        url: as given.
        name: the setting that it came from.

    Raises:
        SettingError: it is no address; says how to write it.
    """
    given = url.strip()
    scheme, divider, rest = given.partition("://")
    if not divider:
        raise SettingError(
            f"{name}: {url!r} is no address: it has no scheme; write http://{given.lstrip('/')}"
        )
    if scheme not in ("http", "https"):
        raise SettingError(f"{name}: {url!r} is no address; write http://HOST:PORT")
    place = rest.partition("/")[0].rpartition("@")[2]
    if place.count(":") > 1 and not place.startswith("["):
        raise SettingError(
            f"{name}: {url!r}: an IPv6 address stands in brackets, as in http://[::1]:8000"
        )
    try:
        parts = urlsplit(given)
        host, _ = parts.hostname, parts.port  # reading the port checks it
    except ValueError as error:
        raise SettingError(f"{name}: {url!r}: {error}; write http://HOST:PORT") from error
    if not host:
        raise SettingError(f"{name}: {url!r} names no host; write http://HOST:PORT")
    return given.rstrip("/").removesuffix(API).rstrip("/")


def address(host: str, port: int) -> str:
    """`http://HOST:PORT`, an IPv6 address in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
