"""The wire format of OpenAI's Chat Completions API, which most hosts and local servers speak.

Source: platform.openai.com/docs/api-reference/chat, and recorded traffic of hosts that differ from it.
"""

from __future__ import annotations

from turnout.chat import ChatRequest, ChatResponse, RequestOutline
from turnout.dialects.base import Encoded, Fault, StreamDecoder, StreamEncoder, StreamTap, Summary
from turnout.dialects.openai_chat import encode, errors, outline, request, response, stream
from turnout.errors import TurnoutError

__all__ = ["OpenAIChat"]


class OpenAIChat:
    """A Dialect."""

    name = request.NAME

    def outline(self, body: bytes) -> RequestOutline:
        return outline.outline(body)

    def patch_request(self, outline_: RequestOutline, model: str, effort: str | None = None) -> bytes:
        return outline.patch(outline_, model, effort)

    def decode_request(self, body: bytes) -> ChatRequest:
        return request.decode_request(body)

    def encode_request(self, request: ChatRequest) -> Encoded:
        return encode.encode_request(request)

    def decode_response(self, body: bytes) -> ChatResponse:
        return response.decode_response(body)

    def encode_response(self, response_: ChatResponse) -> Encoded:
        return response.encode_response(response_)

    def summarise(self, body: bytes) -> Summary:
        return response.summarise(body)

    def stream_decoder(self) -> StreamDecoder:
        return stream.Decoder()

    def stream_encoder(self, *, include_usage: bool) -> StreamEncoder:
        return stream.Encoder(include_usage=include_usage)

    def stream_tap(self, *, include_usage: bool) -> StreamTap:
        return stream.Tap(include_usage=include_usage)

    def decode_error(self, body: bytes) -> Fault:
        return errors.decode_error(body)

    def encode_error(self, error: TurnoutError) -> bytes:
        return errors.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return errors.encode_stream_error(error)
