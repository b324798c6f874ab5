"""Where the bytes of images and files are: data URLs taken apart and put together again."""

from __future__ import annotations

from turnout.chat import Source

__all__ = ["data_url", "known_source"]


def known_source(url: str) -> Source:
    """A data URL taken apart; any other URL as it is."""
    if url.startswith("data:"):
        head, comma, data = url.partition(",")
        if comma and head.endswith(";base64"):
            return Source(media_type=head.removeprefix("data:").removesuffix(";base64"), data=data)
    return Source(url=url)


def data_url(source: Source) -> str:
    """The inverse of `known_source`."""
    if source.data is not None:
        return f"data:{source.media_type or 'application/octet-stream'};base64,{source.data}"
    return source.url or ""
