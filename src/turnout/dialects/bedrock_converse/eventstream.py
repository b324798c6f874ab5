"""AWS's binary event stream: frames of headers and payload, each with its checksums; bytes split anywhere.

Source: docs.aws.amazon.com/lexv2/latest/dg/event-stream-encoding.html. Layout of a frame, big-endian: total length (4),
headers' length (4), CRC-32 of those eight bytes (4), headers, payload, CRC-32 of all before (4).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

from msgspec import Struct

from turnout.errors import UpstreamFailure

__all__ = ["Frame", "FrameParser", "format_frame"]

MAX_FRAME = 64 * 1024 * 1024
_PRELUDE = struct.Struct(">III")
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value by its type; types 6 and 7 (bytes, string) carry their length."""


class Frame(Struct, frozen=True):
    """One frame. `headers`: those that are strings, the others mean nothing here."""

    headers: dict[str, str]
    payload: bytes


class FrameParser:
    """Feed it bytes as they come. Raises UpstreamFailure for what is no frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= _PRELUDE.size:
            total, headers, crc = _PRELUDE.unpack_from(self._buffer)
            if zlib.crc32(self._buffer[:8]) != crc or not 16 + headers <= total <= MAX_FRAME:
                raise UpstreamFailure("the provider's event stream is damaged")
            if len(self._buffer) < total:
                break
            frames.append(_frame(bytes(self._buffer[:total]), headers))
            del self._buffer[:total]
        return frames

    @property
    def pending(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)


def _frame(raw: bytes, headers_length: int) -> Frame:
    if zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "big"):
        raise UpstreamFailure("the provider's event stream is damaged: a checksum is wrong")
    end = _PRELUDE.size + headers_length
    try:
        return Frame(_headers(raw[_PRELUDE.size : end]), raw[end:-4])
    except (IndexError, KeyError, UnicodeDecodeError):
        raise UpstreamFailure("the provider's event stream has a header that cannot be read") from None


def _headers(raw: bytes) -> dict[str, str]:
    out: dict[str, str] = {}
    at = 0
    while at < len(raw):
        name_end = at + 1 + raw[at]
        name, kind = raw[at + 1 : name_end].decode(), raw[name_end]
        at = name_end + 1
        if kind in {6, 7}:
            size = int.from_bytes(raw[at : at + 2], "big")
            value, at = raw[at + 2 : at + 2 + size], at + 2 + size
            if kind == 7:
                out[name] = value.decode()
        else:
            at += _FIXED[kind]
    return out


def format_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """The bytes of one frame."""
    told = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2, "big") + value.encode()
        for name, value in headers.items()
    )
    total = _PRELUDE.size + len(told) + len(payload) + 4
    prelude = struct.pack(">II", total, len(told))
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + told + payload
    return body + zlib.crc32(body).to_bytes(4, "big")
