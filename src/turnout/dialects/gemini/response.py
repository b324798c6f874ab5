"""Whole answers of generateContent to and from `ChatResponse` (ai.google.dev/api/generate-content#response-body).

The first candidate is the answer; further ones, and what only this API tells beside a candidate's content (grounding,
citations, log probabilities), are kept in `extras["gemini"]`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.chat import ChatResponse, FinishReason, Json, Part, Reasoning, Text, ToolCall, Unified
from turnout.dialects.base import Encoded, Summary
from turnout.dialects.gemini.encode import UNSIGNED
from turnout.dialects.gemini.parts import Calls, decode_parts
from turnout.dialects.gemini.spelling import NAME, own_keys
from turnout.dialects.gemini.usage import decode_usage, encode_usage, tier_of
from turnout.dialects.gemini.written import Writer
from turnout.dialects.loss import CITATIONS
from turnout.dialects.values import told_once
from turnout.errors import InvalidRequest, UpstreamFailure

__all__ = [
    "Head",
    "blocked",
    "created_of",
    "decode_response",
    "encode_response",
    "finish_of",
    "finish_word",
    "shown",
    "signed",
    "summarise",
    "written_time",
]

FINISH: dict[str, Unified] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MALFORMED_FUNCTION_CALL": "error",
    "MALFORMED_RESPONSE": "error",
    "MISSING_THOUGHT_SIGNATURE": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "TOO_MANY_TOOL_CALLS": "error",
}
"""Everything else (LANGUAGE, OTHER, NO_IMAGE, ...) is `other`."""

_WORDS: dict[Unified, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "pause": "OTHER",
    "error": "OTHER",
    "other": "OTHER",
}
_TOP = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_CANDIDATE = frozenset({"content", "finishReason"})
_NO_ANSWER = "the provider's answer has no candidate that can be read"

_MARK = base64.b64encode(base64.urlsafe_b64decode(UNSIGNED)).decode()
"""The same bytes in the alphabet that Google answers in: some libraries read no other."""


class _Content(Struct):
    parts: list[dict[str, Raw]] | None = None


class _CandidateHead(Struct):
    finish: str | None = msgspec.field(default=None, name="finishReason")
    index: int | None = None
    content: _Content | None = None

    @property
    def calls(self) -> bool:
        parts = self.content.parts if self.content is not None else None
        return any("functionCall" in part for part in parts or ())


class Head(Struct):
    """What the books need of an answer, or of a piece of one."""

    candidates: list[_CandidateHead] | None = None
    usage: Any = msgspec.field(default=None, name="usageMetadata")
    model: str | None = msgspec.field(default=None, name="modelVersion")
    id: str | None = msgspec.field(default=None, name="responseId")
    feedback: Any = msgspec.field(default=None, name="promptFeedback")
    error: Any = None

    @property
    def first(self) -> _CandidateHead | None:
        return next((c for c in self.candidates or () if not c.index), None)


_head = msgspec.json.Decoder(Head)


def finish_of(word: str | None, *, calls: bool) -> FinishReason:
    """A stop is a call for tools where there are any."""
    unified = FINISH.get(word or "", "other")
    return FinishReason("tool_calls" if unified == "stop" and calls else unified, word)


def finish_word(finish: FinishReason) -> str:
    """The reason in this API's words: the provider's own where it is one of them."""
    known = FINISH.get(finish.raw or "")
    same = known == finish.unified or (known == "stop" and finish.unified == "tool_calls")
    return finish.raw if same and finish.raw is not None else _WORDS[finish.unified]


def blocked(feedback: Json) -> FinishReason | None:
    """The end of an answer that was never begun: the prompt itself was refused."""
    reason = cast("dict[str, Json]", feedback).get("blockReason") if isinstance(feedback, dict) else None
    return FinishReason("content_filter", reason) if isinstance(reason, str) and reason else None


def summarise(body: bytes) -> Summary:
    """Raises UpstreamFailure when the body is no answer."""
    try:
        head = _head.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    first = head.candidates[0] if head.candidates else None
    finish = finish_of(first.finish, calls=first.calls) if first is not None else blocked(head.feedback)
    if finish is None:
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000])
    return Summary(usage=decode_usage(head.usage), finish=finish, model=head.model, id=head.id)


def decode_response(body: bytes) -> ChatResponse:
    """Raises UpstreamFailure when the body has neither a candidate nor a reason why not."""
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
        candidates = msgspec.convert(told.get("candidates") or [], list[dict[str, Any]])
        answer_id = str(told.get("responseId") or "")
        parts, finish = _answer(candidates, told.get("promptFeedback"), answer_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidRequest):
        raise UpstreamFailure(_NO_ANSWER, body=body[:2_000]) from None
    usage = decode_usage(told.get("usageMetadata"))
    own: dict[str, Json] = {k: v for k, v in told.items() if k not in _TOP and not k.startswith("_")}
    if candidates:
        own["_candidate"] = _beside(candidates[0])
    if len(candidates) > 1:
        own["_candidates"] = candidates[1:]
    return ChatResponse(
        id=answer_id,
        model=str(told.get("modelVersion") or ""),
        parts=parts,
        finish=finish,
        usage=usage,
        created=created_of(told.get("createTime")),
        service_tier=tier_of(usage),
        extras={NAME: own},
    )


def _answer(candidates: list[dict[str, Any]], feedback: Json, salt: str) -> tuple[tuple[Part, ...], FinishReason]:
    """Raises InvalidRequest or a ValidationError for what is no answer."""
    if not candidates:
        if (refused := blocked(feedback)) is None:
            raise InvalidRequest(_NO_ANSWER)
        return (), refused
    first = candidates[0]
    content = msgspec.convert(first.get("content") or {}, dict[str, Any])
    parts = decode_parts(content.get("parts"), "candidates[0].content.parts", Calls(salt))
    word = msgspec.convert(first.get("finishReason"), str | None)
    return parts, finish_of(word, calls=any(isinstance(p, ToolCall) for p in parts))


def _beside(candidate: dict[str, Any]) -> dict[str, Json]:
    """What a candidate tells beside its parts and reason; `_content` notes a content that is not as usual."""
    out: dict[str, Json] = {k: v for k, v in candidate.items() if k not in _CANDIDATE and not k.startswith("_")}
    content = candidate.get("content")
    if not isinstance(content, dict) or "parts" not in content or content.get("role") != "model":
        out["_content"] = {k: v for k, v in content.items() if k != "parts"} if isinstance(content, dict) else None
    if "finishReason" not in candidate:
        out["_unfinished"] = True
    return out


def created_of(value: Json) -> int | None:
    """Unix time of a `createTime` (RFC 3339)."""
    if not isinstance(value, str):
        return None
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except (ValueError, OverflowError):
        return None


def written_time(created: int | None) -> dict[str, Json]:
    """`createTime` of an answer of another API."""
    if created is None:
        return {}
    try:
        return {"createTime": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    except (ValueError, OverflowError, OSError):
        return {}


# ---- And back ----------------------------------------------------------------------------------------------


def shown(part: Part) -> Part:
    """In an answer, other models' thinking may be shown; unsigned, it does no harm when it comes back."""
    if isinstance(part, Reasoning) and part.provider != NAME and part.text:
        return Reasoning(text=part.text, provider=NAME)
    return part


