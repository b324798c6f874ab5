"""Costs in the columns of FOCUS 1.2, the FinOps Foundation's bill of any cloud: only those that we can fill. Pure.

https://focus.finops.org/focus-specification/v1-2/ . Names that begin with `x_` are our own, as the standard allows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
from msgspec import Struct

__all__ = ["COLUMNS", "Charged", "focus_record"]

COLUMNS: dict[str, str] = {
    "BilledCost": "DECIMAL(20,9)",
    "EffectiveCost": "DECIMAL(20,9)",
    "BillingCurrency": "VARCHAR",
    "ChargeCategory": "VARCHAR",
    "ChargeDescription": "VARCHAR",
    "ChargeFrequency": "VARCHAR",
    "ChargePeriodStart": "TIMESTAMPTZ",
    "ChargePeriodEnd": "TIMESTAMPTZ",
    "ConsumedQuantity": "BIGINT",
    "ConsumedUnit": "VARCHAR",
    "ProviderName": "VARCHAR",
    "ResourceId": "VARCHAR",
    "ResourceType": "VARCHAR",
    "ServiceCategory": "VARCHAR",
    "ServiceName": "VARCHAR",
    "SkuId": "VARCHAR",
    "SubAccountId": "VARCHAR",
    "Tags": "VARCHAR",
    "x_Calls": "BIGINT",
    "x_InputTokens": "BIGINT",
    "x_CacheReadTokens": "BIGINT",
    "x_CacheWriteTokens": "BIGINT",
    "x_OutputTokens": "BIGINT",
}
"""Each column and its type in SQL."""

CENTS_OF_NANO = -9
"""The exponent of a nano-dollar."""


class Charged(Struct, frozen=True, kw_only=True):
    """What one deployment was paid on one day (UTC, `2026-11-23`) for one key, mode and set of tags. `tags` is JSON;
    `cost_nano_usd` None: unpriced. Tokens as in `chat.Usage`."""

    day: str
    deployment: str
    key_id: str | None
    team: str | None
    mode: str | None
    tags: str | None
    calls: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_nano_usd: int | None


def focus_record(charged: Charged) -> tuple[str | int | Decimal | None, ...]:
    """The values of `COLUMNS`. An unpriced row has no cost: 0 would be a lie."""
    provider, _, model = charged.deployment.partition("/")
    start = datetime.fromisoformat(charged.day).replace(tzinfo=UTC)
    cost = None if charged.cost_nano_usd is None else Decimal(charged.cost_nano_usd).scaleb(CENTS_OF_NANO)
    return (
        cost,
        cost,
        "USD",
        "Usage",
        f"Tokens of {model}" if cost is not None else f"Tokens of {model}, which has no known price",
        "Usage-Based",
        _time(start),
        _time(start + timedelta(days=1)),
        charged.input_tokens + charged.output_tokens,
        "Tokens",
        provider,
        charged.deployment,
        "Model",
        "AI and Machine Learning",
        f"{provider} models",
        charged.deployment,
        charged.key_id,
        _tags(charged),
        charged.calls,
        charged.input_tokens,
        charged.cache_read_tokens,
        charged.cache_write_tokens,
        charged.output_tokens,
    )


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _tags(charged: Charged) -> str:
    """The request's tags; team and mode among them, under names that no caller's tag has by accident. As JSON no value
    begins a formula, whatever a spreadsheet makes of the file."""
    tags: dict[str, object] = msgspec.json.decode(charged.tags or "{}", type=dict[str, object])
    ours = {"turnout/team": charged.team, "turnout/mode": charged.mode}
    return msgspec.json.encode(tags | {name: told for name, told in ours.items() if told}, order="sorted").decode()
