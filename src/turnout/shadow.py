"""Shadow traffic: requests that were answered are also put to another model, off their way, and the answers compared.

Nobody gets a shadow's answer; nothing of the caller's session, key or limits is touched. What it costs is booked like
any request, in rows of its own, under a budget of its own (the tag `turnout=shadow`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from turnout.background import Background
from turnout.call import Call
from turnout.catalog.fleet import Fleet
from turnout.catalog.models import Deployment
from turnout.chat import ChatRequest, ChatResponse, Part
from turnout.context import MARK, RequestContext
from turnout.conversations import keeps
from turnout.dialects import DIALECTS
from turnout.errors import ConfigError, TurnoutError
from turnout.judging import can_compare, form_score, question, verdict_in
from turnout.learning_rules import LearningRules
from turnout.providers.operations import ChatOperation
from turnout.routing.explore import draw
from turnout.routing.outcomes import TRUST, Outcome, Source

__all__ = ["AT_ONCE", "Shadow", "Shadowing", "shadowing"]

log = logging.getLogger("turnout")

AT_ONCE = 2
"""Shadows under way. One more is not begun and not put off: what is left out costs nothing but a little time."""

LONGEST_S = 300.0

FORMAT = "openai-chat"
"""What shadows and judges are asked in, whatever the caller spoke; the pipeline translates."""


class Answered(Protocol):
    """What went back for a call that does not stream."""

    @property
    def body(self) -> bytes | None: ...


Run = Callable[[Call], Awaitable[Answered]]
Outcomes = Callable[[Outcome], None]


class Shadowing(Struct, frozen=True, kw_only=True):
    """Who is asked beside, and how often; `judge_share` is a share of the shadows."""

    share: float = 0.0
    models: tuple[Deployment, ...] = ()
    judge: Deployment | None = None
    judge_share: float = 0.0


class _Served(Struct, frozen=True, kw_only=True):
    """A request that was answered, as far as it is needed after its books are closed."""

    call: Call
    request: ChatRequest
    parts: tuple[Part, ...]
    model: str
    mode: str | None
    features: bytes
    predicted: Callable[[str], float | None]


def shadowing(told: LearningRules, fleet: Fleet) -> Shadowing:
    """Who is asked beside. Raises ConfigError for models that are not there."""
    shadow, judge = told.shadow, told.judge
    named = [(f"learning.shadow.models = {name}", name) for name in shadow.models]
    if judge.model is not None:
        named.append((f"learning.judge.model = {judge.model}", judge.model))
    for key, name in named:
        if not fleet.find(name):
            near = fleet.near(name)
            hint = f"did you mean {', '.join(near)}?" if near else "name it as provider/model, and set up its provider"
            raise ConfigError(f"{key}: there is no such model; {hint}", param=name)
    return Shadowing(
        share=shadow.share,
        models=tuple(fleet.find(name)[0] for name in shadow.models),
        judge=fleet.find(judge.model)[0] if judge.model else None,
        judge_share=judge.share,
    )


class Shadow:
    """Asks other models beside. `run` serves a call of our own; `outcomes` is told what came of the comparison."""

    def __init__(
        self, rules: Shadowing, background: Background, run: Run, *, outcomes: Outcomes = lambda _: None
    ) -> None:
        self._rules = rules
        self._background = background
        self._run = run
        self._outcomes = outcomes

    def served(self, ctx: RequestContext, call: Call, parts: Callable[[], tuple[Part, ...] | None]) -> None:
        """A request's books are closed. `parts` gives what the caller got, None where that is not known whole."""
        rules = self._rules
        if not rules.share or self._background.busy or draw(ctx.request_id, "shadow") >= rules.share:
            return
        candidate = rules.models[int(draw(ctx.request_id, "shadow-model") * len(rules.models))]
        if ctx.served_by is None or candidate.id == ctx.served_by.id or not _may_be_shadowed(ctx, call):
            return
        # What a key does not open, its holder's words do not go to.
        judge = rules.judge if draw(ctx.request_id, "judge") < rules.judge_share else None
        opened = [d for d in (candidate, judge) if d is not None and (call.key is None or call.key.opens(d))]
        if candidate not in opened or (judge is not None and judge not in opened):
            return
        chat, told = call.operation.chat, parts()
        if chat is None or not told:
            return
        try:
            request = chat.decode_request(ctx.body)
        except TurnoutError:
            return
        if judge is None and not can_compare(request):
            return  # nothing would be learned from it
        done = _Served(
            call=call,
            request=request,
            parts=told,
            model=ctx.served_by.id,
            mode=ctx.mode,
            features=ctx.features,
            predicted=ctx.predicted,
        )
        self._background.begin(self._compare(done, candidate, judge))

    async def _compare(self, done: _Served, candidate: Deployment, judge: Deployment | None) -> None:
        """Ask the candidate, compare, and tell who learns. What fails is logged, and nothing is learned."""
        request_id = done.call.request_id
        try:
            async with asyncio.timeout(LONGEST_S):
                asked = replace(done.request, model=candidate.id, stream=False)
                answer = await self._ask(f"{request_id}-shadow", asked)
                if judge is None:
                    self._note(done, candidate.id, form_score(done.request, done.parts, answer), "schema")
                    return
                asked = question(request_id, judge.id, done.request, done.parts, answer.parts)
                verdict = verdict_in(request_id, await self._ask(f"{request_id}-judge", asked))
        except (TurnoutError, TimeoutError) as error:
            log.info("no shadow of %s at %s: %s", request_id, candidate.id, error)
            return
        if verdict is None:
            log.info("the judge's reply on %s is not the two marks asked for; nothing is learned of it", request_id)
            return
        self._note(done, done.model, verdict.served, "judge")
        self._note(done, candidate.id, verdict.shadow, "judge")

    async def _ask(self, request_id: str, request: ChatRequest) -> ChatResponse:
        """The answer to a request of our own. Raises TurnoutError."""
        dialect = DIALECTS[FORMAT]
        call = Call(
            request_id=request_id,
            operation=ChatOperation(dialect),
            body=dialect.encode_request(replace(request, metadata={}, user=None, prompt_cache_key=None)).body,
            headers={
                "x-turnout-tags": f"{MARK}=shadow,feature=shadow",
                "x-turnout-session": request_id,
                "x-turnout-cache": "off",
                "x-turnout-latency": "batch",
            },
            started_s=time.monotonic(),
            ours=True,
        )
        return dialect.decode_response((await self._run(call)).body or b"")

    def _note(self, done: _Served, model: str, score: float | None, source: Source) -> None:
        if score is None:
            return
        self._outcomes(
            Outcome(
                request_id=done.call.request_id,
                model=model,
                score=score,
                source=source,
                weight=TRUST[source],
                at=datetime.now(UTC),
                owner=done.call.key_id or "",
                mode=done.mode,
                predicted=done.predicted(model),
                features=done.features,
            )
        )


def _may_be_shadowed(ctx: RequestContext, call: Call) -> bool:
    """Only what was answered well by a model just now, in words alone, and stands by itself: no conversation that a
    provider or we keep, and none of our own requests."""
    outline = ctx.outline
    ended = ctx.finish is not None and ctx.finish.unified in {"stop", "tool_calls"}
    fresh = ctx.cache in {"bypass", "miss"} and ctx.outcome == "ok"
    stateful = ctx.kept_at is not None or call.resumes is not None or keeps(ctx.dialect, outline.fields)
    words = not (outline.images or outline.files or outline.audio or outline.unseen) and outline.answers == 1
    willing = MARK not in ctx.tags and (ctx.key is None or ctx.key.learning)
    return ended and fresh and words and not stateful and willing
