"""The response cache's pure part: which requests it may answer, when two of them are the same, what of an answer is
kept, and how that is told again. No I/O."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Raw, Struct, field
from msgspec.structs import replace

from turnout.catalog.models import TIERS, Deployment
from turnout.chat import (
    ChatResponse,
    Part,
    Refusal,
    RequestOutline,
    Text,
    ToolCall,
    Unified,
    Usage,
    collect,
    spelled,
)
from turnout.context import Decision
from turnout.conversations import keeps
from turnout.dialects.base import Dialect
from turnout.dialects.fields import decode_fields, join_fields
from turnout.errors import InvalidRequest, UpstreamFailure

__all__ = [
    "UNCOUNTED",
    "AnswerRules",
    "AnswerStore",
    "CacheWishes",
    "Form",
    "Kept",
    "SemanticRules",
    "cacheable",
    "form_of",
    "keepable",
    "key_of",
    "read_cache_wishes",
    "stands_for",
    "told_as",
    "without_controls",
]

Form = Literal["whole", "stream", "stream+usage"]
"""How an answer is told: in one piece, or as a stream with or without the usage that OpenAI's clients may ask for."""

Use = Literal["auto", "on", "off", "refresh"]


class SemanticRules(Struct, frozen=True, kw_only=True):
    """Questions that mean the same: `model` embeds them, or the plug-in `plugin` with its `options`
    (docs/guides/plug-ins.md); `threshold` is the least cosine of two of them."""

    model: str = ""
    threshold: float = 0.95
    plugin: str | None = None
    options: dict[str, Any] = {}


class AnswerRules(Struct, frozen=True, kw_only=True):
    """The response cache (docs/answers.md). `ttl_s`: seconds an answer is kept; `max_bytes`: of all kept answers, the
    longest unused go first; `scope`: who shares them. `any_temperature`: also where a model was free to say something
    else each time. `semantic`: also for a question in other words."""

    enabled: bool = False
    ttl_s: float = 3600.0
    max_bytes: int = 256 * 1024 * 1024
    store: Literal["memory", "sqlite"] = "memory"
    scope: Literal["key", "team", "all"] = "key"
    any_temperature: bool = False
    semantic: SemanticRules | None = None


class CacheWishes(Struct, frozen=True, kw_only=True):
    """What a request says of the response cache. `use`: `on` whatever its temperature, `off`, or `refresh`: a new
    answer, to be kept. `max_age_s`: how old an answer may be; `ttl_s`: for how long this one is to be kept; answers are
    shared within a `namespace`."""

    use: Use = "auto"
    max_age_s: float | None = None
    ttl_s: float | None = None
    namespace: str = ""


class Kept(Struct, frozen=True, kw_only=True):
    """An answer as its first caller got it, byte for byte. `usage` is what it took then, for callers who want it in
    another form; times are Unix seconds."""

    body: bytes
    form: Form
    deployment: str
    request_id: str
    made_s: float
    expires_s: float
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()


class AnswerStore(Protocol):
    """Where answers are kept. Neither raises: a store that fails has found nothing and keeps nothing."""

    async def find(self, key: bytes, *, now_s: float) -> Kept | None:
        """None for what is not there, or no longer. What is found counts as used."""
        ...

    async def keep(self, key: bytes, kept: Kept, *, max_bytes: int) -> None:
        """In place of what `key` had before. While all are more than `max_bytes`, the longest unused goes."""
        ...


# ---- What the caller says ----------------------------------------------------------------------------------------

_USES: Mapping[str, Use] = {"on": "on", "off": "off", "refresh": "refresh"}

_FOREIGN: Mapping[str, Mapping[str, Use]] = {
    "x-portkey-cache-force-refresh": {"true": "refresh"},
    "helicone-cache-enabled": {"true": "on", "false": "off"},
}
"""Headers that clients of other gateways send, and what they mean here."""

_CONTROLS = frozenset({"no-cache", "no-store", "ttl", "s-maxage", "s-max-age", "namespace", "use-cache"})
"""What LiteLLM's clients may say in a body's `cache` (docs.litellm.ai/docs/proxy/caching_controls)."""


class _Controls(Struct, rename="kebab"):
    no_cache: bool | None = None
    no_store: bool | None = None
    use_cache: bool | None = None
    ttl: float | None = None
    s_maxage: float | None = None
    s_max_age: float | None = None
    namespace: str | None = None


