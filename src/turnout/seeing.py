"""What the predictor sees of a request: the task, what is asked now, and the state of the agent."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from turnout.chat import Message, RequestOutline, Text, ToolResult
from turnout.context import RequestContext
from turnout.dialects.base import Dialect
from turnout.dialects.ends import newest
from turnout.errors import InvalidRequest
from turnout.routing.explore import explores, fails_cheaply
from turnout.routing.features import Features, State, features_of
from turnout.routing.trajectory import Signs

__all__ = ["Look", "tries_lower"]

LOOKED_BACK = 3
"""User messages, from the newest on, among which what is asked now is looked for: tools' results come as such too."""


class Look:
    """The features of a request as it was asked, read at the first call and remembered: about a millisecond, that no
    caller waits for where nothing is to be chosen. What cannot be read has no words: whoever answers it will say what
    is wrong. Decodes a few messages, whatever the length of the conversation."""

    def __init__(self, ctx: RequestContext, chat: Dialect | None, signs: Signs) -> None:
        # Not the context, which may keep this: two that keep each other are freed late.
        self._outline, self._chat, self._state = ctx.outline, chat, _state_of(ctx, signs)
        self._seen: Features | None = None
        self._packed: bytes | None = None

    def __call__(self) -> Features:
        if self._seen is None:
            self._seen = features_of(*_task_and_intent(self._chat, self._outline), self._state)
        return self._seen

    def packed(self) -> bytes:
        """As they are kept with outcomes."""
        if self._packed is None:
            self._packed = self().pack()
        return self._packed


def tries_lower(ctx: RequestContext, share: float) -> bool:
    """Whether this is one of the `share` of requests that try a smaller model where its failure is cheap."""
    cheap = share > 0 and fails_cheaply(
        ctx.outline, input_tokens=ctx.input_tokens_estimate, session=ctx.session, quality=ctx.quality
    )
    return explores(ctx.request_id, share=share, cheap_failure=cheap)


def _task_and_intent(chat: Dialect | None, outline: RequestOutline) -> tuple[str, str]:
    """The first user turn, and the newest one that a person wrote (empty where it is the first)."""
    users = [i for i, role in enumerate(outline.roles) if role == "user"]
    if chat is None:
        return "", ""
    if not users:
        return _said(_decoded(chat, outline, None)), ""
    task = _said(_decoded(chat, outline, users[:1]))
    for number in reversed(users[1:][-LOOKED_BACK:]):
        if words := _said(_decoded(chat, outline, [number])):
            return task, words
    return task, ""


def _decoded(chat: Dialect, outline: RequestOutline, numbers: Sequence[int] | None) -> tuple[Message, ...]:
    picked = outline
    if numbers is not None:
        picked = replace(outline, messages=tuple(outline.messages[i] for i in numbers))
    try:
        return newest(chat, picked, 0)
    except InvalidRequest:
        return ()


def _said(messages: Sequence[Message]) -> str:
    """What a person wrote: nothing of a message that hands in a tool's result."""
    if any(isinstance(part, ToolResult) for message in messages for part in message.parts):
        return ""
    return "\n".join(part.text for message in messages for part in message.parts if isinstance(part, Text))


def _state_of(ctx: RequestContext, signs: Signs) -> State:
    outline, session = ctx.outline, ctx.session
    warm = max((visit.tokens for visit in session.visits.values()), default=0)
    labels = [f"{name}={value}" for name, value in sorted(ctx.tags.items())]
    return State(
        context=ctx.input_tokens_estimate,
        system=outline.system_bytes,
        turns=outline.roles.count("user"),
        step=session.step,
        tools=outline.tools,
        schema_size=outline.tools_bytes,
        schema=outline.json_schema,
        reads_result=outline.tool_result_last,
        severity=signs.severity,
        same_failure=signs.same_failure,
        only_reads=signs.reading,
        recovered=signs.recovered,
        cached_share=min(1.0, warm / max(1, ctx.input_tokens_estimate)),
        media=outline.images + outline.files + outline.audio,
        reasoning=outline.reasoning,
        labels=(*((f"mode={ctx.mode}",) if ctx.mode else ()), *labels),
    )
