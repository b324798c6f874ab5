"""A JSON object's top-level values as untouched bytes: a few are read, the rest go back as they came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from turnout.errors import InvalidRequest

__all__ = ["decode_fields", "get", "join_fields"]

T = TypeVar("T")

_NULL = Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, Raw])


def decode_fields(body: bytes) -> dict[str, Raw]:
    """The top-level values of a JSON object, in order; of a repeated key the last value counts.

    Raises InvalidRequest for anything that is no JSON object.
    """
    try:
        return _fields.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest("the body must be a JSON object") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "is empty" if not body.strip() else f"is not valid JSON: {error}"
        raise InvalidRequest(f"the body {what}") from None
    except RecursionError:
        raise InvalidRequest("the body is nested too deeply") from None


def join_fields(fields: Mapping[str, Raw | bytes]) -> bytes:
    """A JSON object with these values, byte for byte."""
    parts: list[bytes | memoryview] = []
    before = b'{"'
    for name, value in fields.items():
        # A view: what is long is copied once, into the whole.
        parts += (before, _name(name), b'":', memoryview(value))
        before = b',"'
    return b"".join((*parts, b"}")) if parts else b"{}"


def _name(name: str) -> bytes:
    """A key's bytes between its quotes."""
    return msgspec.json.encode(name)[1:-1]


def get(fields: Mapping[str, Raw], name: str, decoder: msgspec.json.Decoder[T]) -> T | None:
    """The value of `name`, None where it is missing or null. Raises InvalidRequest that names the field."""
    raw = fields.get(name)
    return None if raw is None or raw == _NULL else decode_value(raw, name, decoder)


def decode_value(raw: Raw | bytes, path: str, decoder: msgspec.json.Decoder[T]) -> T:
    """One value. Raises InvalidRequest with `path` as the field's name."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{path}: {error}", param=path) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not valid JSON: {error}", param=path) from None
    except RecursionError:
        raise InvalidRequest(f"{path} is nested too deeply", param=path) from None


def encode(value: Any) -> bytes:
    """A JSON value's bytes."""
    return msgspec.json.encode(value)
