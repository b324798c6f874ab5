"""Contexts of running conversations, looked at where `[context] report` asks for it: what is carried for nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

from msgspec import Struct

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.catalog.fleet import Fleet
from turnout.catalog.prices import NANO_PER_USD, Price
from turnout.chat import ChatRequest, Message, RequestOutline
from turnout.context import RequestContext
from turnout.dialects.base import Dialect
from turnout.dialects.ends import newest, opened
from turnout.errors import InvalidRequest
from turnout.routing.calibration import FAMILIES, family_of
from turnout.routing.tokens import approximate
from turnout.spend.hygiene import ContextTrail, Finding, Weights
from turnout.spend.trimming import Billing

__all__ = ["CONTEXT_NOTES", "Contexts", "Watched", "context_story", "tokens_of", "weights_of"]

CAPACITY = 500
"""Conversations remembered, those used last. `bench/hygiene.py` prints what one takes."""

SAMPLED_FROM = 2_048
SLICES, SLICE = 8, 128
"""Coarser than `routing/tokens.py` measures a request: a report of many messages adds up, and their errors cancel."""

UNPRICED = Billing(price=Price(input=0, output=0), rule=NO_CACHE)

CONTEXT_NOTES = (
    "nothing is left out of any request: this is a report. Tokens are estimates. unreferenced_result: no later word of "
    "the model has a word of it; a model can use what it does not quote. Savings are of what was sent so far, by list "
    "prices with a warm cache; break_even counts requests that pay for the cache that leaving out breaks (0: nothing "
    "breaks, null: they never do)"
)


class Watched(Struct, kw_only=True):
    """One agent's conversation. `seen`: how many of its messages (as the API counts them) the trail was fed with;
    `home`: the target that served it last, as far as its newest request knew."""

    session: str
    agent: str
    trail: ContextTrail
    seen: int = 0
    home: str | None = None


class Contexts:
    """Conversations by owner (a virtual key's name, or nothing), session and thread. One event loop owns a table."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._watched: OrderedDict[tuple[str, str, str], Watched] = OrderedDict()

    def __len__(self) -> int:
        return len(self._watched)

    def look(self, ctx: RequestContext, dialect: Dialect, start: int) -> Sequence[Message]:
        """One more request of a conversation whose messages from the wire's `start`-th on are new: these, decoded.
        Raises InvalidRequest."""
        key, outline = (ctx.key_id or "", ctx.session.id, ctx.session.thread), ctx.outline
        known = self._watched.get(key)
        if known is not None and start and known.seen == start:
            told = newest(dialect, outline, start)
            known.trail.step(told)
        else:  # it is new, was rewritten, or is met in its midst
            request = _whole(dialect, outline)
            known = Watched(
                session=ctx.session.id, agent=ctx.session.agent, trail=ContextTrail(tokens_of, request.tools)
            )
            known.trail.step(request.messages)
            told = newest(dialect, outline, start) if start else request.messages
            self._watched[key] = known
        known.seen, known.home = len(outline.messages), ctx.session.home or known.home
        self._watched.move_to_end(key)
        while len(self._watched) > self._capacity:
            self._watched.popitem(last=False)
        return told

    def of(self, session: str) -> Iterator[Watched]:
        """The conversations of every session of that id, whoever owns it, the latest first. From any thread: requests
        come meanwhile."""
        known = list(self._watched.items())
        return (watched for (_, name, _), watched in reversed(known) if name == session)


def _whole(dialect: Dialect, outline: RequestOutline) -> ChatRequest:
    """A conversation with its tools; without them where they cannot be read."""
    try:
        return opened(dialect, outline)
    except InvalidRequest:
        return ChatRequest(model=outline.model, messages=newest(dialect, outline, 0))


def tokens_of(text: str) -> float:
    """Estimated o200k tokens of a text; of a longer one, slices of about 1 KB in all are measured."""
    if len(text) <= SAMPLED_FROM:
        return approximate(text)
    step = (len(text) - SLICE) / (SLICES - 1)
    seen = "\n".join(text[round(n * step) : round(n * step) + SLICE] for n in range(SLICES))
    return approximate(seen) * len(text) / len(seen)


def weights_of(model: str) -> Weights:
    """What o200k tokens of plain texts and of tools as JSON are multiplied by for `model`'s own. o200k is GPT's own
    tokenizer: its family's factor of texts takes the JSON around them away, of which here is none."""
    family = FAMILIES[family_of(model)]
    return Weights(text=family.text / FAMILIES["gpt"].text, tools=family.tools)


def context_story(watched: Watched, fleet: Fleet) -> dict[str, object]:
    """A conversation's report as JSON. Money is null where nobody knows the price of the model that served it."""
    found = fleet.find(watched.home.partition("@")[0]) if watched.home else ()
    served = found[0] if found else None
    price = served.price if served else None
    billing, weights = UNPRICED, Weights()
    if served is not None:
        weights = weights_of(served.upstream_model)
    if served is not None and price is not None:
        billing = Billing(price=price, rule=cache_rule_of(served.provider, served.upstream_model))
    told = watched.trail.report(billing, weights)
    return {
        "agent": watched.agent,
        "model": served.id if served else None,
        "cache": billing.rule.name if price else None,
        "requests": told.requests,
        "billed_tokens": told.billed_tokens,
        "billed_usd": _usd(told.billed_nano_usd) if price else None,
        "tools_tokens": told.tools_tokens,
        "results": told.results,
        "net_usd": _usd(told.net_nano_usd) if price else None,
        "findings": [_finding(finding, priced=price is not None) for finding in told.findings],
        "truncated": told.truncated,
    }


def _finding(told: Finding, *, priced: bool) -> dict[str, object]:
    plain = ("kind", "basis", "tool", "step", "call", "same_as", "tokens", "requests", "billed_tokens", "since")
    return {
        **{name: getattr(told, name) for name in plain},
        "gross_usd": _usd(told.gross_nano_usd) if priced else None,
        "net_usd": _usd(told.net_nano_usd) if priced else None,
        "verdict": ("worth it" if told.worth_it else "not worth it") if priced else None,
        "break_even": told.break_even if priced else None,
        "break_even_now": told.break_even_now if priced else None,
    }


def _usd(nano: int) -> float:
    return nano / NANO_PER_USD
