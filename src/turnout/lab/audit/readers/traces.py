"""Recorded sessions in the form of `turnout replay`: one session a line, its steps with what each added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json, Message, Part, ToolSpec, Usage
from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers.base import Head, Reader, Source, lines_of, seconds_of
from turnout.lab.audit.records import Ending, Event, ReadTally, Step
from turnout.lab.replay import tool_table
from turnout.lab.sessions import Session, StepUsage, mend, tools_of

__all__ = ["TRACES"]

_decode = msgspec.json.Decoder(Session).decode
_CHAT = DIALECTS["openai-chat"]


def _claims(head: Head) -> bool:
    if head.objects:
        return {"id", "steps"} <= head.objects[0].keys()
    # A session may be longer than what was looked at.
    return head.start.startswith(b'{"id":') and b'"steps"' in head.start and b'"add"' in head.start


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        table = tool_table([path])
        for number, line in lines_of(path, told):
            try:
                session = mend(_decode(line))
                offered = _specs(tools_of(session, table))
                yield from _events(session, offered)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest) as error:
                told.broken(f"{path.name} line {number}", error)


def _events(session: Session, offered: tuple[ToolSpec, ...]) -> Iterator[Event]:
    for step in session.steps:
        usage = step.usage
        yield Step(
            session=session.id,
            project=session.bench or session.kind,
            model=session.model,
            at=seconds_of(step.ts),
            usage=None if usage is None else _usage(usage),
            cost_nano_usd=None if usage is None or usage.cost is None else int(usage.cost * NANO_PER_USD),
            new=_messages(step.add),
            out=_answer(step.out),
            tools=offered,
        )
    solved = None if session.outcome is None else session.outcome >= 1
    yield Ending(session=session.id, solved=solved, why=session.end or "")


def _usage(told: StepUsage) -> Usage:
    return Usage(input=told.input, cache_read=told.cached, output=told.output, reasoning=told.reasoning)


def _messages(told: Iterable[dict[str, Json]]) -> tuple[Message, ...]:
    messages = list(told)
    if not messages:
        return ()
    return _CHAT.decode_request(msgspec.json.encode({"model": "recorded", "messages": messages})).messages


def _answer(out: dict[str, Json]) -> tuple[Part, ...]:
    return tuple(part for message in _messages((out,)) for part in message.parts)


def _specs(tools: list[dict[str, Json]] | None) -> tuple[ToolSpec, ...]:
    if not tools:
        return ()
    body = {"model": "recorded", "messages": [{"role": "user", "content": "-"}], "tools": tools}
    return _CHAT.decode_request(msgspec.json.encode(body)).tools


TRACES = Reader(name="traces", title="recorded sessions (turnout replay)", claims=_claims, read=_read)
