"""Trajectories of mini-swe-agent: `*.traj.json`, every message with the provider's whole answer beside it.

Source of the format: SWE-agent/mini-swe-agent, src/minisweagent/agents/default.py (`serialize`) and models/. A call
whose answer could not be parsed was paid for: it stands beside the complaint that was sent back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json, Message, Part, Usage
from turnout.dialects.openai_responses.items import decode_item
from turnout.dialects.openai_responses.usage import decode_usage
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers.base import Head, Reader, Source, seconds_of
from turnout.lab.audit.readers.shapes import (
    answer_of,
    count_of,
    decoded,
    dict_of,
    dicts_of,
    effort_of,
    message_of,
    model_of,
    nano_usd,
    text_of,
    usage_of,
)
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["MINI_SWE_AGENT"]


class _Model(Struct, frozen=True, kw_only=True):
    session: str
    project: str
    name: str = ""
    provider: str = ""
    effort: str | None = None


_message = msgspec.json.Decoder(dict[str, Any])
_value = msgspec.json.Decoder(Any)


def _claims(head: Head) -> bool:
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, dict) and "messages" in first:
        return _marked(first)
    named = head.name.endswith(".traj.json")
    if isinstance(head.document, list):  # the first versions wrote the messages alone
        document = dicts_of(head.document)
        return named and bool(document) and {"role", "content"} <= document[0].keys()
    start = head.start.lstrip()
    return named and start[:1] in {b"{", b"["} and (b'"mini_version"' in start or b'"role"' in start)


def _marked(first: dict[str, Json]) -> bool:
    if text_of(first.get("trajectory_format")).startswith("mini-swe-agent"):
        return True
    return "mini_version" in dict_of(first.get("info"))


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        yield from _file(path, told)


def _file(path: Path, told: ReadTally) -> Iterator[Event]:
    """The info stands before the messages as a rule; where it does not, the file is looked through once for it."""
    whole: dict[str, Json] = {}
    for key, _, raw in elements_of(path, ReadTally(), members=("info", "instance_id")):
        whole[key] = decoded(raw, _value, f"{path.name} {key}", ReadTally())
    info = dict_of(whole.get("info"))
    config = dict_of(dict_of(info.get("config")).get("model"))
    name, provider = model_of(config.get("model_name"))
    model = _Model(
        session=text_of(whole.get("instance_id")) or path.name.removesuffix(".json").removesuffix(".traj"),
        project=path.parent.parent.name if path.parent.name in path.name else path.parent.name,
        name=name,
        provider=provider,
        effort=effort_of(config.get("model_kwargs")),
    )
    waiting: list[Message] = []
    known_cost, last = False, ""
    for _, index, raw in elements_of(path, told, lists=("messages",)):
        place = f"{path.name} message {index}"
        message = decoded(raw, _message, place, told)
        if message is None:
            continue
        extra = dict_of(message.get("extra"))
        last = text_of(extra.get("exit_status")) or last
        if message.get("role") == "assistant" or message.get("object") == "response":
            step = _step(message, model, waiting, place, told)
            waiting, known_cost = [], known_cost or step.cost_nano_usd is not None
            yield step
            continue
        if dict_of(extra.get("response")):  # an answer that could not be parsed
            step = _step({**_answered(extra), "extra": extra}, model, waiting, place, told)
            waiting, known_cost = [], known_cost or step.cost_nano_usd is not None
            yield step
        waiting += _heard(message, place, told)
    cost = nano_usd(dict_of(info.get("model_stats")).get("instance_cost"))
    yield Ending(
        session=model.session,
        why=text_of(info.get("exit_status")) or last,
        cost_nano_usd=None if known_cost else cost,
    )


def _answered(extra: dict[str, Json]) -> dict[str, Json]:
    response = dict_of(extra["response"])
    if response.get("object") == "response":
        return response
    choices = dicts_of(response.get("choices"))
    return dict_of(choices[0].get("message")) if choices else {}


def _heard(message: dict[str, Json], place: str, told: ReadTally) -> list[Message]:
    role = text_of(message.get("role"))
    if role == "exit":  # the harness's own note of the end
        return []
    if message.get("type") == "function_call_output":
        try:
            return [decode_item(_plain(message), "message")]
        except (InvalidRequest, TypeError) as error:
            told.broken(place, error)
            return []
    if role not in {"system", "developer", "user", "tool"}:
        told.strange(f"message of role {role or type(message.get('role')).__name__}")
        return []
    heard = message_of(message, place, told)
    return [] if heard is None else [heard]


def _plain(message: dict[str, Json]) -> dict[str, Json]:
    return {key: one for key, one in message.items() if key != "extra"}


def _step(message: dict[str, Json], model: _Model, new: list[Message], place: str, told: ReadTally) -> Step:
    extra = dict_of(message.get("extra"))
    response = dict_of(extra.get("response")) or (message if message.get("object") == "response" else {})
    name, provider = model_of(response.get("model"))
    return Step(
        session=model.session,
        project=model.project,
        id=text_of(response.get("id")),
        # As it was asked for: answers name it in the provider's own way.
        model=model.name or name,
        provider=model.provider or provider,
        at=seconds_of(extra.get("timestamp")) or seconds_of(response.get("created") or response.get("created_at")),
        usage=_usage(response.get("usage")),
        cost_nano_usd=nano_usd(extra.get("cost")),
        new=tuple(new),
        out=_out(message, place, told),
        effort=model.effort,
    )


def _usage(told: Json) -> Usage | None:
    if count_of(dict_of(told).get("prompt_tokens")) is not None:
        return usage_of(told)
    usage = decode_usage(told)
    if usage is None or (usage.input is None and usage.output is None):
        return None
    return msgspec.structs.replace(usage, raw=None)


def _out(message: dict[str, Json], place: str, told: ReadTally) -> tuple[Part, ...]:
    if message.get("object") != "response":
        return answer_of(message, place, told)
    parts: list[Part] = []
    for item in dicts_of(message.get("output")):
        try:
            parts += decode_item(item, "output").parts
        except (InvalidRequest, TypeError) as error:
            told.broken(place, error)
    return tuple(parts)


MINI_SWE_AGENT = Reader(
    name="mini-swe-agent",
    title="mini-swe-agent trajectories",
    claims=_claims,
    read=_read,
    places=(".config/mini-swe-agent/*.traj.json", "Library/Application Support/mini-swe-agent/*.traj.json"),
    homes=("MSWEA_GLOBAL_CONFIG_DIR/*.traj.json",),
)