def signed(call: ToolCall) -> ToolCall:
    """The first call of another model's answer, with what Gemini 3 takes for a signature: the caller brings it back,
    maybe to Gemini."""
    own = call.extras.get(NAME, {})
    if "thoughtSignature" in own:
        return call
    return replace(call, extras={**call.extras, NAME: {**own, "thoughtSignature": _MARK}})


def encode_response(response: ChatResponse) -> Encoded:
    """An answer of this API comes back as it was; of other APIs' answers, what has no counterpart is warned of."""
    ours = NAME in response.extras
    own = response.extras.get(NAME, {})
    writer = Writer()
    parts = response.parts if ours else _presented(response.parts)
    if not ours and any(p.citations for p in parts if isinstance(p, Text)):
        writer.warnings.append(CITATIONS)
    out: dict[str, Json] = {}
    if not ours or "_candidate" in own:
        out["candidates"] = [_candidate(own.get("_candidate"), writer.parts(parts, ours=ours), response.finish)]
        out["candidates"] += own.get("_candidates", [])
    out |= encode_usage(response.usage)
    out |= {"modelVersion": response.model} if response.model else {}
    out |= {"responseId": response.id} if response.id else {}
    out |= own_keys(response.extras) if ours else written_time(response.created)
    return Encoded(msgspec.json.encode(out), told_once(writer.warnings))


def _presented(parts: Iterable[Part]) -> list[Part]:
    out = [shown(part) for part in parts]
    at = next((i for i, p in enumerate(out) if isinstance(p, ToolCall)), None)
    if at is not None and isinstance(call := out[at], ToolCall):
        out[at] = signed(call)
    return out


def _candidate(own: dict[str, Json] | None, parts: list[dict[str, Json]], finish: FinishReason) -> dict[str, Json]:
    beside: dict[str, Json] = dict(own) if own is not None else {"index": 0}
    unfinished = beside.pop("_unfinished", False)
    content: dict[str, Json] | None = {"role": "model", "parts": parts}
    if "_content" in beside:
        odd: Json = beside.pop("_content")
        content = None if odd is None else {**odd, **({"parts": parts} if parts else {})}
    out: dict[str, Json] = {} if content is None else {"content": content}
    if not unfinished:
        out["finishReason"] = finish_word(finish)
    return {**out, **beside}
