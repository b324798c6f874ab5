"""The wire format of OpenAI's Chat Completions API, which most hosts and local servers speak.

Source: platform.openai.com/docs/api-reference/chat, and recorded traffic of hosts that differ from it.
"""

from __future__ import annotations

from turnout.dialects.base import Dialect
from turnout.dialects.openai_chat import errors, stream
from turnout.dialects.openai_chat.encode import encode_request
from turnout.dialects.openai_chat.marks import MARK_FORM
from turnout.dialects.openai_chat.outline import outline, patch
from turnout.dialects.openai_chat.request import NAME, decode_messages, decode_request
from turnout.dialects.openai_chat.response import decode_response, encode_response, summarise

__all__ = ["OPENAI_CHAT"]

OPENAI_CHAT = Dialect(
    name=NAME,
    outline=outline,
    patch_request=patch,
    decode_request=decode_request,
    decode_messages=decode_messages,
    encode_request=encode_request,
    decode_response=decode_response,
    encode_response=encode_response,
    summarise=summarise,
    stream_decoder=stream.Decoder,
    stream_encoder=stream.Encoder,
    stream_tap=stream.Tap,
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    encode_stream_error=errors.encode_stream_error,
    marks=MARK_FORM,
)
