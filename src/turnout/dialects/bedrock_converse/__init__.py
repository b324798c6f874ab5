"""The wire format of Amazon Bedrock's Converse API, spoken to Bedrock alone: no caller comes in it.

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, and recorded traffic.
"""

from __future__ import annotations

import msgspec

from turnout.chat import ChatRequest, ChatResponse, RequestOutline
from turnout.dialects.base import Encoded, Fault, StreamDecoder, StreamEncoder, StreamTap, Summary
from turnout.dialects.bedrock_converse import stream
from turnout.dialects.bedrock_converse.blocks import NAME
from turnout.dialects.bedrock_converse.eventstream import format_frame
from turnout.dialects.bedrock_converse.request import decode_request, encode_request, outline, patch
from turnout.dialects.bedrock_converse.response import decode_response, encode_response, summarise
from turnout.dialects.faults import read_fault
from turnout.errors import TurnoutError

__all__ = ["BedrockConverse"]

_TYPES = {400: "ValidationException", 403: "AccessDeniedException", 429: "ThrottlingException"}


class BedrockConverse:
    """A Dialect. Usage always comes with its streams: `include_usage` changes nothing."""

    name = NAME

    def outline(self, body: bytes) -> RequestOutline:
        return outline(body)

    def patch_request(self, outline: RequestOutline, model: str, effort: str | None = None) -> bytes:
        del model  # it stands in the URL
        return patch(outline, effort)

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
        """`{"message": ..., "__type": ...}`, or whatever a proxy sends. Never raises."""
        told = read_fault(body, codes=("__type",), messages=("message", "Message"))
        return Fault(code=told.code and told.code.rpartition("#")[2], message=told.message)

    def encode_error(self, error: TurnoutError) -> bytes:
        kind = _TYPES.get(error.status, "InternalServerException" if error.status >= 500 else "ValidationException")
        return msgspec.json.encode({"message": error.message, "__type": kind})

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        headers = {":exception-type": "modelStreamErrorException", ":message-type": "exception"}
        return format_frame(headers, msgspec.json.encode({"message": error.message}))
