"""What a request needs of a model, and why a deployment cannot serve it. Pure."""

from __future__ import annotations

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.catalog.prices import cost_nano_usd
from turnout.chat import RequestOutline, Usage

__all__ = ["Needs", "expected_cost", "expected_output", "needs_of", "why_not", "worst_cost"]

TYPICAL_OUTPUT_TOKENS = 500
UNBOUNDED_OUTPUT_TOKENS = 8_192
"""What an answer may reach when neither the caller nor the catalogue bounds it."""


class Needs(Struct, frozen=True, kw_only=True):
    """Tokens are estimates; `max_output_tokens` None: the caller set no bound."""

    input_tokens: int
    max_output_tokens: int | None = None
    tools: bool = False
    vision: bool = False
    files: bool = False
    audio: bool = False
    json_schema: bool = False


def needs_of(outline: RequestOutline, input_tokens: int) -> Needs:
    """`input_tokens` as estimated (`routing/calibration.py`)."""
    return Needs(
        input_tokens=input_tokens,
        max_output_tokens=outline.max_output_tokens,
        tools=outline.tools > 0,
        vision=outline.images > 0,
        files=outline.files > 0,
        audio=outline.audio > 0,
        json_schema=outline.json_schema,
    )


def why_not(deployment: Deployment, needs: Needs) -> str | None:
    """Why `deployment` cannot serve a request with these needs; None when it can."""
    can = deployment.capabilities
    wanted = needs.input_tokens + (needs.max_output_tokens or 0)
    if can.context_window is not None and wanted > can.context_window:
        return f"context window {can.context_window:,} is below about {wanted:,} tokens"
    for need, able, name in (
        (needs.tools, can.tools, "tools"),
        (needs.vision, can.vision, "images"),
        (needs.files, can.files, "files"),
        (needs.audio, can.audio, "audio"),
        (needs.json_schema, can.json_schema, "structured output"),
    ):
        if need and not able:
            return f"does not take {name}"
    return None


def expected_output(needs: Needs) -> int:
    """Tokens of a typical answer."""
    return min(needs.max_output_tokens or TYPICAL_OUTPUT_TOKENS, TYPICAL_OUTPUT_TOKENS)


def expected_cost(deployment: Deployment, needs: Needs) -> int | None:
    """Nano-dollars for a typical answer, nothing cached; None: unpriced."""
    return _cost(deployment, needs.input_tokens, expected_output(needs))


def worst_cost(deployment: Deployment, needs: Needs) -> int | None:
    """Nano-dollars at most: nothing cached, the longest answer allowed; None: unpriced."""
    longest = needs.max_output_tokens or deployment.capabilities.max_output_tokens or UNBOUNDED_OUTPUT_TOKENS
    return _cost(deployment, needs.input_tokens, longest)


def _cost(deployment: Deployment, input_tokens: int, output_tokens: int) -> int | None:
    if deployment.price is None:
        return None
    return cost_nano_usd(Usage(input=input_tokens, output=output_tokens), deployment.price)
