"""The head of a request, as it goes over the wire. Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from turnout import __version__
from turnout.errors import UpstreamFailure
from turnout.headers import sendable
from turnout.providers.http.addresses import Target
from turnout.providers.http.proxies import Proxy
from turnout.providers.transport import UpstreamRequest

__all__ = ["head_of", "tunnel_head"]

USER_AGENT = f"turnout/{__version__}"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_OURS = frozenset({"content-length", "transfer-encoding", "expect"})
"""How long the body is, is seen by whoever sends it."""


def head_of(request: UpstreamRequest, target: Target, proxy: Proxy | None) -> bytes:
    """Up to and with the empty line. Of headers named twice the last counts. Through `proxy` the whole URL is asked for
    where there is no tunnel. Raises UpstreamFailure for headers that cannot be sent."""
    headers = dict(request.headers)
    if not sendable("".join(headers.values())):
        raise UpstreamFailure("a header for the provider holds a line break or the like; look at its api_key")
    _check_names(tuple(headers))
    relay = None if target.tls else proxy
    path = f"http://{target.authority}{target.path}" if relay else target.path
    lines = [f"{request.method} {path} HTTP/1.1", f"host: {headers.pop('host', target.authority)}"]
    if "user-agent" not in headers:
        lines.append(f"user-agent: {USER_AGENT}")
    if target.authorization and "authorization" not in headers:
        lines.append(f"authorization: {target.authorization}")
    if relay and relay.authorization:
        lines.append(f"proxy-authorization: {relay.authorization}")
    lines.extend([f"{name}: {value}" for name, value in headers.items() if name not in _OURS])
    if request.body or request.method == "POST":
        lines.append(f"content-length: {len(request.body)}")
    lines.append("\r\n")
    return _encoded("\r\n".join(lines))


def tunnel_head(target: Target, proxy: Proxy) -> bytes:
    """Asks `proxy` for a way to `target` (RFC 9110, 9.3.6)."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    lines = [f"CONNECT {host}:{target.port} HTTP/1.1", f"host: {host}:{target.port}", f"user-agent: {USER_AGENT}"]
    if proxy.authorization:
        lines.append(f"proxy-authorization: {proxy.authorization}")
    return _encoded("\r\n".join([*lines, "\r\n"]))


@lru_cache(maxsize=256)
def _check_names(names: tuple[str, ...]) -> None:
    for name in names:
        if not _TOKEN.fullmatch(name):
            raise UpstreamFailure(f"{name!r} is no name of a header; correct it in the provider's config")


def _encoded(head: str) -> bytes:
    try:
        return head.encode("latin-1")
    except UnicodeEncodeError:
        return head.encode()
