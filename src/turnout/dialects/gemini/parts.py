"""Parts of a content to neutral parts, as they stand in requests and answers alike (ai.google.dev/api/caching#Part)."""

from __future__ import annotations

import msgspec

from turnout.chat import Audio, File, Image, Json, Opaque, Part, Reasoning, Source, Text, ToolCall, ToolResult
from turnout.dialects.gemini.spelling import NAME, extras_of, read_keys
from turnout.dialects.values import object_at, optional_list, optional_text, text_at

__all__ = ["Calls", "decode_part", "decode_parts"]

_KINDS = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_BLOB = frozenset({"mimeType", "data", "fileUri", "displayName"})
_CALL = frozenset({"id", "name", "args"})
_RESULT = frozenset({"id", "name", "response", "parts"})
_PLAIN_RESULTS = ("result", "output", "error")
"""A response of one of these keys alone, with a text, is that text to other APIs."""

_LONGEST_ID = 40
"""OpenAI takes no longer ids of calls."""

_SOUNDS = {"mpeg": "mp3", "x-wav": "wav", "vnd.wave": "wav", "x-aac": "aac"}


class Calls:
    """Ids for calls that came without one, and which call a result answers: the first open one of its name.

    `salt` sets the calls of an answer apart from those of earlier answers in the same conversation.
    """

    def __init__(self, salt: str | None = None) -> None:
        self._salt = salt
        self._count = 0
        self._open: list[tuple[str, str, bool]] = []

    def called(self, own: str | None, name: str) -> str:
        """The id of a call; `own` is the one that it came with."""
        told = self._made(name) if own is None else own
        self._count += 1
        self._open.append((told, name, own is None))
        return told

    def answered(self, own: str | None, name: str) -> str:
        """The id of the call that a result belongs to."""
        named = [one for one in self._open if one[1] == name and (own is None or one[2])]
        found = next((one for one in self._open if one[0] == own), named[0] if named else None)
        if found is not None:
            self._open.remove(found)
            return found[0]
        if own is not None:
            return own
        self._count += 1
        return self._made(name)

    def _made(self, name: str) -> str:
        return f"call_{self._count}_{self._salt or name}"[:_LONGEST_ID]


def decode_parts(value: Json, path: str, calls: Calls) -> tuple[Part, ...]:
    return tuple(decode_part(part, f"{path}[{i}]", calls) for i, part in enumerate(optional_list(value, path)))


def decode_part(value: Json, path: str, calls: Calls) -> Part:
    """One part. Raises InvalidRequest that names the field; parts we do not know are kept whole."""
    form: dict[str, str] = {}
    told = read_keys(object_at(value, path), form)
    kind = next((name for name in _KINDS if name in told), None)
    match kind:
        case "text":
            return _said(told, path, form)
        case "inlineData" | "fileData":
            return _media(kind, told, path, form)
        case "functionCall":
            return _call(told, path, calls, form)
        case "functionResponse":
            return _result(told, path, calls, form)
        case _:
            return Opaque(provider=NAME, data=value)


def _said(told: dict[str, Json], path: str, form: dict[str, str]) -> Part:
    text = text_at(told["text"], f"{path}.text")
    if told.get("thought") is not True:
        return Text(text=text, extras=extras_of(told, {"text"}, form))
    signature = optional_text(told.get("thoughtSignature"), f"{path}.thoughtSignature")
    extras = extras_of(told, {"text", "thought", "thoughtSignature"}, form)
    return Reasoning(text=text, signature=signature, provider=NAME, extras=extras)


def _media(kind: str, told: dict[str, Json], path: str, form: dict[str, str]) -> Image | Audio | File:
    inner = read_keys(object_at(told[kind], f"{path}.{kind}"), form)
    media_type = optional_text(inner.get("mimeType"), f"{path}.{kind}.mimeType")
    if kind == "inlineData":
        source = Source(media_type=media_type, data=text_at(inner.get("data"), f"{path}.{kind}.data"))
    else:
        source = _file(text_at(inner.get("fileUri"), f"{path}.{kind}.fileUri"), media_type)
    odd = {k: v for k, v in inner.items() if k not in _BLOB} or None
    name = optional_text(inner.get("displayName"), f"{path}.{kind}.displayName")
    extras = extras_of(told, {kind}, form, ours=True, inner=odd, name=name)
    what, _, rest = (media_type or "").partition("/")
    if what == "image":
        return Image(source=source, extras=extras)
    if what == "audio":
        sort = rest.partition(";")[0].lower()
        return Audio(source=source, format=_SOUNDS.get(sort, sort) or None, extras=extras)
    return File(source=source, filename=name, extras=extras)


def _file(uri: str, media_type: str | None) -> Source:
    """A page of the web, or a file that only Google can read."""
    public = uri.startswith(("http://", "https://")) and "generativelanguage.googleapis.com/" not in uri
    return Source(media_type=media_type, url=uri) if public else Source(media_type=media_type, file_id=uri)


def _call(told: dict[str, Json], path: str, calls: Calls, form: dict[str, str]) -> ToolCall:
    at = f"{path}.functionCall"
    inner = read_keys(object_at(told["functionCall"], at), form)
    own = optional_text(inner.get("id"), f"{at}.id") or None
    name = text_at(inner.get("name"), f"{at}.name")
    args = object_at(inner["args"], f"{at}.args") if "args" in inner else None
    extras = extras_of(
        told,
        {"functionCall"},
        form,
        id=None if own else False,
        args="absent" if args is None else None,
        inner={k: v for k, v in inner.items() if k not in _CALL} or None,
    )
    arguments = msgspec.json.encode(args or {}).decode()
    return ToolCall(id=calls.called(own, name), name=name, arguments=arguments, extras=extras)


def _result(told: dict[str, Json], path: str, calls: Calls, form: dict[str, str]) -> ToolResult:
    at = f"{path}.functionResponse"
    inner = read_keys(object_at(told["functionResponse"], at), form)
    own = optional_text(inner.get("id"), f"{at}.id") or None
    name = text_at(inner.get("name"), f"{at}.name")
    response = object_at(inner["response"], f"{at}.response") if "response" in inner else None
    key = _plain_key(response)
    parts: list[Text | Image | File | Audio | Opaque] = []
    if response is not None:
        parts.append(Text(text=response[key] if key else msgspec.json.encode(response).decode()))
    parts += [_attached(p, f"{at}.parts[{i}]") for i, p in enumerate(optional_list(inner.get("parts"), f"{at}.parts"))]
    call_id = calls.answered(own, name)
    extras = extras_of(
        told,
        {"functionResponse"},
        form,
        id=False if own is None else own if own != call_id else None,
        response="absent" if response is None else key or "object",
        inner={k: v for k, v in inner.items() if k not in _RESULT} or None,
    )
    return ToolResult(
        call_id=call_id,
        name=name,
        parts=tuple(parts),
        is_error=response is not None and len(response) == 1 and bool(response.get("error")),
        extras=extras,
    )


def _plain_key(response: dict[str, Json] | None) -> str | None:
    """The key under which a response is a text and no more."""
    if response is None or len(response) != 1:
        return None
    ((key, value),) = response.items()
    return key if key in _PLAIN_RESULTS and isinstance(value, str) else None


def _attached(value: Json, path: str) -> Image | File | Audio | Opaque:
    """What a tool's result has beside its response: its keys are spelled as those of any part."""
    form: dict[str, str] = {}
    told = read_keys(object_at(value, path), form)
    kind = next((name for name in ("inlineData", "fileData") if name in told), None)
    return _media(kind, told, path, form) if kind else Opaque(provider=NAME, data=value)
