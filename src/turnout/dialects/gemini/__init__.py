"""The wire format of Google's Gemini API: generateContent and streamGenerateContent.

Model and stream are in the URL, not in the body: whoever knows the URL puts them into what is decoded here. Source:
ai.google.dev/api/generate-content, and recorded traffic.
"""

from __future__ import annotations

from turnout.dialects.base import Dialect, usage_always
from turnout.dialects.gemini import errors, stream
from turnout.dialects.gemini.encode import encode_request
from turnout.dialects.gemini.encoder import Encoder
from turnout.dialects.gemini.outline import outline, patch
from turnout.dialects.gemini.request import decode_request
from turnout.dialects.gemini.response import decode_response, encode_response, summarise
from turnout.dialects.gemini.spelling import NAME

__all__ = ["GEMINI"]

GEMINI = Dialect(
    name=NAME,
    outline=outline,
    patch_request=patch,
    decode_request=decode_request,
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
