"""Bodies of requests and answers as logs hold them, decoded by the dialect that they are in, whichever that is. Pure.

An answer may be JSON, the text of a stream, or a list of a stream's events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.chat import (
    ChatResponse,
    FinishReason,
    Json,
    Message,
    Part,
    RequestOutline,
    ResponseEnd,
    ResponseStart,
    StreamError,
    ToolSpec,
    Usage,
    collect,
)
from turnout.dialects import DIALECTS
from turnout.dialects.billing import asked_cache
from turnout.dialects.fields import join_fields
from turnout.errors import TurnoutError
from turnout.lab.audit.readers.loose import UNREADABLE, decoded, nano_usd_of, object_in
from turnout.lab.audit.readers.plain import plain_messages, plain_parts, plain_tools
from turnout.lab.audit.readers.talk import messages_in, tools_in

__all__ = ["Answer", "Request", "answer_in_body", "body_of", "dialect_of", "fields_of", "request_in_body"]

Fields = Mapping[str, Raw]

CHAT, RESPONSES, MESSAGES = "openai-chat", "openai-responses", "anthropic-messages"
GEMINI, CONVERSE = "gemini", "bedrock-converse"

_TALK = {CHAT: "messages", RESPONSES: "input", MESSAGES: "messages", GEMINI: "contents", CONVERSE: "messages"}
"""Where the conversation stands in a request."""

_NO_MODEL = b'"?"'
_DATA = re.compile(rb"^data:[ ]?", re.MULTILINE)
_BLANK = re.compile(rb"\n\r?\n")
_fields = msgspec.json.Decoder(dict[str, Raw])
_raws = msgspec.json.Decoder(list[Raw])


class _Head(Struct):
    role: str = ""


_head = msgspec.json.Decoder(_Head)


class Request(Struct, frozen=True, kw_only=True):
    """What a request's body says. `outline` holds what tells its session; `previous`: the answer that it goes on from,
    where its provider keeps them; `kept`: a conversation that its provider keeps."""

    outline: RequestOutline
    model: str = ""
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    effort: str | None = None
    previous: str = ""
    kept: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """What an answer's body says. `failed`: it is an error, or a stream that was cut before anything came."""

    id: str = ""
    model: str = ""
    parts: tuple[Part, ...] = ()
    usage: Usage | None = None
    created: int | None = None
    cost_nano_usd: int | None = None
    failed: bool = False


def body_of(raw: Raw | bytes) -> bytes:
    """A body's bytes: a JSON value as it stands, or what was written as a text."""
    data = bytes(raw)
    if data[:1] == b'"':
        told = decoded(data)
        return told.encode("utf-8", "replace") if isinstance(told, str) else b""
    return data


def fields_of(body: bytes | Raw) -> dict[str, Raw]:
    """The top-level values of an object; {} for anything else."""
    try:
        return _fields.decode(body)
    except UNREADABLE:
        return {}


# ---- Which dialect -------------------------------------------------------------------------------------------------


def dialect_of(asked: Fields, answered: Fields, url: str = "") -> str:
    """The dialect of an exchange, by what is in its bodies and by its URL; "" for none that holds a conversation."""
    return _of_answer(answered) or _of_request(asked, url)


def _of_answer(answered: Fields) -> str:
    kind = decoded(answered["type"]) if "type" in answered else None
    kind = kind if isinstance(kind, str) else ""
    if kind == "message" or kind.startswith(("message_", "content_block")):
        return MESSAGES
    if kind.startswith("response."):
        return RESPONSES
    if "choices" in answered:
        return CHAT
    if "candidates" in answered or "usageMetadata" in answered:
        return GEMINI
    if "output" in answered:
        return CONVERSE if "stopReason" in answered else RESPONSES
    return ""


def _of_request(asked: Fields, url: str) -> str:
    if "contents" in asked:
        return GEMINI
    if "messages" not in asked:
        stored = {"instructions", "previous_response_id", "conversation"} & asked.keys()
        return RESPONSES if stored or ("input" in asked and "embeddings" not in url) else ""
    path = url.partition("?")[0]
    if "/converse" in path or "inferenceConfig" in asked or "toolConfig" in asked:
        return CONVERSE
    if path.endswith("/messages") or "anthropic_version" in asked or "system" in asked or "thinking" in asked:
        return MESSAGES
    tools = bytes(asked["tools"])[:4_000] if "tools" in asked else b""
    return MESSAGES if b'"input_schema"' in tools else CHAT


# ---- Requests ------------------------------------------------------------------------------------------------------


def request_in_body(fields: dict[str, Raw], dialect: str) -> Request | None:
    """What a request asks; None where it holds no conversation."""
    outline = _outline(fields, dialect)
    if not outline.messages and not {"previous_response_id", "conversation"} & fields.keys():
        return None
    known = Request(
        outline=outline,
        model=outline.model,
        previous=_text(fields, "previous_response_id"),
        kept=bool(decoded(fields["conversation"])) if "conversation" in fields else False,
    )
    whole: Fields = fields if outline.model else {**fields, "model": Raw(_NO_MODEL)}
    try:
        told = DIALECTS[dialect].decode_request(join_fields(whole))
    except TurnoutError:  # no provider took it as it stands here: what can be seen of it
        value = {name: decoded(raw) for name, raw in fields.items()}
        messages = messages_in({**value, "messages": value.get(_TALK[dialect])})
        return replace(known, messages=messages, tools=tools_in(value.get("tools")) or ())
    messages = told.messages
    if known.previous:
        # Instructions come with every request: of a conversation that goes on they are known.
        messages = tuple(m for m in messages if "_instructions" not in m.extras.get(dialect, {}))
    return replace(
        known,
        messages=plain_messages(messages),
        tools=plain_tools(told.tools),
        effort=told.reasoning.effort if told.reasoning is not None else None,
    )


