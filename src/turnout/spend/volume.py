"""Token volume: where tokens are burnt, by part of the context, and what would save most. Pure.

Parts are estimates from the request, scaled to the input that the provider reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from turnout.catalog.models import Tier
from turnout.catalog.prices import Price, format_usd
from turnout.context import Parts

__all__ = ["LATER_STEPS", "PARTS", "Advice", "PastRun", "StepSum", "Summed", "Volume", "advise"]

PARTS: tuple[str, ...] = Parts.__struct_fields__

LATER_STEPS = (30, 35, 40, 50, 60, 80, 100, 140, 200, 300, 500, 1_000)
"""Where contexts are told by step, the first thirty are told apart each, and later ones in these spans."""

PICO_PER_NANO = 1_000


class Volume(Struct, frozen=True, kw_only=True):
    """Sums over the requests of one group that one deployment answered; `sessions` and `growth_per_step` are of the
    whole group. `group` None: those that have none. `unpriced`: requests that used tokens and have no cost.
    `brief_*`: of steps on frontier models with short answers. `growth_per_step`: input tokens that a session's context
    gains with each step, (last - first) / (n - 1), the mean over the group's agents with two steps or more; None
    without any."""

    group: str | None
    deployment: str | None = None
    tier: Tier | None = None
    requests: int = 0
    sessions: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano_usd: int = 0
    unpriced: int = 0
    repeated_tokens: int = 0
    system: int = 0
    tools: int = 0
    history: int = 0
    tool_results: int = 0
    attachments: int = 0
    reasoning: int = 0
    brief_requests: int = 0
    brief_cost_nano_usd: int = 0
    growth_per_step: float | None = None


class Summed(Volume, frozen=True, kw_only=True):
    """A volume with what else is summed. Of `compared` requests, which cost `compared_nano_usd`, the baseline's cost is
    known. `ttft_ms` is the sum over `ttft_count` requests, `overhead_us` over all."""

    errors: int = 0
    compared: int = 0
    compared_nano_usd: int = 0
    baseline_uncached_nano_usd: int = 0
    baseline_cached_nano_usd: int = 0
    overhead_us: int = 0
    ttft_ms: int = 0
    ttft_count: int = 0
    attempts: int = 0


class StepSum(Struct, frozen=True, kw_only=True):
    """Requests of one feature at one step of their agents (later steps in widening spans): sums of tokens."""

    feature: str | None
    step: int
    requests: int
    input_tokens: int
    system: int
    tools: int
    history: int
    tool_results: int
    attachments: int
    reasoning: int


class PastRun(Struct, frozen=True, kw_only=True):
    """One agent of a session, as the ledger has it: sums over its requests, times as the ledger writes them.
    `deployment` answered last; `deepest` is its longest context in tokens."""

    key_id: str | None
    session_id: str
    agent: str | None
    feature: str | None
    mode: str | None
    deployment: str | None
    first_at: str
    last_at: str
    first_input: int | None
    last_input: int | None
    deepest: int
    requests: int
    errors: int
    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    cost_nano_usd: int


class Advice(Struct, frozen=True, kw_only=True):
    """One thing to do about a group's tokens, what it would save in nano-dollars, and how that was estimated. `change`:
    what to write in the config for it, as TOML; what it leaves to the agent is said in a comment."""

    title: str
    group: str | None
    saving_nano_usd: int
    how: str
    change: str = ""


def advise(volumes: Sequence[Volume], price_of: Callable[[str], Price | None], *, most: int = 3) -> list[Advice]:
    """The most profitable things to do, the best first. `price_of` gives a deployment's list price; where there is none
    nothing is said of it."""
    found: list[Advice] = []
    cheapest = _cheapest_small(volumes, price_of)
    for volume in volumes:
        price = price_of(volume.deployment) if volume.deployment else None
        if price is not None:
            found += [_cache(volume, price), _tools(volume, price), _results(volume, price)]
            if cheapest is not None and volume.tier == "frontier":
                found.append(_smaller(volume, price, cheapest))
    worth = [advice for advice in found if advice.saving_nano_usd > 0]
    return sorted(worth, key=lambda a: -a.saving_nano_usd)[:most]


def _cheapest_small(volumes: Sequence[Volume], price_of: Callable[[str], Price | None]) -> tuple[str, Price] | None:
    names = {v.deployment for v in volumes if v.deployment and v.tier == "small"}
    priced = [(name, price) for name in sorted(names) if (price := price_of(name)) is not None and price.input]
    return min(priced, key=lambda pair: pair[1].input, default=None)


def _read(price: Price) -> int:
    return price.input if price.cache_read is None else price.cache_read


def _cache(volume: Volume, price: Price) -> Advice:
    missed = max(0, volume.repeated_tokens - volume.cache_read_tokens)
    return Advice(
        title=f"let {volume.deployment} read its cache: keep what comes first unchanged, and mark it for caching",
        group=volume.group,
        saving_nano_usd=missed * (price.input - _read(price)) // PICO_PER_NANO,
        how=f"{missed:,} input tokens repeated the step before and were not read from the cache; each at the "
        "difference of the list prices for input and cache reads",
        change="[cache]\nrepair = true   # marks for callers that set none\n"
        "# x-turnout-warnings names what changes at every step.",
    )


def _tools(volume: Volume, price: Price) -> Advice:
    # What is repeated and cached costs a read; the rest costs input.
    share = min(1.0, volume.cache_read_tokens / volume.input_tokens) if volume.input_tokens else 0.0
    rate = round(_read(price) * share + price.input * (1 - share))
    return Advice(
        title=f"offer {volume.deployment} fewer tools, or load them when they are needed",
        group=volume.group,
        saving_nano_usd=volume.tools // 2 * rate // PICO_PER_NANO,
        how=f"{volume.tools:,} tokens were tool schemas; as if half of them were not needed, at the mean price of an "
        "input token here. Which tools were called is not recorded",
        change="[context]\nreport = true   # GET /admin/sessions/ID/context then tells what is carried\n"
        "# The agent decides which tools it offers: no config takes them away.",
    )


def _results(volume: Volume, price: Price) -> Advice:
    old = round(volume.tool_results * volume.repeated_tokens / volume.input_tokens) if volume.input_tokens else 0
    return Advice(
        title=f"clear or shorten old tool results that are sent to {volume.deployment} again",
        group=volume.group,
        saving_nano_usd=old * _read(price) // PICO_PER_NANO,
        how=f"about {old:,} tokens were tool results sent before, at the price of a cache read; an upper bound: some "
        "of them are still needed, and clearing breaks the cache once",
        change="[context]\nreport = true   # GET /admin/sessions/ID/context then tells which are not looked at again\n"
        "# The agent clears them: no request is changed here.",
    )


def _smaller(volume: Volume, price: Price, small: tuple[str, Price]) -> Advice:
    name, cheap = small
    kept = min(1.0, cheap.input / price.input) if price.input else 1.0
    return Advice(
        title=f"let {name} take the short steps of {volume.deployment}",
        group=volume.group,
        saving_nano_usd=round(volume.brief_cost_nano_usd * (1 - kept)),
        how=f"{volume.brief_requests:,} steps wrote 200 tokens or fewer and cost "
        f"{format_usd(volume.brief_cost_nano_usd)}; by the ratio of the input prices, an upper bound until an "
        "evaluation says that the small model does them as well",
        change="[routing]\ndetours = true   # routine steps of sessions go to a small model where that pays\n\n"
        f'[modes]\nshort_steps = "{name}"   # or declare them: x-turnout-mode: short_steps',
    )
