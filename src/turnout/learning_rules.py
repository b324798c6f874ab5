"""What the config says of learning: what is recorded, shadow traffic and the judge. Data alone."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from turnout.errors import ConfigError

__all__ = ["JudgeRules", "LearningRules", "ShadowRules", "check_learning"]


class ShadowRules(Struct, frozen=True, kw_only=True):
    """`share` of the answered requests (0: none) is also sent to one of `models` (`provider/model`), off the request's
    way; nobody gets that answer. `budget_usd_per_day`: what shadows and their judging may cost from 00:00 UTC on."""

    share: float = 0.0
    models: tuple[str, ...] = ()
    budget_usd_per_day: Decimal = Decimal("1.0")


class JudgeRules(Struct, frozen=True, kw_only=True):
    """`model` compares, for `share` of the shadows, the answer that was served with the one that was not."""

    model: str | None = None
    share: float = 0.0


class LearningRules(Struct, frozen=True, kw_only=True):
    """`enabled`: what becomes of answers is recorded (docs/learning.md), for `keep_days` days: scores and hashed
    features, no text. `keep_prompts`: requests and answers too, for `turnout export --for finetune` and, redacted, for
    the console. `explore`: share of the plain questions, where a failure is cheap, that go one tier lower than
    decided, to learn of it (0.03 at most)."""

    enabled: bool = True
    keep_days: int = 90
    keep_prompts: bool = False
    explore: float = 0.0
    shadow: ShadowRules = ShadowRules()
    judge: JudgeRules = JudgeRules()


def check_learning(shadow: ShadowRules, judge: JudgeRules) -> None:
    """What types alone cannot say. Raises ConfigError."""
    for name, share in (("shadow", shadow.share), ("judge", judge.share)):
        if not 0 <= share <= 1:
            key = f"learning.{name}.share"
            raise ConfigError(f"{key} = {share}: is a share of requests, from 0 to 1", param=key)
    if shadow.share and not shadow.models:
        raise ConfigError(
            "learning.shadow.share is set, but nobody is to be asked; name models, as provider/model",
            param="learning.shadow.models",
        )
    if judge.share and not judge.model:
        raise ConfigError(
            "learning.judge.share is set, but nobody judges; name a model, as provider/model",
            param="learning.judge.model",
        )
    if not (shadow.budget_usd_per_day.is_finite() and 0 <= shadow.budget_usd_per_day <= 10**9):
        key = "learning.shadow.budget_usd_per_day"
        raise ConfigError(f"{key} = {shadow.budget_usd_per_day}: must lie between 0 and 1,000,000,000", param=key)
