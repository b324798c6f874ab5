"""When a request may go to a model for the sake of learning how it fares there. Pure.

What nobody tries nobody learns of: a model that is thought too weak is never asked, and stays so for ever. A small
share of the requests whose failure costs a caller least is therefore sent elsewhere than the ranking says.
"""

from __future__ import annotations

from hashlib import blake2b

from turnout.chat import RequestOutline
from turnout.context import SessionView

__all__ = ["MOST_SHARE", "SMALL_CONTEXT", "draw", "explores", "fails_cheaply"]

MOST_SHARE = 0.03
"""However much is asked for: of a hundred cheap questions at most three are tried elsewhere."""

SMALL_CONTEXT = 2_000
"""Tokens up to which reading the question once more, after a failure, is cheap."""


def draw(request_id: str, purpose: str) -> float:
    """A number from 0 to 1 (not 1) that is a request's own: the same for ever, evenly spread over requests, and
    independent of what is drawn for another purpose."""
    digest = blake2b(request_id.encode(), digest_size=7, person=purpose.encode()[:16]).digest()
    return int.from_bytes(digest) / (1 << 56)


def fails_cheaply(
    outline: RequestOutline, *, input_tokens: int, session: SessionView, quality: float | None = None
) -> bool:
    """Whether a bad answer would cost a caller little: one short question without tools, with no conversation behind
    it that a wrong turn would spoil, and no word from the caller of how good it must be."""
    turns = sum(role == "user" for role in outline.roles)
    alone = turns == 1 and "assistant" not in outline.roles and "model" not in outline.roles
    begins = session.step == 0 and session.pinned is None and session.parent is None
    plain = not (outline.tools or outline.tool_result_last or outline.unseen or outline.images or outline.files)
    return alone and begins and plain and not outline.audio and quality is None and input_tokens <= SMALL_CONTEXT


def explores(request_id: str, *, share: float, cheap_failure: bool) -> bool:
    """Whether this request is one of the `share` (at most `MOST_SHARE`) that go where the ranking would not send them.
    The id alone decides, so that a decision can be explained and repeated."""
    return cheap_failure and draw(request_id, "explore") < min(share, MOST_SHARE)
