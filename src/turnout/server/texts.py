"""What was said in a request and its answer, where the config keeps it: redacted for all who look, whole for admins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from turnout.chat import Json, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, collect
from turnout.dialects import DIALECTS
from turnout.engine import Engine
from turnout.errors import TurnoutError
from turnout.learning import Asked
from turnout.redaction import Redactor

__all__ = ["redacted", "whole"]

MOST_CHARACTERS = 400_000
"""Of one request, the newest first: a page with more is no help."""

MOST_OF_ONE = 20_000
"""Of one text; what is behind is counted."""

WHY_NOT = "keep_prompts = true under [learning] in the config keeps them from then on"


def redacted(engine: Engine, request_id: str, _: bytes) -> object:
    """What was said, without what may name or open something; or why nothing is shown. Blocks."""
    return _shown(engine, request_id, Redactor())


def whole(engine: Engine, request_id: str, _: bytes) -> object:
    """What was said, as it was; or why nothing is shown. Blocks."""
    return _shown(engine, request_id, None)


def _shown(engine: Engine, request_id: str, redactor: Redactor | None) -> dict[str, Json]:
    learner = engine.state.memory.learner
    asked = learner.store.find(request_id)
    if asked is not None and asked.request is not None and (dialect := DIALECTS.get(asked.dialect)) is not None:
        try:
            return _told(asked, dialect.decode_request(asked.request).messages, redactor)
        except (TurnoutError, ValueError) as error:
            return {"kept": True, "why": f"what is kept cannot be read ({type(error).__name__})"}
    if learner.rules.keep_prompts:
        return {"kept": False, "why": "the text of this request is not kept: too old, or its key says learning = false"}
    return {"kept": False, "why": f"prompts and answers are not kept; {WHY_NOT}"}


def _told(asked: Asked, messages: tuple[Message, ...], redactor: Redactor | None) -> dict[str, Json]:
    writer = _Writer(redactor)
    answer = writer.parts(_answer(asked))
    told = list(writer.newest_first(messages))
    return {
        "kept": True,
        "why": None,
        "request_id": asked.request_id,
        "model": asked.model,
        "redacted": None if redactor is None else dict(redactor.counts),
        "messages": told[::-1],
        "left_out": len(messages) - len(told),
        "answer": answer,
    }


def _answer(asked: Asked) -> tuple[Part, ...]:
    """Nothing where none was kept, or what was is no answer: a stream that broke off."""
    dialect = DIALECTS[asked.dialect]
    if asked.answer is None:
        return ()
    try:
        if asked.streamed:
            decoder = dialect.stream_decoder()
            return collect([*decoder.feed(asked.answer), *decoder.close()]).parts
        return dialect.decode_response(asked.answer).parts
    except (TurnoutError, ValueError):
        return ()


class _Writer:
    """Spells messages for people, up to `MOST_CHARACTERS`."""

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._left = MOST_CHARACTERS

    def newest_first(self, messages: tuple[Message, ...]) -> Iterator[Json]:
        for message in reversed(messages):
            if self._left <= 0:
                return
            yield {"role": message.role, "parts": self.parts(message.parts)}

    def parts(self, parts: Iterable[Part]) -> list[Json]:
        return [self._part(part) for part in parts]

    def _part(self, part: Part) -> Json:
        """What redaction does not see into, as images, is named and not shown."""
        kind = type(part).__struct_config__.tag
        match part:
            case Text() | Reasoning() | Refusal():
                return {"kind": kind, **self._text(part.text)}
            case ToolCall():
                return {"kind": kind, "name": self._clean(part.name), **self._text(part.arguments)}
            case ToolResult():
                said = "\n".join(inner.text for inner in part.parts if isinstance(inner, Text))
                return {"kind": kind, "error": part.is_error, **self._text(said)}
            case _:
                return {"kind": kind}

    def _text(self, text: str) -> dict[str, Json]:
        """Redacted before it is cut: what is cut in two is recognized by nobody."""
        clean = self._clean(text)
        shown = clean[: max(0, min(MOST_OF_ONE, self._left))]
        self._left -= len(shown)
        return {"text": shown, "cut": len(clean) - len(shown)}

    def _clean(self, text: str) -> str:
        return text if self._redactor is None else self._redactor.text(text)
