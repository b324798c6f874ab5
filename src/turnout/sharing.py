"""The response cache at work: an answer that is kept, or that an identical request is getting now, for a second caller;
and one upstream call for all who ask the same at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from turnout.answers import (
    AnswerRules,
    AnswerStore,
    CacheWishes,
    Form,
    Kept,
    cacheable,
    form_of,
    keepable,
    key_of,
    read_cache_wishes,
    stands_for,
    told_as,
    without_controls,
)
from turnout.call import Call
from turnout.catalog.models import Deployment
from turnout.chat import RequestOutline
from turnout.context import CACHE_HIT, CacheState, Candidate, Decision, RequestContext
from turnout.dialects.base import Dialect
from turnout.providers.exchange import Exchange
from turnout.providers.registry import PROVIDERS
from turnout.semantic import Embedder, Neighbours, Place, nearest, question_of, unit
from turnout.streams import SettlingStream

__all__ = ["AnswerCache", "Found", "answered_from", "controlled"]

HEADERS = tuple(sorted({name for row in PROVIDERS.values() for name in row.forwarded}))
"""Request headers that reach a provider: an answer may depend on them."""


class Found(Struct, frozen=True, kw_only=True):
    """An answer for a caller without asking anybody: who gave it once, and its bytes in the form that is wanted."""

    kept: Kept
    deployment: Deployment
    body: bytes
    state: CacheState
    age_s: float


class Shared:
    """One upstream call that others who ask the same wait for. `ended` gives its answer; `left` when its caller went
    away, so that somebody else may make the call; `failed` when there is no answer that others could take."""

    def __init__(self) -> None:
        self._end: asyncio.Future[Kept | Literal["left", "failed"]] = asyncio.get_running_loop().create_future()

    @property
    def done(self) -> bool:
        return self._end.done()

    async def ended(self) -> Kept | Literal["left", "failed"]:
        await asyncio.wait({self._end})  # who waits may be cancelled; the end is not theirs
        return self._end.result()

    def end(self, how: Kept | Literal["left", "failed"]) -> None:
        if not self._end.done():
            self._end.set_result(how)


class _Asked(Struct, frozen=True, kw_only=True):
    """A request whose answer is to be kept. `shared`: the call that others may wait for, where this one makes it."""

    key: bytes
    form: Form
    ttl_s: float
    dialect: Dialect | None
    place: Place | None
    shared: Shared | None


class AnswerCache:
    """Answers that may be given again, under `rules` (off until they say otherwise). One event loop owns it.

    Whoever asks and finds nothing must be settled: that keeps its answer and ends the wait of those who share it.
    """

    def __init__(self, stores: Mapping[str, AnswerStore], *, clock: Callable[[], float]) -> None:
        self.rules = AnswerRules()
        self.embedder: Embedder | None = None  # a plug-in, in place of the one that callers bring
        self._stores = stores
        self._clock = clock
        self._neighbours = Neighbours()
        self._asked: dict[str, _Asked] = {}
        self._shared: dict[bytes, Shared] = {}
        self._keeping: set[asyncio.Task[None]] = set()

    async def ask(self, ctx: RequestContext, call: Call, embed: Embedder) -> Found | None:
        """The answer that `ctx`, decided already, would get again; None where a provider is to be asked. Waits while
        an identical request is being answered."""
        wishes = call.cache
        key = self._key(ctx, call, wishes) if self.rules.enabled else None
        if key is None:
            return None
        ctx.cache = "miss"
        shared = place = None
        if wishes.use != "refresh" and (found := await self._shared_answer(key, ctx, call)) is not None:
            return found
        if key not in self._shared:
            shared = self._shared[key] = Shared()
        if shared is not None and wishes.use != "refresh":
            try:
                found, place = await self._look_up(key, ctx, call, self.embedder or embed)
            except BaseException:
                self._end(key, shared, "left")
                raise
            if found is not None:
                self._end(key, shared, found.kept)
                return found
        self._asked[ctx.request_id] = _Asked(
            key=key,
            form=form_of(ctx.outline),
            ttl_s=self.rules.ttl_s if wishes.ttl_s is None else min(wishes.ttl_s, self.rules.ttl_s),
            dialect=call.operation.chat,
            place=place,
            shared=shared,
        )
        return None

    def settle(self, ctx: RequestContext, exchange: Exchange | None, stream: SettlingStream | None) -> None:
        """A request that was asked for is at its end: keep its answer, if it is one, and tell who waits."""
        asked = self._asked.pop(ctx.request_id, None)
        if asked is None:
            return
        kept = self._worth_keeping(ctx, asked, exchange, stream)
        if kept is None:
            if asked.shared is not None:
                self._end(asked.key, asked.shared, "left" if ctx.outcome == "cancelled" else "failed")
            return
        if asked.shared is not None:
            asked.shared.end(kept)
        task = asyncio.get_running_loop().create_task(self._keep(asked, kept))
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def aclose(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._keeping, return_exceptions=True)

    @property
    def _store(self) -> AnswerStore:
        return self._stores[self.rules.store]

    def _key(self, ctx: RequestContext, call: Call, wishes: CacheWishes) -> bytes | None:
        """None where the cache has nothing to do with a request."""
        free = self.rules.any_temperature or wishes.use == "on"
        samples = call.operation.chat is not None
        if (
            wishes.use == "off"
            or call.resumes is not None
            or not cacheable(ctx.outline, ctx.dialect, any_temperature=free, samples=samples)
        ):
            return None
        return key_of(ctx.outline, ctx.dialect, form_of(ctx.outline), self._circumstances(ctx, call))

    def _circumstances(self, ctx: RequestContext, call: Call) -> tuple[str | None, ...]:
        """What else than its body tells a request from others."""
        return (
            *self._owner(ctx),
            call.cache.namespace,
            ctx.mode,
            None if ctx.quality is None else str(ctx.quality),
            ctx.decision.effort if ctx.decision else None,
            *(call.headers.get(name) for name in HEADERS),
        )

    def _owner(self, ctx: RequestContext) -> tuple[str, str | None]:
        """Whose answers a request may get; a key without a team stays by itself."""
        if self.rules.scope == "all":
            return "all", None
        if self.rules.scope == "team" and ctx.team is not None:
            return "team", ctx.team
        return "key", ctx.key_id

    async def _look_up(
        self, key: bytes, ctx: RequestContext, call: Call, embed: Embedder
    ) -> tuple[Found | None, Place | None]:
        """What is kept for a request, or for a question that means the same; and where its own stands."""
        kept = await self._store.find(key, now_s=self._clock())
        if kept is not None and (found := self._found(ctx, call, kept, "hit")) is not None:
            return found, None
        semantic, chat = self.rules.semantic, call.operation.chat
        if semantic is None or chat is None:
            return None, None
        question = question_of(chat, ctx.outline, self._circumstances(ctx, call))
        vector = unit(await embed(call, question.text) or ()) if question is not None else None
        if question is None or not vector:
            return None, None
        place = Place(question.scope, vector)
        asked = self._neighbours.of(place.scope)
        near = await asyncio.to_thread(nearest, asked, vector, semantic.threshold)
        if near is None:
            return None, place
        kept = await self._store.find(near, now_s=self._clock())
        if kept is None:
            self._neighbours.forget(place, near)
            return None, place
        return self._found(ctx, call, kept, "semantic"), place

    async def _shared_answer(self, key: bytes, ctx: RequestContext, call: Call) -> Found | None:
        """The answer of an identical request that is being served now."""
        while (shared := self._shared.get(key)) is not None:
            state: CacheState = "hit" if shared.done else "shared"
            ended = await shared.ended()
            if isinstance(ended, Kept):
                return self._found(ctx, call, ended, state)
            if ended == "failed":  # what failed for one is tried by each, and not by one after the other
                return None
        return None

    def _found(self, ctx: RequestContext, call: Call, kept: Kept, state: CacheState) -> Found | None:
        age_s = max(0.0, self._clock() - kept.made_s)
        limit = call.cache.max_age_s
        author = stands_for(kept.deployment, ctx.decision) if ctx.decision else None
        if author is None or (limit is not None and age_s > limit):
            return None
        body = told_as(kept, form_of(ctx.outline), call.operation.chat)
        return None if body is None else Found(kept=kept, deployment=author, body=body, state=state, age_s=age_s)

    def _worth_keeping(
        self, ctx: RequestContext, asked: _Asked, exchange: Exchange | None, stream: SettlingStream | None
    ) -> Kept | None:
        if exchange is None or not exchange.whole or ctx.served_by is None:
            return None
        if any(attempt.reason == "stream_died" for attempt in ctx.attempts):  # two models wrote it
            return None
        body = exchange.body
        if body is None:
            body = bytes(stream.delivered) if stream is not None and stream.delivered_whole else b""
        if not body or len(body) > self.rules.max_bytes or not keepable(body, asked.form, asked.dialect):
            return None
        now_s = self._clock()
        return Kept(
            body=body,
            form=asked.form,
            deployment=ctx.served_by.id,
            request_id=ctx.request_id,
            made_s=now_s,
            expires_s=now_s + asked.ttl_s,
            usage=exchange.usage,
            warnings=tuple(exchange.warnings),
        )

    async def _keep(self, asked: _Asked, kept: Kept) -> None:
        """Whoever asks meanwhile still gets the answer from the call that was shared."""
        try:
            await self._store.keep(asked.key, kept, max_bytes=self.rules.max_bytes)
            if asked.place is not None:
                self._neighbours.add(asked.place, asked.key)
        finally:
            if asked.shared is not None:
                self._end(asked.key, asked.shared, kept)

    def _end(self, key: bytes, shared: Shared, how: Kept | Literal["left", "failed"]) -> None:
        """Nobody waits for this call any more: first it is forgotten, so that who goes on finds no dead one."""
        if self._shared.get(key) is shared:
            del self._shared[key]
        shared.end(how)


def controlled(call: Call, outline: RequestOutline) -> Call:
    """`call` with what it says of the response cache read. Raises InvalidRequest."""
    body, controls = without_controls(call.body) if "cache" in outline.fields else (call.body, None)
    wishes = read_cache_wishes(call.headers, controls)
    return call if controls is None and wishes == call.cache else replace(call, body=body, cache=wishes)


def answered_from(ctx: RequestContext, found: Found) -> None:
    """Note on `ctx` that nobody is asked: who answered once, at no cost now, and how that came about."""
    same = "much the same" if found.state == "semantic" else "the same"
    when = "at the same time" if found.state == "shared" else f"{found.age_s:.0f} s ago"
    whence = f"{found.kept.request_id}, which asked {same} {when}"
    ctx.cache = found.state
    ctx.served_by = found.deployment
    ctx.cost_nano_usd = 0
    if ctx.decision is not None:
        ctx.decision = Decision(
            candidates=(Candidate(deployment=found.deployment, expected_cost_nano_usd=0),),
            reason=CACHE_HIT,
            explanation=f"response cache: the answer of {found.deployment.id} to {whence}",
            mode=ctx.decision.mode,
            effort=ctx.decision.effort,
        )
    for warning in found.kept.warnings:
        ctx.warn(warning)
