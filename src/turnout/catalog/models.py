"""What the gateway knows of a model at a provider: a deployment, its tier, what it can do, how fast and how much."""

from __future__ import annotations

from typing import Literal, Self

from msgspec import Struct

from turnout.catalog.prices import Price

__all__ = ["TIERS", "Capabilities", "Deployment", "Pace", "RateLimits", "Target", "Tier"]

Tier = Literal["small", "mid", "frontier"]
TIERS: tuple[Tier, ...] = ("small", "mid", "frontier")


class Capabilities(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What a model can take and give. `context_window` and `max_output_tokens` in tokens; None: not known,
    and then no request is refused for it."""

    context_window: int | None = None
    max_output_tokens: int | None = None
    tools: bool = True
    vision: bool = True
    files: bool = True
    audio: bool = False
    json_schema: bool = True
    reasoning: bool = True


class Deployment(Struct, frozen=True, kw_only=True, cache_hash=True):
    """One model at one provider. `id` is `provider/model`, `upstream_model` the name the provider knows.
    `price` None: unpriced, which is said and never taken as zero."""

    id: str
    provider: str
    upstream_model: str
    dialect: str
    tier: Tier | None = None
    capabilities: Capabilities = Capabilities()
    price: Price | None = None


class Target(Struct, frozen=True, kw_only=True):
    """Where a request can be sent: a deployment, by one of its provider's accounts or regions. `provider` is the key of
    that account (`openai`, `openai@key2`, `azure@eu`); `id` names the pair for health, sessions and records."""

    deployment: Deployment
    provider: str
    id: str

    @classmethod
    def at(cls, deployment: Deployment, provider: str) -> Self:
        """`deployment` by the account `provider`."""
        account = provider.partition("@")[2]
        return cls(
            deployment=deployment, provider=provider, id=f"{deployment.id}@{account}" if account else deployment.id
        )


class RateLimits(Struct, frozen=True, kw_only=True):
    """What a provider told of an account's limits: what is left of requests and tokens, and in how many seconds it is
    full again. None: not told."""

    requests: int | None = None
    requests_reset_s: float | None = None
    tokens: int | None = None
    tokens_reset_s: float | None = None

    def used_up_for_s(self) -> float | None:
        """Seconds until a limit that is at zero is full again; None where none is, or nobody says when."""
        waits = [
            reset
            for left, reset in ((self.requests, self.requests_reset_s), (self.tokens, self.tokens_reset_s))
            if left == 0 and reset is not None
        ]
        return max(waits, default=None)


class Pace(Struct, frozen=True, kw_only=True):
    """How fast a deployment has been: seconds to the first token, output tokens a second after it. None: not known."""

    ttft_s: float | None = None
    tokens_per_s: float | None = None

    def seconds(self, output_tokens: int) -> float | None:
        """Expected seconds for an answer of that length; None where the first token's time is not known."""
        if self.ttft_s is None:
            return None
        return self.ttft_s + (output_tokens / self.tokens_per_s if self.tokens_per_s else 0.0)
