"""What `previous_response_id` of the Responses API refers to: conversations kept here when a model of another API
answered, and where they are kept when OpenAI's own did. The contract and its pure part; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from turnout.dialects.fields import join_fields
from turnout.dialects.sse import SseParser
from turnout.finding import holds

__all__ = [
    "STATEFUL",
    "Answered",
    "Conversations",
    "Turn",
    "WantsState",
    "answer_in",
    "answer_of",
    "input_items",
    "keeps",
    "resumed",
    "wants_state",
]


STATEFUL = "openai-responses"
"""The one wire format whose requests may go on from an earlier answer by its id."""


class Turn(Struct, frozen=True, kw_only=True):
    """One answered request. `items`: its input and output as raw JSON; None where `provider` keeps them.
    `previous`: the id of the turn that it goes on from. `owner` is the caller's key, so that nobody reads another's."""

    owner: str
    id: str
    provider: str
    session: str
    previous: str | None = None
    items: tuple[bytes, ...] | None = None


class Conversations(Protocol):
    """Where turns are kept. Both raise nothing: a store that fails is a conversation not found."""

    async def keep(self, turn: Turn) -> None: ...

    async def find(self, owner: str, response_id: str) -> tuple[Turn, tuple[bytes, ...]] | None:
        """A turn, and the items of its whole conversation in order, itself included (empty where the provider keeps
        them); None for an id that is not known."""
        ...


class WantsState(Struct, frozen=True, kw_only=True):
    """What a request says of its state: the turn it goes on from, and whether its answer is to be kept."""

    previous: str | None = None
    store: bool = True


class _StateFields(Struct):
    previous_response_id: str | None = None
    store: bool | None = None


def wants_state(fields: Mapping[str, Raw]) -> WantsState:
    """Of a Responses request's top-level values. As at OpenAI an answer is kept unless `store` is false."""
    told = {name: fields[name] for name in ("previous_response_id", "store") if name in fields}
    try:
        state = msgspec.json.decode(join_fields(told), type=_StateFields)
    except msgspec.DecodeError:
        return WantsState(store=False)  # wrong values: whoever serves the request will say so
    return WantsState(previous=state.previous_response_id or None, store=state.store is not False)


def keeps(dialect: str, fields: Mapping[str, Raw]) -> bool:
    """Whether an answer is to be remembered: in the format that can go on from it, if the caller did not forbid it."""
    return dialect == STATEFUL and wants_state(fields).store


def input_items(fields: Mapping[str, Raw]) -> tuple[bytes, ...]:
    """The items of a request's `input`; a text is a user's message."""
    raw = bytes(fields["input"]) if "input" in fields else b"null"
    if raw.startswith(b"["):
        return tuple(bytes(item) for item in msgspec.json.decode(raw, type=list[Raw]))
    return () if raw == b"null" else (b'{"role":"user","content":' + raw + b"}",)


def resumed(fields: Mapping[str, Raw], items: Sequence[bytes]) -> bytes:
    """The request's body with the conversation so far put before its input, for a model that knows nothing of it."""
    rest: dict[str, Raw | bytes] = {k: v for k, v in fields.items() if k != "previous_response_id"}
    return join_fields({**rest, "input": b"[" + b",".join([*items, *input_items(fields)]) + b"]"})


class Answered(Struct, frozen=True):
    """A whole answer: its id, and the items of its output."""

    id: str
    output: tuple[Raw, ...]


class _Ended(Struct):
    type: str
    response: Raw = Raw()


_answered = msgspec.json.Decoder(Answered)
_ended = msgspec.json.Decoder(_Ended)
_ENDS = frozenset({"response.completed", "response.incomplete"})
_END_WORDS = tuple(end.encode() for end in sorted(_ENDS))


def answer_of(body: bytes | Raw) -> Answered | None:
    """None for an answer that names neither itself nor its items: nobody can go on from it."""
    try:
        return _answered.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def answer_in(chunk: bytes) -> Answered | None:
    """The whole answer at a stream's end; None for all that comes before. `chunk` holds whole events, as the pipes
    give them."""
    if not holds(chunk, _END_WORDS):
        return None
    for event in SseParser().feed(chunk):
        try:
            told = _ended.decode(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if told.type in _ENDS:
            return answer_of(told.response)
    return None
