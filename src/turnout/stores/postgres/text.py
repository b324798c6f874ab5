"""What of a text PostgreSQL can take."""

from __future__ import annotations

__all__ = ["plain"]


def plain(text: str) -> str:
    """`text` without what its `text` type refuses: lone surrogates and the character NUL, which only a broken or
    hostile caller sends."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
