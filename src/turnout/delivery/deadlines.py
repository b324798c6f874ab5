"""How long an answer may take to begin. Pure."""

from __future__ import annotations

from turnout.chat import RequestOutline

__all__ = ["LONGEST_S", "patience_s"]

LONGEST_S = 300.0
"""Seconds until an answer must have begun where nobody else could give it."""

BASE_S = 20.0
PROMPT_TOKENS_PER_S = 1_000
OUTPUT_TOKENS_PER_S = 40
UNBOUNDED_OUTPUT = 8_192
REASONING_OUTPUT = 4_000
"""A slow but living provider, on purpose: going elsewhere pays for the prompt a second time. Not fitted."""


def patience_s(outline: RequestOutline, input_tokens: int, *, others: bool, told_s: float | None = None) -> float:
    """Seconds to wait for the first event of a stream, or for a whole answer. `told_s`: what the config says. With
    others that could answer, a place has the time a slow one needs for a request of this size, and no more."""
    if told_s is not None:
        return told_s
    if not others:
        return LONGEST_S
    output = REASONING_OUTPUT if outline.reasoning else 0
    if not outline.stream:
        output += outline.max_output_tokens or UNBOUNDED_OUTPUT
    return min(LONGEST_S, BASE_S + input_tokens / PROMPT_TOKENS_PER_S + output / OUTPUT_TOKENS_PER_S)
