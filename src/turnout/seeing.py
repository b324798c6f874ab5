"""What the predictor sees of a request: the task, what is asked now, and the state of the agent."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.chat import Message, Text, ToolResult
from turnout.context import RequestContext
from turnout.dialects.base import Dialect
from turnout.dialects.ends import picked
from turnout.errors import InvalidRequest
from turnout.routing.explore import explores, fails_cheaply
from turnout.routing.features import Features, State, Texts, features_of
from turnout.routing.trajectory import Signs

__all__ = ["Look", "tries_lower"]

LOOKED_BACK = 3
"""User messages, from the newest on, among which what is asked now is looked for: tools' results come as such too."""


class Look:
    """The features of a request as it was asked, read at the first call and remembered: about a millisecond, that no
    caller waits for where nothing is to be chosen. What cannot be read has no words: whoever answers it will say what
    is wrong. Decodes a few messages, whatever the length of the conversation. `texts`: those read before."""

    def __init__(self, ctx: RequestContext, chat: Dialect | None, signs: Signs, texts: Texts | None = None) -> None:
        # Not the context, which may keep this: two that keep each other are freed late.
        self._outline, self._chat, self._session, self._signs = ctx.outline, chat, ctx.session, signs
        self._tokens, self._mode, self._tags = ctx.input_tokens_estimate, ctx.mode, ctx.tags
        self._newest, ctx.newest = ctx.newest, None
        self._texts = texts
        self._seen: Features | None = None
        self._packed: bytes | None = None

    def __call__(self) -> Features:
        if self._seen is None:
            self._seen = features_of(*self._task_and_intent(), self._state(), self._texts)
            self._newest = None  # nobody needs the text any more
        return self._seen

    def packed(self) -> bytes:
        """As they are kept with outcomes."""
        if self._packed is None:
            self._packed = self().pack()
        return self._packed

    def _task_and_intent(self) -> tuple[str, str]:
        """The first user turn, and the newest one that a person wrote (empty where it is the first)."""
        users = [i for i, role in enumerate(self._outline.roles) if role == "user"]
        if self._chat is None:
            return "", ""
        if not users:
            return _said(self._decoded(self._chat, range(len(self._outline.messages)))), ""
        task = _said(self._decoded(self._chat, users[:1]))
        for number in reversed(users[1:][-LOOKED_BACK:]):
            if words := _said(self._decoded(self._chat, (number,))):
                return task, words
        return task, ""

    def _decoded(self, chat: Dialect, numbers: Sequence[int]) -> tuple[Message, ...]:
        if self._newest is not None and list(numbers) == [self._newest[0]]:
            return (self._newest[1],)
        try:
            return picked(chat, self._outline, numbers)
        except InvalidRequest:
            return ()

    def _state(self) -> State:
        outline, session, signs = self._outline, self._session, self._signs
        warm = max((visit.tokens for visit in session.visits.values()), default=0)
        labels = [f"{name}={value}" for name, value in sorted(self._tags.items())]
        return State(
            context=self._tokens,
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
            cached_share=min(1.0, warm / max(1, self._tokens)),
            media=outline.images + outline.files + outline.audio,
            reasoning=outline.reasoning,
            labels=(*((f"mode={self._mode}",) if self._mode else ()), *labels),
        )


def tries_lower(ctx: RequestContext, share: float) -> bool:
    """Whether this is one of the `share` of requests that try a smaller model where its failure is cheap."""
    cheap = share > 0 and fails_cheaply(
        ctx.outline, input_tokens=ctx.input_tokens_estimate, session=ctx.session, quality=ctx.quality
    )
    return explores(ctx.request_id, share=share, cheap_failure=cheap)


def _said(messages: Sequence[Message]) -> str:
    """What a person wrote: nothing of a message that hands in a tool's result."""
    if any(isinstance(part, ToolResult) for message in messages for part in message.parts):
        return ""
    return "\n".join(part.text for message in messages for part in message.parts if isinstance(part, Text))
