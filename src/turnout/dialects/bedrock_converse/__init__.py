"""The wire format of Amazon Bedrock's Converse API, spoken to Bedrock alone: no caller comes in it.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, and recorded traffic.
"""

from __future__ import annotations

from turnout.dialects.base import Dialect, usage_always
from turnout.dialects.bedrock_converse import errors, stream
from turnout.dialects.bedrock_converse.blocks import NAME
from turnout.dialects.bedrock_converse.marks import MARK_FORM
from turnout.dialects.bedrock_converse.request import decode_request, encode_request, outline, patch
from turnout.dialects.bedrock_converse.response import decode_response, encode_response, summarise

__all__ = ["BEDROCK_CONVERSE"]

BEDROCK_CONVERSE = Dialect(
    name=NAME,
    outline=outline,
    patch_request=patch,
    decode_request=decode_request,
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
