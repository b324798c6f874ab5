"""What HTTP headers may hold, and Turnout's own: a request's wishes, and what an answer tells of its making. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Literal

from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.context import RequestContext
from turnout.errors import InvalidRequest, TurnoutError

__all__ = ["Wishes", "answer_headers", "error_headers", "read_wishes", "sendable", "usd"]

_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110, 5.5."""


class Wishes(Struct, frozen=True, kw_only=True):
    quality: float | None = None
    latency: Literal["interactive", "batch"] = "interactive"
    max_cost_nano_usd: int | None = None


_WISHES = frozenset({"x-turnout-quality", "x-turnout-latency", "x-turnout-max-cost-usd"})
_NONE = Wishes()


def read_wishes(headers: Mapping[str, str]) -> Wishes:
    """The `x-turnout-quality`, `-latency` and `-max-cost-usd` headers. Raises InvalidRequest naming one."""
    if headers.keys().isdisjoint(_WISHES):
        return _NONE
    quality = _number(headers, "x-turnout-quality")
    if quality is not None and not 0 <= quality <= 1:
        raise _bad("x-turnout-quality", "a number from 0 to 1")
    limit = _number(headers, "x-turnout-max-cost-usd")
    if limit is not None and limit < 0:
        raise _bad("x-turnout-max-cost-usd", "a number of US dollars, not negative")
    latency = headers.get("x-turnout-latency", "interactive")
    if latency != "interactive" and latency != "batch":  # noqa: PLR1714 (narrows the type)
        raise _bad("x-turnout-latency", "interactive or batch")
    return Wishes(
        quality=None if quality is None else float(quality),
        latency=latency,
        max_cost_nano_usd=None if limit is None else int(limit * NANO_PER_USD),
    )


def _number(headers: Mapping[str, str], name: str) -> Decimal | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise _bad(name, "a number") from None
    if not number.is_finite() or number.copy_abs() > 10**9:
        raise _bad(name, "a finite number")
    return number


def _bad(name: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"header {name} must be {wanted}", param=name)


def answer_headers(ctx: RequestContext, provider_headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers of an answer. Cost is there only once it is known, so not on streams."""
    served = ctx.served_by
    headers = [
        *provider_headers,
        ("x-turnout-model", _ascii(served.id) if served else ""),
        ("x-turnout-reason", ctx.decision.reason if ctx.decision else ""),
        ("x-turnout-attempts", str(len(ctx.attempts))),
        ("x-turnout-session", _ascii(ctx.session.id)),
        ("x-turnout-cache", ctx.cache),
    ]
    if ctx.outcome != "open":
        headers.append(("x-turnout-cost-usd", usd(ctx.cost_nano_usd)))
    if ctx.overhead_s is not None:
        headers.append(("x-turnout-overhead-ms", f"{ctx.overhead_s * 1000:.2f}"))
    if ctx.warnings:
        headers.append(("x-turnout-warnings", _ascii("; ".join(ctx.warnings))[:2_000]))
    return headers


def usd(nano: int | None) -> str:
    """Exact US dollars as plain decimal text; `unpriced` where no price is known."""
    if nano is None:
        return "unpriced"
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    text = f"{whole}.{rest:09}".rstrip("0").removesuffix(".")
    return f"-{text}" if nano < 0 else text


def error_headers(error: TurnoutError) -> list[tuple[str, str]]:
    """Whether to try again, and after how many seconds: OpenAI's and Anthropic's SDKs ask this before they do so by
    themselves."""
    told = [("x-should-retry", "true" if error.retryable else "false")]
    if error.retry_after is not None:
        told.append(("retry-after", str(math.ceil(error.retry_after))))
    return told


def sendable(text: str) -> bool:
    """Whether a header may hold this."""
    return text.isprintable() or not _UNSENDABLE.search(text)  # the first is the faster, and mostly true


def _ascii(text: str) -> str:
    """Header-safe text: what is not printable ASCII becomes `?`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else "?" for c in text)
