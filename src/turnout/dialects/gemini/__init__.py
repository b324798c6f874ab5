"""The wire format of Google's Gemini API: generateContent and streamGenerateContent.

Model and stream are in the URL, not in the body: whoever knows the URL puts them into what is decoded here. Source:
ai.google.dev/api/generate-content, and recorded traffic.
"""

from __future__ import annotations

from turnout.chat import ChatRequest, ChatResponse, RequestOutline
from turnout.dialects.base import Encoded, Fault, StreamDecoder, StreamEncoder, StreamTap, Summary
from turnout.dialects.gemini import encoder, errors, stream
from turnout.dialects.gemini.encode import encode_request
from turnout.dialects.gemini.outline import outline, patch
from turnout.dialects.gemini.request import decode_request
from turnout.dialects.gemini.response import decode_response, encode_response, summarise
from turnout.dialects.gemini.spelling import NAME
from turnout.errors import TurnoutError

__all__ = ["Gemini"]


class Gemini:
    """A Dialect. Usage always comes with its streams: `include_usage` changes nothing."""

    name = NAME

    def outline(self, body: bytes) -> RequestOutline:
        return outline(body)

    def patch_request(self, outline: RequestOutline, model: str, effort: str | None = None) -> bytes:
        return patch(outline, model, effort)

    def decode_request(self, body: bytes) -> ChatRequest:
        return decode_request(body)

    def encode_request(self, request: ChatRequest) -> Encoded:
        return encode_request(request)

    def decode_response(self, body: bytes) -> ChatResponse:
        return decode_response(body)

    def encode_response(self, response: ChatResponse) -> Encoded:
        return encode_response(response)

    def summarise(self, body: bytes) -> Summary:
        return summarise(body)

    def stream_decoder(self) -> StreamDecoder:
        return stream.Decoder()

    def stream_encoder(self, *, include_usage: bool) -> StreamEncoder:
        del include_usage
        return encoder.Encoder()

    def stream_tap(self, *, include_usage: bool) -> StreamTap:
        del include_usage
        return stream.Tap()

    def decode_error(self, body: bytes) -> Fault:
        return errors.decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return errors.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return errors.encode_stream_error(error)
