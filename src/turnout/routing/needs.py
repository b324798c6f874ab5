"""What a request needs of a model, and why a deployment cannot serve it. Pure."""

from __future__ import annotations

import math
from functools import lru_cache
from operator import itemgetter
from typing import Literal

from msgspec import Struct

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.models import Capabilities, Deployment
from turnout.catalog.prices import Price, Rates, ServicePrice
from turnout.chat import RequestOutline
from turnout.finding import holds
from turnout.routing.calibration import FAMILIES, family_of

__all__ = [
    "Needs",
    "expected_output",
    "needs_of",
    "signed",
    "why_not",
    "worst_cost",
    "worst_input",
    "worst_output",
]

TYPICAL_OUTPUT_TOKENS = 500
TEXT_MARGIN = 1.3
HIDDEN_TOKENS = 700
HIDDEN_TOOL_TOKENS = 1_000
"""How far a request may be above its estimate: by its text, by what providers add to it, and what they add where tools
are offered. `bench/tokens.py` counts the recorded requests that are above; docs/decisions/0006-worst-case.md has
the figures, and what they leave out."""

WORST_IMAGE_TOKENS = 5_000
"""Beyond the 1,000 of the estimate. Claude's largest images are 4,784 tokens (platform.claude.com, "Vision"); small
models of OpenAI's 4o family count more, and are not covered."""

MOST_INPUT_TOKENS = 1_050_000
"""The largest context window in the price table that a model for chat has."""

WINDOW_MARGIN = 1.05
"""Price tables round windows: 1,000,000 for 1,048,576."""

MOST_OUTPUT_TOKENS = 16_384
"""What is held for an answer that neither the caller nor the config bounds. Models can write 128,000 tokens, hardly any
answer does, and holding that much would refuse every agent with a small budget that sends no max_tokens; an answer
beyond this may overrun a budget by what it is longer. `models.*.max_output_tokens` makes it exact."""

MOST_THINKING_TOKENS = 32_768
"""The largest budget that an effort word stands for (`dialects/effort.py`)."""

SIGNATURES = (
    b'"signature"',
    b'"redacted_thinking"',
    b'"thoughtSignature"',
    b'"thought_signature"',
    b'"encrypted_content"',
)
"""Where APIs put what only the model that thought it can read: Anthropic, Gemini, OpenAI's Responses."""

AUTHORS = (b'"assistant"', b'"model"')

TURN = 64
"""Messages of one turn that are looked through: calls and results of a Responses turn are items of their own."""

TAKEN = {
    "tools": "tools",
    "vision": "images",
    "files": "files",
    "audio": "audio",
    "json_schema": "structured output",
}
"""What not every model takes: its name in `Needs` and `Capabilities`, and in words."""

PICO_PER_NANO = 1_000

_NOT_AT_ANTHROPIC = frozenset({"flex", "batch", "priority"})
"""Anthropic's own API takes `auto` and `standard_only` alone: other wishes are left out on the way, or refused."""


class Needs(Struct, frozen=True, kw_only=True):
    """Tokens are estimates (`input_tokens` in o200k's); `max_output_tokens` None: the caller set no bound. The last
    four are what `RequestOutline` says of the price."""

    input_tokens: int
    max_output_tokens: int | None = None
    tools: bool = False
    vision: bool = False
    files: bool = False
    audio: bool = False
    json_schema: bool = False
    images: int = 0
    service_tier: str | None = None
    caches: Literal["5m", "1h"] | None = None
    answers: int = 1
    unseen: bool = False


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
        images=outline.images,
        service_tier=outline.service_tier,
        caches=outline.caches,
        answers=outline.answers,
        unseen=outline.unseen,
    )


def signed(outline: RequestOutline) -> bool:
    """Whether the newest turn is one that only its author can go on from: a tool's result that answers a message with
    thinking in it that is signed or sealed."""
    if not outline.tool_result_last:
        return False
    for raw in reversed(outline.messages[-TURN:]):
        told = bytes(raw)
        if holds(told, SIGNATURES):
            return True
        if holds(told, AUTHORS):
            return False
    return False


def why_not(deployment: Deployment, needs: Needs) -> str | None:
    """Why `deployment` cannot serve a request with these needs; None when it can."""
    can = deployment.capabilities
    wanted = needs.input_tokens + (needs.max_output_tokens or 0)
    if can.context_window is not None and wanted > can.context_window:
        return f"context window {can.context_window:,} is below about {wanted:,} tokens"
    for need in _lacks(can):
        if getattr(needs, need):
            return f"does not take {TAKEN[need]}"
    return None


@lru_cache(maxsize=1_000)
def _lacks(can: Capabilities) -> tuple[str, ...]:
    """What a model cannot take, in the words of `TAKEN`: little or nothing, so that hardly any need is asked for."""
    return tuple(need for need in TAKEN if not getattr(can, need))


