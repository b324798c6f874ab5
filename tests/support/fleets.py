"""Small fleets and outlines for tests of routing: no provider behind them."""

from __future__ import annotations

import msgspec

from turnout.catalog.fleet import Fleet
from turnout.catalog.models import Capabilities, Deployment, Tier
from turnout.catalog.prices import Price
from turnout.chat import RequestOutline
from turnout.context import SessionView
from turnout.routing.names import ModeTarget, Names

MICRO = 1_000_000  # pico-dollars a token for 1 USD per million tokens


def deployment(name: str, tier: Tier | None, usd: int | None, *, window: int | None = None, **can: bool) -> Deployment:
    """A deployment priced `usd` per million tokens in and four times that out (None: unpriced)."""
    provider, model = name.split("/")
    return Deployment(
        id=name,
        provider=provider,
        upstream_model=model,
        dialect="openai-chat",
        tier=tier,
        capabilities=Capabilities(context_window=window, **can),
        price=None if usd is None else Price(input=usd * MICRO, output=4 * usd * MICRO),
    )


FLEET = Fleet(
    [
        deployment("lab/tiny", "small", 0, window=2_000, tools=False, vision=False),
        deployment("openai/nano", "small", 1),
        deployment("openai/mini", "mid", 2),
        deployment("anthropic/opus", "frontier", 15),
        deployment("openai/big", "frontier", 10),
        deployment("lab/mystery", None, None),
    ],
    providers=("lab", "openai", "anthropic"),
)
NAMES = Names(
    FLEET,
    modes={
        "data_entry": ModeTarget(model="tier/small"),
        "architecture": ModeTarget(model="anthropic/opus", effort="high"),
        "loop": ModeTarget(model="mode/loop"),
    },
    aliases={"cheap": "tier/small"},
    fallbacks={"anthropic/opus": ("openai/big",)},
)


def outline(*messages: tuple[str, str], model: str = "auto", **facts: object) -> RequestOutline:
    """The outline of an OpenAI-shaped request with these (role, text) messages."""
    raws = tuple(msgspec.Raw(msgspec.json.encode({"role": r, "content": t})) for r, t in messages)
    return RequestOutline(
        model=model,
        fields=facts.pop("fields", {}),
        messages=raws,
        roles=tuple(role for role, _ in messages),
        messages_bytes=sum(len(memoryview(raw)) for raw in raws),
        **facts,  # pyright: ignore[reportArgumentType]
    )


def session(step: int = 0, pinned: str | None = None) -> SessionView:
    return SessionView(id="s", agent="a", step=step, source="test", pinned=pinned)
