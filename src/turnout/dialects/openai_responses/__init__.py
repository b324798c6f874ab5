"""The wire format of OpenAI's Responses API.

Source: platform.openai.com/docs/api-reference/responses, and recorded traffic of the hosts that speak it.
"""

from __future__ import annotations

from turnout.chat import ChatRequest, ChatResponse, RequestOutline
from turnout.dialects.base import Encoded, Fault, StreamDecoder, StreamEncoder, StreamTap, Summary
from turnout.dialects.openai_responses import errors, stream
from turnout.dialects.openai_responses.encode import encode_request
from turnout.dialects.openai_responses.encoder import Encoder
from turnout.dialects.openai_responses.items import NAME
from turnout.dialects.openai_responses.outline import outline, patch
from turnout.dialects.openai_responses.request import decode_request
from turnout.dialects.openai_responses.response import decode_response, encode_response, summarise
from turnout.errors import TurnoutError

__all__ = ["OpenAIResponses"]


class OpenAIResponses:
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
        return Encoder()

    def stream_tap(self, *, include_usage: bool) -> StreamTap:
        del include_usage
        return stream.Tap()

    def decode_error(self, body: bytes) -> Fault:
        return errors.decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return errors.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return errors.encode_stream_error(error)
