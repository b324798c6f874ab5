"""Which proxy of the environment stands between us and a host. Pure: the environment is given.

The rules are those of curl and Python's own: HTTPS_PROXY, HTTP_PROXY and ALL_PROXY in either case, the lower case
first; NO_PROXY lists names (their subdomains too), addresses, networks, or `*`, names with a port or without.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from msgspec import Struct

from turnout.errors import UpstreamUnreachable
from turnout.providers.http.addresses import DEFAULT_PORTS, Target, basic

__all__ = ["Proxy", "proxy_for"]


class Proxy(Struct, frozen=True, kw_only=True):
    """`named` is the variable that names it, for messages; `authorization` is of its own `user:password@`."""

    named: str
    tls: bool
    host: str
    port: int
    authorization: str | None = None


def proxy_for(target: Target, environ: Mapping[str, str]) -> Proxy | None:
    """None: straight to the host, as always to this machine. Raises UpstreamUnreachable for a proxy of no use to us."""
    if target.local:
        return None
    for variable in ("https_proxy" if target.tls else "http_proxy", "all_proxy"):
        for name in (variable, variable.upper()):
            # A CGI server sets HTTP_PROXY from a caller's `Proxy` header (httpoxy.org).
            forged = name == "HTTP_PROXY" and "REQUEST_METHOD" in environ
            if not forged and (url := environ.get(name, "").strip()):
                return None if _exempt(target, environ) else _parsed(name, url)
    return None


def _parsed(name: str, url: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = None, None, None
    if parts is None or not host:
        raise UpstreamUnreachable(f"{name} is no URL of a proxy; correct or unset it")
    if parts.scheme not in DEFAULT_PORTS:
        raise UpstreamUnreachable(
            f"{name} names a proxy of a kind that is not spoken here (only http and https are); correct or unset it"
        )
    return Proxy(
        named=name,
        tls=parts.scheme == "https",
        host=host,
        port=port or DEFAULT_PORTS[parts.scheme],
        authorization=basic(parts.username, parts.password),
    )


def _exempt(target: Target, environ: Mapping[str, str]) -> bool:
    told = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    return any(_covers(entry, target) for entry in told.replace(",", " ").split())


def _covers(entry: str, target: Target) -> bool:
    if entry == "*":
        return True
    host = target.host.removesuffix(".")
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # one of them is a name
        name, colon, port = entry.lower().rpartition(":")
        if colon and port.isdigit():
            if int(port) != target.port:
                return False
            entry = name
        name = entry.lower().strip("[]").removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
