"""What `previous_response_id` of the Responses API refers to: conversations kept here when a model of another API
answered, and where they are kept when OpenAI's own did. The contract and its pure part; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from turnout.dialects.fields import join_fields
from turnout.dialects.sse import SseParser

__all__ = [
    "CompletedListener",
    "Conversations",
    "Turn",
    "WantsState",
    "input_items",
    "output_of",
    "resumed",
    "wants_state",
]


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


class _Answered(Struct):
    id: str
    output: list[Raw]


def output_of(body: bytes) -> tuple[str, tuple[bytes, ...]]:
    """Id and output items of a whole answer of our own making."""
    told = msgspec.json.decode(body, type=_Answered)
    return told.id, tuple(bytes(item) for item in told.output)


class CompletedListener:
    """Reads along a stream of our own making until the whole response at its end. `answered` is None before."""

    def __init__(self) -> None:
        self._sse = SseParser()
        self.answered: tuple[str, tuple[bytes, ...]] | None = None

    def feed(self, data: bytes) -> None:
        for event in self._sse.feed(data):
            if event.event in {"response.completed", "response.incomplete"}:
                told: dict[str, Any] = msgspec.json.decode(event.data, type=dict[str, Raw])
                self.answered = output_of(bytes(told["response"]))
