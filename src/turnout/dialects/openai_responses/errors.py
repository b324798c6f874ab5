"""Error bodies of the Responses API: OpenAI's, but within a stream an event of another shape."""

from __future__ import annotations

import msgspec

from turnout.dialects.openai_chat.errors import decode_error, encode_error
from turnout.dialects.sse import format_event
from turnout.errors import TurnoutError

__all__ = ["decode_error", "encode_error", "encode_stream_error"]


def encode_stream_error(error: TurnoutError) -> bytes:
    """An error as a stream's last event (platform.openai.com/docs/api-reference/responses-streaming/error)."""
    told = {"type": "error", "code": error.code, "message": error.message, "param": error.param, "sequence_number": 0}
    return format_event(msgspec.json.encode(told), "error")