def expected_output(needs: Needs) -> int:
    """Tokens of a typical answer."""
    return min(needs.max_output_tokens or TYPICAL_OUTPUT_TOKENS, TYPICAL_OUTPUT_TOKENS)


def worst_cost(deployment: Deployment, needs: Needs) -> int | None:
    """Nano-dollars at most for one call: no usage within `worst_input` and `worst_output` tokens costs more, whatever
    of it is read from the cache or written to it, in the service tier asked for or the standard one. None: unpriced;
    so is a model whose service tier asked for is."""
    price, wished = deployment.price, needs.service_tier
    if price is None:
        return None
    if wished is not None and deployment.provider == "anthropic" and wished in _NOT_AT_ANTHROPIC:
        wished = None
    at = price.at_service(wished)
    if at is None and (price.input or price.output):
        return None
    tokens, into, out = worst_input(deployment, needs), 0, 0
    service = at.name if isinstance(at, ServicePrice) else None
    for above, dear, dearer in _steps(deployment, service, needs.caches or _unasked(deployment)):
        if tokens > above:
            into, out = dear, dearer
    return -(-(tokens * into + worst_output(deployment, needs) * out) // PICO_PER_NANO)


def worst_input(deployment: Deployment, needs: Needs) -> int:
    """Input tokens at most: the estimate with its margin, or all that the model takes, where the body does not show
    what it will be given (documents, sound, a conversation that the provider keeps, tools that it runs)."""
    most = _most_of(deployment)
    text = needs.input_tokens * most.factor * TEXT_MARGIN + most.preamble
    hidden = HIDDEN_TOKENS + (HIDDEN_TOOL_TOKENS if needs.tools else 0)
    tokens = math.ceil(text) + hidden + needs.images * WORST_IMAGE_TOKENS
    return max(tokens, most.input) if needs.unseen or needs.files or needs.audio else tokens


def worst_output(deployment: Deployment, needs: Needs) -> int:
    """Output tokens at most, thinking included, of all answers asked for."""
    most = _most_of(deployment)
    return ((needs.max_output_tokens or most.output) + most.thinking) * needs.answers


class _Most(Struct, frozen=True):
    """What of a worst case is the same for every request to a deployment, in tokens: what its text is multiplied by and
    what comes on top, all that it takes, the longest answer where nobody bounds it, thinking beyond the bound."""

    factor: float
    preamble: int
    input: int
    output: int
    thinking: int


# Keyed by deployments: there are as many as the config and the names that callers choose make.
@lru_cache(maxsize=1_000)
def _most_of(deployment: Deployment) -> _Most:
    family, can = FAMILIES[family_of(deployment.upstream_model)], deployment.capabilities
    return _Most(
        factor=max(family.text, family.tools),
        preamble=family.preamble,
        input=math.ceil((can.context_window or MOST_INPUT_TOKENS) * WINDOW_MARGIN),
        output=can.max_output_tokens or MOST_OUTPUT_TOKENS,
        # There a thinking budget is put on top of the caller's bound.
        thinking=MOST_THINKING_TOKENS if deployment.dialect == "bedrock-converse" else 0,
    )


@lru_cache(maxsize=1_000)
def _unasked(deployment: Deployment) -> Literal["5m"] | None:
    """The lifetime of cache writes that may be billed where nobody asks. Who caches by marks alone writes nothing."""
    return None if cache_rule_of(deployment.provider, deployment.upstream_model).by_marks else "5m"


@lru_cache(maxsize=4_000)
def _steps(
    deployment: Deployment, service: str | None, writes: Literal["5m", "1h"] | None
) -> tuple[tuple[int, int, int], ...]:
    """The dearest that a token of input and one of output may cost, in pico-dollars, from so many tokens of input on
    (more than that many), rising; at the standard service tier and the one of that name."""
    price = deployment.price
    if price is None:
        return ()
    services: tuple[Price | ServicePrice, ...] = price, price.at_service(service) or price
    found: list[tuple[int, Rates]] = [(-1, s) for s in services]
    found += [(t.above_input_tokens, t) for s in services for t in s.tiers]
    steps, into, out = list[tuple[int, int, int]](), 0, 0
    for above, rates in sorted(found, key=itemgetter(0)):
        into, out = max(into, _dearest_input(rates, writes)), max(out, rates.output)
        steps.append((above, into, out))
    return tuple(steps)


def _dearest_input(rates: Rates, writes: Literal["5m", "1h"] | None) -> int:
    kinds = [rates.input, rates.cache_read, rates.cache_write if writes else None]
    if writes == "1h":
        kinds.append(rates.cache_write_1h)
    return max(kind for kind in kinds if kind is not None)