def without_controls(body: bytes) -> tuple[bytes, Raw | None]:
    """A body without LiteLLM's `cache` object, which no provider takes, and that object; None where there is none or
    it is something else."""
    if b'"cache"' not in body:
        return body, None
    try:
        fields = decode_fields(body)
        told = msgspec.json.decode(fields["cache"], type=dict[str, Raw])
    except (InvalidRequest, KeyError, msgspec.DecodeError):
        return body, None
    if not told or not told.keys() <= _CONTROLS:
        return body, None
    controls = fields.pop("cache")
    return join_fields(fields), controls


_SAY = frozenset({"cache-control", "x-turnout-cache", *_FOREIGN})
_NOTHING = CacheWishes()


def read_cache_wishes(headers: Mapping[str, str], controls: Raw | None = None) -> CacheWishes:
    """Of `x-turnout-cache`, else `cache-control` (RFC 9111, section 5.2.1), other gateways' headers and a body's
    `cache`. `no-store` is `off`: such a request is neither kept nor answered from what is. Raises InvalidRequest."""
    if controls is None and headers.keys().isdisjoint(_SAY):
        return _NOTHING
    wishes = _of_body(controls)
    for name, meanings in _FOREIGN.items():
        if (use := meanings.get(headers.get(name, "").strip().lower())) is not None:
            wishes = replace(wishes, use=use)
    directives = {d.strip().lower() for d in headers.get("cache-control", "").split(",")}
    for directive in directives:
        age = directive.removeprefix("max-age=")
        if age != directive and age.isdigit():
            wishes = replace(wishes, max_age_s=float(age))
    if "no-cache" in directives:
        wishes = replace(wishes, use="refresh")
    if "no-store" in directives:
        wishes = replace(wishes, use="off")
    if (told := headers.get("x-turnout-cache")) is not None:
        if told.strip().lower() not in _USES:
            raise InvalidRequest("header x-turnout-cache must be on, off or refresh", param="x-turnout-cache")
        wishes = replace(wishes, use=_USES[told.strip().lower()])
    return wishes


def _of_body(controls: Raw | None) -> CacheWishes:
    if controls is None:
        return CacheWishes()
    try:
        told = msgspec.json.decode(controls, type=_Controls)
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"cache: {error}", param="cache") from None
    use: Use = "off" if told.no_store else "refresh" if told.no_cache else "on" if told.use_cache else "auto"
    return CacheWishes(
        use=use,
        max_age_s=told.s_maxage if told.s_maxage is not None else told.s_max_age,
        ttl_s=told.ttl,
        namespace=told.namespace or "",
    )


# ---- Which requests, and when two are the same -------------------------------------------------------------------


class _Generation(Struct):
    temperature: float | None = None


class _Sampling(Struct):
    temperature: float | None = None
    camel: _Generation | None = field(default=None, name="generationConfig")
    snake: _Generation | None = field(default=None, name="generation_config")


_WHERE = ("temperature", "generationConfig", "generation_config")
_sampling = msgspec.json.Decoder(_Sampling)


def cacheable(outline: RequestOutline, dialect: str, *, any_temperature: bool, samples: bool = True) -> bool:
    """Whether a request's answer may be kept and given again: it says all that the model is given, asks for one answer,
    keeps no state elsewhere, and leaves the model no choice (its temperature is 0: an absent one means the provider's
    default, which is not). `samples` False: nothing is drawn at random (embeddings)."""
    if outline.unseen or outline.answers != 1 or keeps(dialect, outline.fields):
        return False
    if any_temperature or not samples:
        return True
    fields = {name: outline.fields[name] for name in _WHERE if name in outline.fields}
    try:
        told = _sampling.decode(join_fields(fields))
    except msgspec.DecodeError:
        return False  # whoever serves the request will say what is wrong
    said = [told, told.camel, told.snake]
    return any(part is not None and part.temperature == 0 for part in said)


UNCOUNTED = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "labels",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Top-level fields that say who asks, how to deliver and how to bill, and change no answer. All others count, known or
not: a list of those that count forgets the next one."""

_ONE_FORM = b"ogprobs"  # logprobs, top_logprobs, responseLogprobs
_MAY_ASK_FOR_LOGPROBS = ("logprobs", "top_logprobs", "include", "generationConfig", "generation_config")


def key_of(outline: RequestOutline, dialect: str, form: Form, circumstances: Sequence[str | None]) -> bytes | None:
    """A name for all requests that are the same, whatever the order of their JSON's keys and its white space.

    `circumstances` are what else tells requests apart: the owner, the effort, headers that go to the provider. The
    form does not count, except where an answer could not be told in another without loss. None for a body that cannot
    be named.
    """
    fields = outline.fields
    lossy = any(_ONE_FORM in bytes(fields[n]) or _ONE_FORM in n.encode() for n in _MAY_ASK_FOR_LOGPROBS if n in fields)
    try:
        counted = {n: msgspec.json.decode(raw) for n, raw in fields.items() if n not in UNCOUNTED}
        told = (dialect, outline.model, form if lossy else None, tuple(circumstances), counted)
        # MessagePack: as plain as JSON, and texts need no escaping, which is most of the work.
        return hashlib.sha256(msgspec.msgpack.encode(told, order="sorted")).digest()
    except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return None


def form_of(outline: RequestOutline) -> Form:
    """The form in which a request's caller wants its answer."""
    if not outline.stream:
        return "whole"
    return "stream+usage" if outline.include_usage else "stream"


