"""The wire format of OpenAI's Responses API.

Source: platform.openai.com/docs/api-reference/responses, and recorded traffic of the hosts that speak it.
"""

from __future__ import annotations

from turnout.dialects.base import Dialect, usage_always
from turnout.dialects.openai_responses import errors, stream
from turnout.dialects.openai_responses.encode import encode_request
from turnout.dialects.openai_responses.encoder import Encoder
from turnout.dialects.openai_responses.items import NAME
from turnout.dialects.openai_responses.outline import outline, patch
from turnout.dialects.openai_responses.request import decode_messages, decode_request
from turnout.dialects.openai_responses.response import decode_response, encode_response, summarise

__all__ = ["OPENAI_RESPONSES"]

OPENAI_RESPONSES = Dialect(
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
    stream_encoder=usage_always(Encoder),
    stream_tap=usage_always(stream.Tap),
    decode_error=errors.decode_error,
    encode_error=errors.encode_error,
    encode_stream_error=errors.encode_stream_error,
)
