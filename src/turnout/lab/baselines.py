"""What recorded sessions would have cost with one model for everything, cached and not. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.prices import Price, cost_nano_usd
from turnout.chat import Usage
from turnout.dialects.base import Dialect
from turnout.lab.sessions import Session, requests_of, usage_of
from turnout.providers.recorded import PromptCache, chain_of

__all__ = ["Bill", "price_session"]


class Bill(Struct, frozen=True, kw_only=True):
    """Tokens and nano-dollars. `estimated`: some of the tokens were not recorded."""

    input: int = 0
    cached: int = 0
    output: int = 0
    uncached_nano_usd: int = 0
    cached_nano_usd: int = 0
    estimated: bool = False

    @staticmethod
    def sum(bills: Iterable[Bill]) -> Bill:
        total = Bill()
        for bill in bills:
            total = Bill(
                input=total.input + bill.input,
                cached=total.cached + bill.cached,
                output=total.output + bill.output,
                uncached_nano_usd=total.uncached_nano_usd + bill.uncached_nano_usd,
                cached_nano_usd=total.cached_nano_usd + bill.cached_nano_usd,
                estimated=total.estimated or bill.estimated,
            )
        return total


def price_session(session: Session, price: Price, cache: PromptCache, openai_chat: Dialect) -> Bill:
    """The bill of a whole recorded session at `price`: without any cache, and with the provider's `cache` as the
    sessions priced before left it (they share system text and tools)."""
    bills: list[Bill] = []
    for step, recorded in zip(session.steps, requests_of(session), strict=True):
        told = usage_of(step, recorded)
        request = {"model": "baseline", "messages": recorded.messages}
        if recorded.tools:
            request["tools"] = recorded.tools
        chain = chain_of(openai_chat.decode_request(msgspec.json.encode(request)))
        use = cache.visit(chain, told.input)
        plain = Usage(input=told.input, output=told.output)
        bills.append(
            Bill(
                input=told.input,
                cached=use.read,
                output=told.output,
                uncached_nano_usd=cost_nano_usd(plain, price),
                cached_nano_usd=cost_nano_usd(replace(plain, cache_read=use.read, cache_write=use.write), price),
                estimated=told.estimated,
            )
        )
    return Bill.sum(bills)