# ---- Which answers, and how they are told again ------------------------------------------------------------------

_NORMAL: frozenset[Unified] = frozenset({"stop", "tool_calls"})


def keepable(body: bytes, form: Form, dialect: Dialect | None) -> bool:
    """Whether an answer is one that anybody would want again: it is whole, ended by itself, and says something that is
    no refusal. `dialect` None: it is no conversation (embeddings)."""
    if dialect is None:
        return True
    try:
        answer = _read(body, form, dialect)
    except (UpstreamFailure, ValueError):
        return False
    refused = any(isinstance(part, Refusal) for part in answer.parts)
    says = any(isinstance(part, ToolCall) or (isinstance(part, Text) and part.text) for part in answer.parts)
    return answer.finish.unified in _NORMAL and says and not refused


def stands_for(deployment: str, decision: Decision) -> Deployment | None:
    """The deployment that gave a kept answer, where `decision` would take its answer now: it may still be asked, and
    is the first choice or of no lower tier. None where not: the key does not open it any more, the mode points
    elsewhere, the session was taken up a tier, or a stand-in had answered while the first choice was down."""
    first = decision.candidates[0].deployment
    author = next((c.deployment for c in decision.candidates if c.deployment.id == deployment), None)
    if author is None or author.id == first.id:
        return author
    if author.tier is None or first.tier is None or TIERS.index(author.tier) < TIERS.index(first.tier):
        return None
    return author


def told_as(kept: Kept, form: Form, dialect: Dialect | None) -> bytes | None:
    """A kept answer's bytes in `form`: the very same where it was kept so, else put so by its wire format's own
    functions. None where a part of it would be lost."""
    if kept.form == form:
        return kept.body
    if dialect is None:
        return None
    try:
        answer = _read(kept.body, kept.form, dialect)
        answer = replace(answer, usage=answer.usage or kept.usage)
        if form == "whole":
            body = dialect.encode_response(answer).body
        else:
            encoder = dialect.stream_encoder(include_usage=form == "stream+usage")
            body = b"".join(encoder.feed(event) for event in spelled(answer))
        return None if _loses(answer, _read(body, form, dialect)) else body
    except (UpstreamFailure, ValueError):
        return None


def _read(body: bytes, form: Form, dialect: Dialect) -> ChatResponse:
    """Raises UpstreamFailure or ValueError for what is no whole answer."""
    if form == "whole":
        return dialect.decode_response(body)
    decoder = dialect.stream_decoder()
    return collect([*decoder.feed(body), *decoder.close()])


def _loses(before: ChatResponse, after: ChatResponse) -> bool:
    """Whether `after` lacks anything that `before` has: thinking, a signature, an id that the next request needs."""
    if before.finish.unified != after.finish.unified or len(before.parts) != len(after.parts):
        return True
    pairs = zip(before.parts, after.parts, strict=True)
    return any(_plain(was) != _plain(now) or not _own(was).items() <= _own(now).items() for was, now in pairs)


def _plain(part: Part) -> Part:
    """A part without what only its wire format knows, and the arguments of a call without white space."""
    if isinstance(part, ToolCall):
        with contextlib.suppress(msgspec.DecodeError):
            arguments = msgspec.json.encode(msgspec.json.decode(part.arguments), order="sorted")
            part = replace(part, arguments=arguments.decode())
    return replace(part, extras={})


def _own(part: Part) -> dict[str, bytes]:
    """What only the part's wire format knows, as JSON by key, less what is empty, a decoder's own note, or how far an
    item had come when it was told."""
    told = ((k, v) for fields in part.extras.values() for k, v in fields.items())
    kept = {k: v for k, v in told if v and not k.startswith("_") and k != "status"}
    return {key: msgspec.json.encode(value, order="sorted") for key, value in kept.items()}
