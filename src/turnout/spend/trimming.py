"""What leaving a part out of a conversation saves, after the cache that leaving it out breaks. Pure.

A conversation grows: request i is request i-1, the answer to it, and what came since. With a warm cache request i
reads what request i-1 sent and writes the rest. Let `P[i]` be the tokens of request i, `rho` the price of a token read
from the cache, `w` the price of one written (or of plain input where writing is not priced), and let a part of `x`
tokens stand behind `o` others since request s. Left out from request r on (r > s), request r matches the cache only up
to `o`: the tail behind the part, `P[r-1] - o - x` tokens, which would have been read, is written anew, once. Over the
k requests from r on this saves

    net = k * x * rho - (P[r-1] - o - x) * (w - rho),   so it pays from   k* = (P[r-1] - o - x) * (w - rho) / (x * rho)

requests on. Never sent at all (r = s), a part breaks nothing: it saves x * w once and x * rho in each request after.
Where a provider finds prefixes at marks alone, request r matches up to the last mark before the part, and the tail is
longer by what lies between. `bill` counts request by request, with the rule's minimum, its steps and the price's tiers:
its figures are exact where these formulas are not.

Assumed: the cache is warm from one request to the next (after a pause beyond the rule's lifetime nothing is left to
break), each request is marked at its end where marks are needed, and every mark is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from turnout.catalog.cache_rules import CacheRule, readable_tokens
from turnout.catalog.prices import Price, rates_for

__all__ = ["Billing", "Cut", "bill", "break_even", "nano"]


class Billing(Struct, frozen=True, kw_only=True):
    """At what price tokens are billed, and how they are cached."""

    price: Price
    rule: CacheRule

    def pico(self, matching: int, total: int) -> int:
        """The input of a request with `total` tokens whose first `matching` are in the cache, in pico-dollars."""
        read, write = self.rates(total)
        cached = readable_tokens(self.rule, min(matching, total))
        return cached * read + (total - cached) * write

    def rates(self, total: int) -> tuple[int, int]:
        """Pico-dollars for a token read from the cache, and for one that is not, in a request of that size."""
        rates, rule = rates_for(self.price, None, total), self.rule
        marks = rule.max_breakpoints > 0 and total >= rule.minimum_tokens
        write = rates.cache_write if marks and rates.cache_write is not None else rates.input
        return rates.input if rates.cache_read is None else rates.cache_read, write


class Cut(Struct, frozen=True, kw_only=True):
    """`tokens` that stand behind `offset` others since the request `first`, and are left out from the request `since`
    on; `since` is not before `first`."""

    offset: int
    tokens: int
    first: int
    since: int


def bill(
    totals: Sequence[int],
    billing: Billing,
    cuts: Sequence[Cut] = (),
    *,
    opening: Sequence[int] = (),
    intact: bool = False,
) -> int:
    """The input of requests of `totals` tokens with `cuts` made, in pico-dollars. `opening`: where the first request is
    marked before its end (behind the tools, behind the system text); what is left out later stands behind it.
    `intact`: as if no cut broke the cache."""
    starting: dict[int, list[Cut]] = {}
    for cut in cuts:
        starting.setdefault(cut.since, []).append(cut)
    by_marks = billing.rule.max_breakpoints > 0
    marks = [at - _gone(at, starting.get(0, ()), before=1) for at in opening] if by_marks else []
    cost = gone = before = 0
    for request, total in enumerate(totals):
        begun = starting.get(request, ())
        broken = [cut for cut in begun if cut.first < request]
        gone += sum(cut.tokens for cut in begun)
        matching = before
        if intact:
            matching -= sum(cut.tokens for cut in broken)
        elif broken:
            matching = min(cut.offset - _gone(cut.offset, cuts, before=request) for cut in broken)
            if by_marks:
                marks = [mark for mark in marks if mark <= matching]
                matching = marks[-1] if marks else 0
        before = total - gone
        cost += billing.pico(matching, before)
        if by_marks:
            marks.append(before)
    return cost


def _gone(offset: int, cuts: Sequence[Cut], *, before: int) -> int:
    """Tokens ahead of `offset` that were left out before that request."""
    return sum(cut.tokens for cut in cuts if cut.offset < offset and cut.since < before)


def break_even(cut: Cut, totals: Sequence[int], billing: Billing, opening: Sequence[int] = ()) -> int | None:
    """How many requests from `cut.since` on pay for the cache that the cut breaks; 0 where it breaks none, None where
    they never do. `cut.since` may be the request that comes after all of `totals`."""
    if cut.since <= cut.first or not totals:
        return 0
    sent = totals[cut.since - 1]
    found = cut.offset
    if billing.rule.max_breakpoints > 0:
        found = max((mark for mark in (*opening, *totals[: cut.since]) if mark <= cut.offset), default=0)
    read, write = billing.rates(sent)
    would_read, will_read = readable_tokens(billing.rule, sent), readable_tokens(billing.rule, found)
    lost = max(0, would_read - cut.tokens - will_read) * max(0, write - read)
    if not lost:
        return 0
    saved = cut.tokens * read
    return -(-lost // saved) if saved else None


def nano(pico: int) -> int:
    """Pico-dollars in whole nano-dollars."""
    return round(pico / 1_000)
