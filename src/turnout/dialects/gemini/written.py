"""Neutral parts to parts of a content, in requests and answers alike (ai.google.dev/api/caching#Part)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import msgspec

from turnout.chat import (
    Audio,
    File,
    Image,
    Json,
    Opaque,
    Part,
    PartBase,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from turnout.dialects.gemini.spelling import NAME, own_keys, spelled, write_keys
from turnout.dialects.loss import THINKING, UNKNOWN_BLOCK
from turnout.dialects.tool_shapes import arguments_of

__all__ = ["Writer"]

_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "pdf": "application/pdf",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
}
"""Types by the ending of a URL: Vertex AI asks for one beside it."""

_ELSEWHERE = "a file that another provider keeps was left out: the chosen model's API cannot read it"
_NAMELESS = "tool"


class Writer:
    """Writes parts and gathers what is lost.

    `names` are the names of calls by id: results must say theirs here, and elsewhere need not. `attach`: the model
    takes files within the results of tools.
    """

    def __init__(self, names: Mapping[str, str] | None = None, *, attach: bool = True) -> None:
        self.warnings: list[str] = []
        self.moved: list[dict[str, Json]] = []
        """Files out of results that must follow in a content of their own."""
        self._names = names or {}
        self._attach = attach

    def parts(self, parts: Iterable[Part], *, ours: bool = False) -> list[dict[str, Json]]:
        """Wire parts; what has no counterpart is left out with a warning. Empty texts are, too, but `ours`."""
        kept = (p for p in parts if ours or not isinstance(p, (Text, Refusal)) or p.text)
        return [wire for part in kept if (wire := self.part(part)) is not None]

    def part(self, part: Part) -> dict[str, Json] | None:
        match part:
            case Text() | Refusal():
                return _with(part, {"text": part.text})
            case Reasoning():
                return self._thought(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case Image() | File() | Audio():
                return self._media(part)
            case Opaque():
                if part.provider == NAME:
                    return part.data
                self.warnings.append(UNKNOWN_BLOCK)
                return None

    def _thought(self, part: Reasoning) -> dict[str, Json] | None:
        if part.provider != NAME:
            self.warnings.append(THINKING)
            return None
        signed = {"thoughtSignature": part.signature} if part.signature else {}
        return _with(part, {"text": part.text, "thought": True, **signed})

    def _call(self, part: ToolCall) -> dict[str, Json]:
        own = part.extras.get(NAME, {})
        args = arguments_of(part, self.warnings)
        inner: dict[str, Json] = {} if own.get("_id") is False else {"id": part.id}
        inner["name"] = part.name
        if args or own.get("_args") != "absent":
            inner["args"] = args
        return _with(part, {"functionCall": inner})

    def _result(self, part: ToolResult) -> dict[str, Json]:
        own = part.extras.get(NAME, {})
        told = own.get("_id", part.call_id)
        inner: dict[str, Json] = {} if told is False else {"id": told}
        inner["name"] = part.name or self._names.get(part.call_id) or _NAMELESS
        if own.get("_response") != "absent":
            inner["response"] = _response(part, own.get("_response"))
        files = self.parts(p for p in part.parts if not isinstance(p, Text))
        if files and ("_response" in own or self._attach):
            inner["parts"] = files
        elif files:
            self.warnings.append(
                "files in a tool's result were moved behind it: the chosen model's API takes JSON alone there"
            )
            self.moved += files
        return _with(part, {"functionResponse": inner})

    def _media(self, part: Image | File | Audio) -> dict[str, Json] | None:
        """Bytes or a URI. What this API's own callers sent gets no type or name that it had not."""
        source, own = part.source, part.extras.get(NAME)
        named = {"displayName": own["_name"]} if own and "_name" in own else {}
        kind = source.media_type if own is not None else _media_type(part)
        if source.data is not None:
            kind = kind or ("application/octet-stream" if own is None else None)
            typed = {"mimeType": kind} if kind else {}
            return _with(part, {"inlineData": {**typed, "data": source.data, **named}})
        uri = source.url if source.url is not None else source.file_id
        if uri is None or (own is None and source.file_id is not None):
            self.warnings.append(_ELSEWHERE)
            return None
        kind = kind or (_guessed(source) if own is None else None)
        return _with(part, {"fileData": {"fileUri": uri, **({"mimeType": kind} if kind else {}), **named}})


def _with(part: PartBase, wire: dict[str, Json]) -> dict[str, Json]:
    """`wire` with what only this API knows, spelled as its caller did."""
    if NAME not in part.extras:
        return wire
    form = spelled(part.extras)
    own = part.extras[NAME].get("_inner", {})
    out: dict[str, Json] = {}
    for key, value in wire.items():
        inner = cast("dict[str, Json]", value) if isinstance(value, dict) else None
        out[key] = value if inner is None else write_keys({**inner, **own}, form)
    return write_keys({**out, **own_keys(part.extras)}, form)


def _response(part: ToolResult, form: str | None) -> dict[str, Json]:
    """The object that a result must be here: itself, or its text under a key that says how it went."""
    text = "\n".join(p.text for p in part.parts if isinstance(p, Text))
    if form in {None, "object"} and not (part.is_error and form is None):
        try:
            value: Json = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            value = None
        if isinstance(value, dict):
            return cast("dict[str, Json]", value)
    known = form if form not in {None, "object"} else None
    return {known or ("error" if part.is_error else "result"): text}


def _media_type(part: Image | File | Audio) -> str | None:
    if part.source.media_type is not None:
        return part.source.media_type
    if isinstance(part, Audio):
        return f"audio/{part.format or 'wav'}"
    return "image/png" if isinstance(part, Image) and part.source.data is not None else None


def _guessed(source: Source) -> str | None:
    path = (source.url or "").partition("?")[0].partition("#")[0]
    return _TYPES.get(path.rpartition("/")[2].rpartition(".")[2].lower())
