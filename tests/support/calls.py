"""What tests send to a gateway, and a chat completion that a provider may answer with."""

from __future__ import annotations

import asyncio

CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "small-2026",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 400}},
    "x_unknown": {"kept": [1, 2.50]},
}


async def post(url, path, body, headers=()):
    """A raw POST: status, headers, body bytes, as any HTTP client sees them."""
    return await send(url, "POST", path, body, headers)


async def send(url, method, path, body=b"", headers=()):
    """As `post`, with any method."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = "".join(f"{k}: {v}\r\n" for k, v in headers)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()
        + f"content-length: {len(body)}\r\n{head}\r\n".encode()
        + body
    )
    raw = await reader.read()
    writer.close()
    top, _, rest = raw.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), rest
