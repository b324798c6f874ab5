"""Provider-neutral conversation types: what every wire format is decoded to and encoded from.

The types know nothing of HTTP, prices or providers. A value is immutable; fields that only one wire format
knows travel in `extras`, keyed by dialect name, and are restored when the same dialect is encoded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

__all__ = [
    "Audio",
    "CacheBreakpoint",
    "ChatRequest",
    "ChatResponse",
    "File",
    "FinishReason",
    "Image",
    "Json",
    "Message",
    "Opaque",
    "Part",
    "PartDelta",
    "PartEnd",
    "PartStart",
    "Reasoning",
    "ReasoningConfig",
    "Refusal",
    "RequestOutline",
    "ResponseEnd",
    "ResponseFormat",
    "ResponseStart",
    "Role",
    "Source",
    "StreamError",
    "StreamEvent",
    "Text",
    "ToolCall",
    "ToolChoice",
    "ToolResult",
    "ToolSpec",
    "Unified",
    "Usage",
    "collect",
    "spelled",
]

Json = Any
"""A decoded JSON value of the caller's or the provider's; we carry it and do not look inside."""

Extras = dict[str, dict[str, Json]]
Role = Literal["system", "developer", "user", "assistant", "tool"]
CacheTtl = Literal["5m", "1h"]


class CacheBreakpoint(Struct, frozen=True):
    """Ask the provider to cache the prefix that ends here. `ttl` None: the provider's default."""

    ttl: CacheTtl | None = None


class Source(Struct, frozen=True, kw_only=True):
    """Where the bytes of an image, file or audio are: exactly one of `data` (base64), `url`, `file_id`."""

    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class PartBase(Struct, frozen=True, kw_only=True, tag_field="part", omit_defaults=True):
    cache: CacheBreakpoint | None = None
    extras: Extras = {}


class Text(PartBase, frozen=True, kw_only=True, tag="text"):
    text: str
    citations: tuple[Json, ...] = ()


class Image(PartBase, frozen=True, kw_only=True, tag="image"):
    source: Source
    detail: str | None = None


class File(PartBase, frozen=True, kw_only=True, tag="file"):
    source: Source
    filename: str | None = None


class Audio(PartBase, frozen=True, kw_only=True, tag="audio"):
    source: Source
    format: str | None = None


class Reasoning(PartBase, frozen=True, kw_only=True, tag="reasoning"):
    """A model's thinking. `signature` and `redacted` mean something to `provider` (a dialect name) alone
    and are sent back to no one else."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    provider: str | None = None
    id: str | None = None


class ToolCall(PartBase, frozen=True, kw_only=True, tag="tool_call"):
    """`arguments` is the JSON text as the model wrote it: it may be malformed and is never reformatted.
    `freeform`: it is no JSON but plain text, for a tool that takes that. `namespace`: the tool's group."""

    id: str
    name: str
    namespace: str | None = None
    arguments: str = ""
    freeform: bool = False


class Refusal(PartBase, frozen=True, kw_only=True, tag="refusal"):
    text: str


class Opaque(PartBase, frozen=True, kw_only=True, tag="opaque"):
    """A block we do not know, kept whole for the dialect (`provider`) it came from."""

    provider: str
    data: Json


class ToolResult(PartBase, frozen=True, kw_only=True, tag="tool_result"):
    call_id: str
    parts: tuple[Text | Image | File | Audio | Opaque, ...] = ()
    is_error: bool = False
    name: str | None = None


Part = Text | Image | File | Audio | Reasoning | ToolCall | ToolResult | Refusal | Opaque


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message. Decoders keep the grouping of their wire format (a user message may hold tool results
    beside text); encoders regroup as theirs demands."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    extras: Extras = {}


class ToolSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool the model may call. `opaque` holds a server-side tool's whole definition, for `provider` alone.
    `freeform`: it takes plain text in place of JSON; `schema` is then the grammar of it, or nothing.
    `namespace`: the group of tools that it stands in."""

    name: str
    description: str | None = None
    schema: Json = None
    strict: bool | None = None
    cache: CacheBreakpoint | None = None
    freeform: bool = False
    namespace: str | None = None
    provider: str | None = None
    opaque: Json = None
    extras: Extras = {}


class ToolChoice(Struct, frozen=True, kw_only=True):
    """`name` goes with mode `tool`; `allowed`: only these of the tools may be called, all where it is empty."""

    mode: Literal["auto", "none", "required", "tool"]
    name: str | None = None
    allowed: tuple[str, ...] = ()


class ResponseFormat(Struct, frozen=True, kw_only=True):
    kind: Literal["text", "json", "json_schema"]
    name: str | None = None
    schema: Json = None
    strict: bool | None = None
    description: str | None = None


class ReasoningConfig(Struct, frozen=True, kw_only=True):
    """How much to think: an `effort` word or a token budget, whichever the caller's API has.
    `adaptive`: the model decides (Anthropic `thinking.type=adaptive`). `enabled` False: do not think."""

    enabled: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    adaptive: bool = False
    summary: str | None = None


class ChatRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request in full. System text is a message like any other; None means the caller said nothing.
    `bound` names the fields that only the caller's own API can do: with them no translation is possible."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: ReasoningConfig | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    stream: bool = False
    user: str | None = None
    metadata: dict[str, Json] = {}
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    verbosity: str | None = None
    bound: tuple[str, ...] = ()
    extras: Extras = {}


class RequestOutline(Struct, frozen=True, kw_only=True):
    """What routing needs of a request, without decoding its content.

    `fields` are the body's top-level values as raw bytes, in order: a patch rejoins them untouched.
    `*_bytes` count bytes of JSON. `prefix` is what precedes the first message (system, tools) and
    `messages` each message, as raw bytes, for prefix hashes. `roles` is one role a message;
    `tool_result_last` says that the newest message carries a tool's result, whatever its role. `acts` numbers the
    messages that may hold a tool's call or result; None: nobody looked.

    What decides the price beside tokens: `service_tier` is the tier asked for in `Usage`'s words (None: the
    provider's default); `caches` the longest lifetime of cache writes that may have been asked for (it may say so
    wrongly, never not); `answers` how many are asked for at once; `unseen` that the model may be given more than the
    body shows: a conversation that the provider keeps, results of tools that it runs itself.
    """

    model: str
    fields: dict[str, Raw]
    messages: tuple[Raw, ...]
    roles: tuple[str, ...]
    prefix: tuple[Raw, ...] = ()
    stream: bool = False
    include_usage: bool = True
    max_output_tokens: int | None = None
    tools: int = 0
    tools_bytes: int = 0
    system_bytes: int = 0
    messages_bytes: int = 0
    images: int = 0
    files: int = 0
    audio: int = 0
    json_schema: bool = False
    reasoning: bool = False
    tool_result_last: bool = False
    acts: tuple[int, ...] | None = None
    metadata: dict[str, Json] = {}
    user: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    caches: CacheTtl | None = None
    answers: int = 1
    unseen: bool = False


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one answer. `input` includes cache reads and writes, `output` includes reasoning, whatever
    the provider's own counting; None means not reported. `cache_write_1h` is the part of `cache_write`
    written with the one-hour lifetime. `service_tier` is the one it was served in: `standard`, `flex`, `batch`,
    `priority`, or a provider's own word that is none of these; None: not told, which means standard. `raw` is the
    provider's own usage object."""

    input: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    service_tier: str | None = None
    raw: Json = None


Unified = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "other"]
"""Why an answer ended, whatever API it came from."""


class FinishReason(Struct, frozen=True):
    unified: Unified
    raw: str | None = None


class ChatResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One whole answer. `created` is a Unix time in seconds, None where the API has none."""

    id: str
    model: str
    parts: tuple[Part, ...]
    finish: FinishReason
    usage: Usage | None = None
    created: int | None = None
    service_tier: str | None = None
    extras: Extras = {}


class ResponseStart(Struct, frozen=True, kw_only=True, tag="start"):
    id: str
    model: str
    created: int | None = None
    usage: Usage | None = None
    extras: Extras = {}


class PartStart(Struct, frozen=True, kw_only=True, tag="part_start"):
    """A part begins: `part` holds what is known of it at its start (a tool call's id and name, empty text)."""

    index: int
    part: Part


class PartDelta(Struct, frozen=True, kw_only=True, tag="part_delta"):
    """More of part `index`. `text` goes to the part's text, refusal, thinking or tool arguments;
    `signature` to a reasoning part; `citations` to a text part."""

    index: int
    text: str = ""
    signature: str | None = None
    citations: tuple[Json, ...] = ()
    extras: Extras = {}


class PartEnd(Struct, frozen=True, kw_only=True, tag="part_end"):
    index: int


class ResponseEnd(Struct, frozen=True, kw_only=True, tag="end"):
    finish: FinishReason
    usage: Usage | None = None
    service_tier: str | None = None
    extras: Extras = {}


class StreamError(Struct, frozen=True, kw_only=True, tag="error"):
    """The stream failed after it began: the provider said so, or it was cut before its end."""

    code: str
    message: str
    status: int = 502


StreamEvent = ResponseStart | PartStart | PartDelta | PartEnd | ResponseEnd | StreamError


def _grow(part: Part, delta: PartDelta) -> Part:
    """`part` with `delta` added."""
    match part:
        case Text():
            return replace(part, text=part.text + delta.text, citations=part.citations + delta.citations)
        case Reasoning():
            signature = (part.signature or "") + (delta.signature or "") or None
            return replace(part, text=part.text + delta.text, signature=signature)
        case ToolCall():
            return replace(part, arguments=part.arguments + delta.text)
        case Refusal():
            return replace(part, text=part.text + delta.text)
        case _:
            return part


def collect(events: Iterable[StreamEvent]) -> ChatResponse:
    """The whole answer that a stream of events spells out.

    Raises ValueError when the stream failed or never began or ended: half an answer is not an answer.
    """
    start: ResponseStart | None = None
    end: ResponseEnd | None = None
    parts: dict[int, Part] = {}
    pending: dict[int, list[PartDelta]] = {}
    for event in events:
        match event:
            case ResponseStart():
                start = event
            case PartStart():
                parts[event.index] = event.part
            case PartDelta():
                pending.setdefault(event.index, []).append(event)
            case ResponseEnd():
                end = event
            case StreamError():
                raise ValueError(f"the stream failed: {event.code}: {event.message}")
            case PartEnd():
                pass
    if start is None or end is None:
        raise ValueError("the stream was cut before its end")
    for index, deltas in pending.items():
        # Join once: adding delta by delta copies a long text thousands of times.
        joined = PartDelta(
            index=index,
            text="".join(d.text for d in deltas),
            signature="".join(d.signature for d in deltas if d.signature) or None,
            citations=tuple(c for d in deltas for c in d.citations),
        )
        parts[index] = _grow(parts[index], joined)
    return ChatResponse(
        id=start.id,
        model=start.model,
        parts=tuple(parts[i] for i in sorted(parts)),
        finish=end.finish,
        usage=end.usage or start.usage,
        created=start.created,
        service_tier=end.service_tier,
        extras={**start.extras, **end.extras},
    )


PIECE = 64
"""Characters of a text that go into one event where a whole answer is told as a stream."""


def spelled(answer: ChatResponse) -> Iterator[StreamEvent]:
    """The events that spell out a whole answer: what `collect` makes of them is the answer again."""
    yield ResponseStart(id=answer.id, model=answer.model, created=answer.created, usage=answer.usage)
    for index, part in enumerate(answer.parts):
        yield from _spelled_part(index, part)
        yield PartEnd(index=index)
    yield ResponseEnd(finish=answer.finish, usage=answer.usage, service_tier=answer.service_tier, extras=answer.extras)


def _spelled_part(index: int, part: Part) -> Iterator[StreamEvent]:
    match part:
        case Text():
            yield PartStart(index=index, part=replace(part, text="", citations=()))
            yield from _pieces(index, part.text)
            if part.citations:
                yield PartDelta(index=index, citations=part.citations)
        case Reasoning(redacted=None):
            yield PartStart(index=index, part=replace(part, text="", signature=None))
            yield from _pieces(index, part.text)
            if part.signature:
                yield PartDelta(index=index, signature=part.signature)
        case ToolCall():
            yield PartStart(index=index, part=replace(part, arguments=""))
            yield from _pieces(index, part.arguments)
        case Refusal():
            yield PartStart(index=index, part=replace(part, text=""))
            yield from _pieces(index, part.text)
        case _:
            yield PartStart(index=index, part=part)


def _pieces(index: int, text: str) -> Iterator[PartDelta]:
    return (PartDelta(index=index, text=text[at : at + PIECE]) for at in range(0, len(text), PIECE))
