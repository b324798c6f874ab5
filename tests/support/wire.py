"""Answers as the four APIs give them, written out by hand from their references: what scripted providers say."""

from __future__ import annotations

import json
from typing import Any

from support.upstream import Script, answer, stream

ARGUMENTS = '{"city":"Paris"}'
Call = tuple[str, str]
"""A tool's name and its arguments as JSON."""
TOKENS = (1000, 400, 10)
"""Input in all, of it cached, output: the same in every format, each by its own counting."""


def _sse(*events: Any, named: bool = False, done: bool = False) -> list[bytes]:
    lines = [
        (f"event: {e['type']}\n" if named else "").encode() + b"data: " + json.dumps(e).encode() + b"\n\n"
        for e in events
    ]
    return [*lines, b"data: [DONE]\n\n"] if done else lines


# ---- OpenAI Chat Completions -----------------------------------------------------------------------------------

_CHAT_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 10,
    "total_tokens": 1010,
    "prompt_tokens_details": {"cached_tokens": 400},
}


def _chat_call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat(text: str | None, call: Call | None, streaming: bool) -> Script:
    finish = "tool_calls" if call else "stop"
    called = [_chat_call(*call)] if call else []
    if not streaming:
        message = {"role": "assistant", "content": text} | ({"tool_calls": called} if called else {})
        choice = {"index": 0, "message": message, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-up"}
        return answer({**head, "choices": [choice], "usage": _CHAT_USAGE})
    deltas: list[Any] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in (text[:2], text[2:])] if text else []
    if call:
        opening = {**_chat_call(call[0], ""), "index": 0}
        deltas.append({"tool_calls": [opening]})
        pieces = (call[1][:5], call[1][5:])
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-up"}
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({**head, "choices": [], "usage": _CHAT_USAGE})
    return stream(*_sse(*chunks, done=True))


# ---- OpenAI Responses ------------------------------------------------------------------------------------------


def _responses(text: str | None, call: Call | None, streaming: bool) -> Script:
    output: list[dict[str, Any]] = []
    if text is not None:
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [part]}
        output.append(message)
    if call:
        item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": call[0], "status": "completed"}
        output.append({**item, "arguments": call[1]})
    whole: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-up",
        "status": "completed",
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 1000,
            "input_tokens_details": {"cached_tokens": 400},
            "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 1010,
        },
    }
    if not streaming:
        return answer(whole)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": begun}]
    for at, item in enumerate(output):
        events += _item_events(at, item)
    events.append({"type": "response.completed", "response": whole})
    return stream(*_sse(*({**e, "sequence_number": n} for n, e in enumerate(events)), named=True))


def _item_events(at: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    where = {"item_id": item["id"], "output_index": at}
    if item["type"] == "message":
        part = item["content"][0]
        text = part["text"]
        inner = {**where, "content_index": 0}
        begun = {**item, "status": "in_progress", "content": []}
        middle = [
            {"type": "response.content_part.added", **inner, "part": {**part, "text": ""}},
            *(
                {"type": "response.output_text.delta", **inner, "delta": p, "logprobs": []}
                for p in (text[:2], text[2:])
            ),
            {"type": "response.output_text.done", **inner, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **inner, "part": part},
        ]
    else:
        begun = {**item, "status": "in_progress", "arguments": ""}
        arguments = item["arguments"]
        deltas = (arguments[:5], arguments[5:])
        middle = [
            *({"type": "response.function_call_arguments.delta", **where, "delta": p} for p in deltas),
            {"type": "response.function_call_arguments.done", **where, "name": item["name"], "arguments": arguments},
        ]
    return [
        {"type": "response.output_item.added", "output_index": at, "item": begun},
        *middle,
        {"type": "response.output_item.done", "output_index": at, "item": item},
    ]


# ---- Anthropic Messages ----------------------------------------------------------------------------------------

_MESSAGE_USAGE = {"input_tokens": 600, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 0}


def _halves(block: dict[str, Any]) -> tuple[str, str]:
    arguments = json.dumps(block["input"])
    return arguments[:5], arguments[5:]


def _messages(text: str | None, call: Call | None, streaming: bool) -> Script:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text is not None else []
    if call:
        content.append({"type": "tool_use", "id": "toolu_1", "name": call[0], "input": json.loads(call[1])})
    stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-up"}
    if not streaming:
        return answer({**head, "content": content, **stop, "usage": {**_MESSAGE_USAGE, "output_tokens": 10}})
    none = {"stop_reason": None, "stop_sequence": None}
    begun = {**head, "content": [], **none, "usage": {**_MESSAGE_USAGE, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": begun}]
    for at, block in enumerate(content):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": p} for p in (block["text"][:2], block["text"][2:])]
        else:
            empty = {**block, "input": {}}
            deltas = [{"type": "input_json_delta", "partial_json": p} for p in _halves(block)]
        events.append({"type": "content_block_start", "index": at, "content_block": empty})
        events += [{"type": "content_block_delta", "index": at, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": at})
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 10}})
    events.append({"type": "message_stop"})
    return stream(*_sse(*events, named=True))


# ---- Gemini ----------------------------------------------------------------------------------------------------


def _gemini(text: str | None, call: Call | None, streaming: bool) -> Script:
    usage = {
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 400,
        "candidatesTokenCount": 10,
        "totalTokenCount": 1010,
    }
    calls: list[Any] = []
    if call:
        called = {"name": call[0], "args": json.loads(call[1])}
        calls.append({"functionCall": called, "thoughtSignature": "c2ln"})
    head = {"modelVersion": "gemini-up", "responseId": "r1"}

    def told(parts: list[Any], **more: Any) -> dict[str, Any]:
        return {"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0, **more}], **head}

    if not streaming:
        said = [{"text": text}] if text is not None else []
        return answer({**told([*said, *calls], finishReason="STOP"), "usageMetadata": usage})
    pieces = [told([{"text": p}]) for p in ((text[:2], text[2:]) if text else ())]
    last = {**told(calls or [{"text": ""}], finishReason="STOP"), "usageMetadata": usage}
    return stream(*_sse(*pieces, last))


_SPOKEN = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _messages,
    "gemini": _gemini,
}


def says(dialect: str, text: str = "Paris.", *, streaming: bool = False) -> Script:
    """An answer of text alone."""
    return _SPOKEN[dialect](text, None, streaming)


def calls(dialect: str, *, streaming: bool = False) -> Script:
    """An answer that calls `get_weather` for Paris."""
    return tool_call(dialect, "get_weather", ARGUMENTS, streaming=streaming)


def tool_call(dialect: str, name: str, arguments: str, *, streaming: bool = False) -> Script:
    """An answer that calls a tool, with `arguments` as JSON."""
    return _SPOKEN[dialect](None, (name, arguments), streaming)


def refuses(dialect: str, status: int = 400) -> Script:
    """A provider's own error: the request is at fault."""
    message = "max_tokens is too large"
    if dialect == "anthropic-messages":
        return answer({"type": "error", "error": {"type": "invalid_request_error", "message": message}}, status)
    if dialect == "gemini":
        return answer({"error": {"code": status, "message": message, "status": "INVALID_ARGUMENT"}}, status)
    error = {"message": message, "type": "invalid_request_error", "param": "max_tokens", "code": None}
    return answer({"error": error}, status)
