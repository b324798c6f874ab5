"""Lines of JSON as they stand in logs: decoded in part, mended where an agent cut a text in the middle of a letter."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

__all__ = ["MOST_WAITING", "decoded"]

T = TypeVar("T")

MOST_WAITING = 64 * 1024 * 1024
"""Bytes of lines that may wait for the answer that they belong to; more are let go and counted."""

_ESCAPED = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_HALF_LENGTH = 6


def decoded(decoder: msgspec.json.Decoder[T], line: bytes) -> T:
    r"""A line as the decoder's type. Raises msgspec.DecodeError (ValidationError where it is JSON of another shape) and
    RecursionError.

    What agents log was cut to a length by some of them: half of an emoji (`\ud83d`), or of a character in UTF-8, which
    no strict decoder takes. The halves are replaced, and nothing else of the line is lost.
    """
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = _ESCAPED.sub(_mend, line.decode("utf-8", "replace").encode())
        if whole == line:
            raise
        return decoder.decode(whole)


def _mend(found: re.Match[bytes]) -> bytes:
    """Half of a pair of surrogates as the replacement character; whole pairs and escaped backslashes as they are."""
    text = found.group()
    return rb"\ufffd" if len(text) == _HALF_LENGTH else text
