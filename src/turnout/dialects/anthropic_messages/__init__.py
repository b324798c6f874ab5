"""The wire format of Anthropic's Messages API.

Source: docs.anthropic.com/en/api/messages, and recorded traffic.
"""

from __future__ import annotations

from turnout.dialects.anthropic_messages import errors, stream
from turnout.dialects.anthropic_messages.blocks import NAME
from turnout.dialects.anthropic_messages.encode import encode_request
from turnout.dialects.anthropic_messages.marks import MARK_FORM
from turnout.dialects.anthropic_messages.outline import outline, patch
from turnout.dialects.anthropic_messages.request import decode_messages, decode_request
from turnout.dialects.anthropic_messages.response import decode_response, encode_response, summarise
from turnout.dialects.base import Dialect, usage_always

__all__ = ["ANTHROPIC_MESSAGES"]

ANTHROPIC_MESSAGES = Dialect(
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
    stream_encoder=usage_always(stream.Encoder),
    stream_tap=usage_always(stream.Tap),
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    encode_stream_error=errors.encode_stream_error,
    marks=MARK_FORM,
)
