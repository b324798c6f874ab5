"""Asking a gateway whose response cache is on, in every caller's format."""

import json

import pytest

from support.calls import post
from support.upstream import ScriptedUpstream
from support.wire import says
from turnout.dialects import DIALECTS

PATH = "/v1/chat/completions"
ON = "[answers]\nenabled = true\n"
ASK = {"model": "up/big", "messages": [{"role": "user", "content": "Capital of France?"}], "temperature": 0}
BODIES = {
    "openai-chat": ASK,
    "openai-responses": {"model": "up/big", "input": "Capital of France?", "temperature": 0, "store": False},
    "anthropic-messages": {**ASK, "max_tokens": 100},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Capital?"}]}], "generationConfig": {"temperature": 0}},
}
PATHS = {
    "openai-chat": PATH,
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "gemini": "/v1beta/models/up/big:generateContent",
}
CALLERS = pytest.mark.parametrize("dialect", BODIES)

KEYS = (
    '[keys.ann]\nkey = "sk-ann"\nteam = "core"\n[keys.bob]\nkey = "sk-bob"\nteam = "core"\n[keys.eve]\nkey = "sk-eve"\n'
)


def asked(dialect="openai-chat", *, streaming=False, usage=True, **more):
    """Path and body of a request."""
    body, path = {**BODIES[dialect], **more}, PATHS[dialect]
    if streaming and dialect == "gemini":
        path = path.replace("generateContent", "streamGenerateContent")
    elif streaming:
        body["stream"] = True
    if streaming and dialect == "openai-chat" and usage:
        body["stream_options"] = {"include_usage": True}
    return path, json.dumps(body).encode()


async def ask(gw, *told, headers=(), **more):
    """State of the cache and the answer's bytes, of a request that must succeed."""
    status, told_headers, raw = await post(gw.url, *asked(*told, **more), headers)
    assert status == 200, raw
    return told_headers["x-turnout-cache"], unchunked(told_headers, raw)


def unchunked(headers, raw):
    if headers.get("transfer-encoding") != "chunked":
        return raw
    out = b""
    while raw:
        size, _, raw = raw.partition(b"\r\n")
        out, raw = out + raw[: int(size, 16)], raw[int(size, 16) + 2 :]
    return out


def up(dialect="openai-chat", *scripts):
    return ScriptedUpstream(*(scripts or (says(dialect), says(dialect, "Berlin."))))


def text_in(dialect, raw, *, streaming):
    if not streaming:
        return "".join(p.text for p in DIALECTS[dialect].decode_response(raw).parts)
    return "".join(getattr(e, "text", "") for e in DIALECTS[dialect].stream_decoder().feed(raw))
