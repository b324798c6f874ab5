"""Usage from logs that count the same tokens in two ways: cached ones within the input, or beside it. Pure."""

from __future__ import annotations

from turnout.chat import Usage

__all__ = ["settled"]


def settled(told: Usage, total: int | None = None, *, within: bool, thought_within: bool = True) -> Usage:
    """`told` in the counting of `chat.Usage`: cache reads and writes in the input, reasoning in the output.

    `within` and `thought_within` say how the log means to count; writers get it wrong both ways, so `total` has the
    last word where it decides, and a part that is more than its whole stood beside it in any case.
    """
    cached = (told.cache_read or 0) + (told.cache_write or 0)
    thought = told.reasoning or 0
    if told.input is None and told.output is None:
        return told
    plain, said = told.input or 0, told.output or 0
    ways = [
        (plain + (0 if inside else cached), said + (0 if thought_inside else thought))
        for inside in (within, not within)
        for thought_inside in (thought_within, not thought_within)
        if not (inside and cached > plain) and not (thought_inside and thought > said)
    ]
    taken, given = next((way for way in ways if sum(way) == total), ways[0])
    return Usage(
        input=None if told.input is None and not cached else taken,
        cache_read=told.cache_read,
        cache_write=told.cache_write,
        cache_write_1h=told.cache_write_1h,
        output=None if told.output is None else given,
        reasoning=told.reasoning,
        service_tier=told.service_tier,
    )
