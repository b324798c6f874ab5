"""What a program says beside a request: the words of our HTTP headers as keyword arguments. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal, TypedDict

import msgspec

from turnout.errors import InvalidRequest

__all__ = ["Controls", "body_of", "headers_of"]

_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f]")

_IN_TAGS = re.compile(r"[,\x00-\x1f\x7f]")
"""What a tag cannot hold: a comma parts two of them."""


class Controls(TypedDict, total=False):
    """All may be left out (docs/http.md says what each does). `feature` is the tag of that name; `max_cost_usd` US
    dollars; `key` a virtual key, needed once the config or the store has one; `headers`: whatever else a client would
    send, such as `anthropic-beta`."""

    mode: str
    session: str
    feature: str
    tags: Mapping[str, str]
    quality: float
    latency: Literal["interactive", "batch"]
    max_cost_usd: Decimal | float | str
    cache: Literal["on", "refresh", "off"]
    key: str
    headers: Mapping[str, str]


_WORDS = ("mode", "session", "quality", "latency", "max_cost_usd", "cache")
"""Controls that are a header each: `max_cost_usd` is `x-turnout-max-cost-usd`."""


def headers_of(controls: Controls) -> dict[str, str]:
    """The headers that say the same. Raises InvalidRequest for what no header can say, and for a control that does not
    exist: a misspelt limit must not go unheard."""
    headers = {name.lower(): value for name, value in controls.get("headers", {}).items()}
    for name, value in controls.items():
        if name in _WORDS:
            headers[f"x-turnout-{name.replace('_', '-')}"] = _written(name, value)
        elif name not in Controls.__annotations__:
            known = ", ".join(sorted(Controls.__annotations__))
            raise InvalidRequest(f"{name} is no control; there are {known}", param=name)
    tags = dict(controls.get("tags", {}))
    if "feature" in controls:
        tags["feature"] = controls["feature"]
    if tags:
        headers["x-turnout-tags"] = ",".join(_tag(name, value) for name, value in tags.items())
    if "key" in controls:
        headers["authorization"] = f"Bearer {_written('key', controls['key'])}"
    return headers


def body_of(told: Mapping[str, object], *, stream: bool) -> bytes:
    """A request as the bytes that a client would send. Raises InvalidRequest for what is no JSON."""
    if told.get("stream") and not stream:
        raise InvalidRequest("stream: ask for a stream with .stream(...) in place of a call", param="stream")
    try:
        return msgspec.json.encode({**told, "stream": True} if stream else told)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"the request is no JSON: {error}") from None


def _written(name: str, value: object) -> str:
    text = str(value)
    if _UNWRITABLE.search(text):
        raise InvalidRequest(f"{name} holds a line break or the like; leave that out", param=name)
    return text


def _tag(name: str, value: str) -> str:
    if _IN_TAGS.search(name + value) or "=" in name:
        raise InvalidRequest(f"tag {name!r}: neither name nor value may hold a comma or a line break", param="tags")
    return f"{name}={value}"
