"""The wire format of Anthropic's Messages API.

Source: docs.anthropic.com/en/api/messages, and recorded traffic.
"""

from __future__ import annotations

from turnout.chat import ChatRequest, ChatResponse, RequestOutline
from turnout.dialects.anthropic_messages import errors, stream
from turnout.dialects.anthropic_messages.blocks import NAME
from turnout.dialects.anthropic_messages.encode import encode_request
from turnout.dialects.anthropic_messages.outline import outline, patch
from turnout.dialects.anthropic_messages.request import decode_request
from turnout.dialects.anthropic_messages.response import decode_response, encode_response, summarise
from turnout.dialects.base import Encoded, Fault, StreamDecoder, StreamEncoder, StreamTap, Summary
from turnout.errors import TurnoutError

__all__ = ["AnthropicMessages"]


class AnthropicMessages:
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
        return stream.Encoder()

    def stream_tap(self, *, include_usage: bool) -> StreamTap:
        del include_usage
        return stream.Tap()

    def decode_error(self, body: bytes) -> Fault:
        return errors.decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return errors.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return errors.encode_stream_error(error)
