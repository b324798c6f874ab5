"""What a URL says about where a request goes. Pure."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

__all__ = ["DEFAULT_PORTS", "Target", "basic", "is_loopback", "target_of"]

DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[^\s\x00-\x20\x7f\"#%/:<>?@\[\\\]^`{|}]+")
"""A name or an IPv4 address: what no URL may hold in a host's place (WHATWG URL, forbidden host code points) is out."""

_PATH = "/%:@!$&'()*+,;=~-._[]"
_QUERY = _PATH + "?"


class Target(Struct, frozen=True, kw_only=True):
    """Where one request goes. `host` is as it is looked up, without brackets; `authority` as the `host` header has it.
    `path` begins with a slash, is percent-encoded and has the query. `authorization` is of `user:password@`."""

    tls: bool
    host: str
    port: int
    authority: str
    path: str
    local: bool
    authorization: str | None = None


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Raises ValueError for what is no http or https URL."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(parts.scheme)
    host, port = _host_of(parts), parts.port or DEFAULT_PORTS[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    query = f"?{quote(parts.query, _QUERY)}" if parts.query else ""
    return Target(
        tls=parts.scheme == "https",
        host=host,
        port=port,
        authority=name if port == DEFAULT_PORTS[parts.scheme] else f"{name}:{port}",
        path=quote(parts.path or "/", _PATH) + query,
        local=is_loopback(url),
        authorization=basic(parts.username, parts.password),
    )


@lru_cache(maxsize=1024)
def is_loopback(url: str) -> bool:
    """Whether `url` names this machine: `localhost`, 127.0.0.0/8 or ::1. False for what is no URL."""
    try:
        host = (urlsplit(url).hostname or "").removesuffix(".")
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, or brackets without an address in them
        return False


def basic(user: str | None, password: str | None) -> str | None:
    """The credentials of a URL as a header's value (RFC 7617); None where it has none."""
    if user is None and password is None:
        return None
    pair = f"{unquote(user or '')}:{unquote(password or '')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _host_of(parts: SplitResult) -> str:
    """A name in the form that is looked up (IDNA), or an address. Raises ValueError for neither."""
    host = parts.hostname or ""
    if ":" in host:
        return str(ip_address(host))
    if not _HOST.fullmatch(host):
        raise ValueError("no host")
    return host if host.isascii() else host.encode("idna").decode()