def _outline(fields: dict[str, Raw], dialect: str) -> RequestOutline:
    """What identity needs, of bodies that no provider would take, too: dialects' own outlines refuse those."""
    talk = fields.get(_TALK[dialect], Raw(b"[]"))
    try:
        raws: Sequence[Raw] = _raws.decode(talk)
    except UNREADABLE:
        raws = [] if bytes(talk) == b"null" else [talk]
    metadata = decoded(fields["metadata"]) if "metadata" in fields else None
    prefix = ("tools", "system", "instructions", "systemInstruction", "system_instruction", "toolConfig")
    return RequestOutline(
        model=_text(fields, "model"),
        fields=fields,
        messages=tuple(raws),
        roles=tuple(_role(raw) for raw in raws),
        prefix=tuple(fields[name] for name in prefix if name in fields),
        metadata=object_in(metadata),
        prompt_cache_key=_text(fields, "prompt_cache_key") or None,
        caches=asked_cache(bytes(talk)) or asked_cache(b"".join(bytes(fields[n]) for n in prefix if n in fields)),
    )


def _role(raw: Raw) -> str:
    try:
        return _head.decode(raw).role
    except UNREADABLE:
        return ""


def _text(fields: Fields, name: str) -> str:
    told = decoded(fields[name]) if name in fields else None
    return told if isinstance(told, str) else ""


# ---- Answers -------------------------------------------------------------------------------------------------------


def answer_in_body(raw: Raw | bytes, asked: Fields, url: str = "") -> tuple[str, Answer | None]:
    """The dialect of an answer, and what it says; None where it is none of a conversation."""
    body = body_of(raw).strip()
    if body[:1] == b"[":
        return _streamed(_framed(body), asked, url)
    if body[:1] != b"{":
        return _streamed(body, asked, url) if _DATA.search(body) else (_of_request(asked, url), None)
    fields = fields_of(body)
    dialect = dialect_of(asked, fields, url)
    if _is_error(fields):
        return dialect, Answer(failed=True)
    if not dialect or not _of_answer(fields):
        return dialect, None
    try:
        told = DIALECTS[dialect].decode_response(body)
    except TurnoutError:
        return dialect, _summary(body, dialect)
    return dialect, _answer(told)


def _is_error(fields: Fields) -> bool:
    if "error" not in fields:
        return False
    return bytes(fields["error"]) != b"null" and not {"choices", "output"} & fields.keys()


def _framed(body: bytes) -> bytes:
    """A list of a stream's events as its text."""
    try:
        events = _raws.decode(body)
    except UNREADABLE:
        return b""
    return b"".join(b"data: " + body_of(event) + b"\n\n" for event in events)


def _streamed(text: bytes, asked: Fields, url: str) -> tuple[str, Answer | None]:
    if not _BLANK.search(text):  # some logs leave blank lines out
        text = b"\n\n".join(text.splitlines())
    first: Fields = {}
    for line in text[: 256 * 1024].splitlines():
        found = _DATA.match(line)
        first = fields_of(line[found.end() :]) if found else {}
        if first and (_of_answer(first) or _is_error(first)):
            break
    dialect = dialect_of(asked, first, url)
    if not dialect or not first:
        return dialect, None
    decoder = DIALECTS[dialect].stream_decoder()
    try:
        events = [*decoder.feed(text), *decoder.close()]
    except TurnoutError:
        return dialect, Answer(failed=True)
    kept = [event for event in events if not isinstance(event, StreamError)]
    started = next((event for event in kept if isinstance(event, ResponseStart)), None)
    if started is None:
        return dialect, Answer(failed=True)
    if any(isinstance(event, ResponseEnd) for event in kept):
        return dialect, _answer(collect(kept))
    # It was cut: what came was paid for, though nobody counted it to its end.
    cut = _answer(collect([*kept, ResponseEnd(finish=FinishReason("error"))]))
    usage = None if started.usage is None else replace(started.usage, output=None)
    return dialect, replace(cut, usage=usage, failed=not cut.parts)


def _answer(told: ChatResponse) -> Answer:
    raw: Json = told.usage.raw if told.usage is not None else None
    return Answer(
        id=told.id,
        model=told.model,
        parts=plain_parts(told.parts),
        usage=None if told.usage is None else replace(told.usage, raw=None),
        created=told.created,
        cost_nano_usd=nano_usd_of(object_in(raw).get("cost")),  # OpenRouter tells it with the usage
        failed=told.finish.unified == "error" and not told.parts,
    )


def _summary(body: bytes, dialect: str) -> Answer | None:
    """Of an answer that cannot be decoded in full: what the books need."""
    try:
        told = DIALECTS[dialect].summarise(body)
    except TurnoutError:
        return None
    usage = None if told.usage is None else replace(told.usage, raw=None)
    return Answer(id=told.id or "", model=told.model or "", usage=usage)
