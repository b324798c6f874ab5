"""How much a Gemini model thinks: levels from Gemini 3 on, budgets for 2.5, nothing before.

Source: ai.google.dev/gemini-api/docs/thinking ("Thinking levels", "Thinking budgets") and its table of models.
"""

from __future__ import annotations

import re
from typing import cast

from turnout.chat import Json, ReasoningConfig
from turnout.dialects.effort import budget_of, effort_of
from turnout.dialects.gemini.spelling import read_keys
from turnout.dialects.values import checked

__all__ = ["NOT_LESS", "decode_thinking", "encode_thinking", "generation", "is_gemini_3"]

NOT_LESS = "thinking cannot be turned off at the chosen model: it thinks as little as it can"
_NO_THINKING = "thinking was left out: the chosen model is none that is known to think"

_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}
"""Levels by effort; what is above is the highest."""

_MINIMAL = ("gemini-3-flash", "gemini-3.1-flash")
"""Models that take the level `minimal`; every one that has levels takes `low` and `high`."""

_NO_MEDIUM = "gemini-3-pro"

_LEAST_PRO, _MOST_FLASH = 128, 24_576
"""Gemini 2.5 Pro always thinks, the Flash models take no more."""


def generation(model: str) -> float | None:
    """`gemini-2.5-flash` is 2.5; None for what has no number (`gemini-flash-latest`) or is no Gemini."""
    found = re.search(r"gemini-(\d+(?:\.\d+)?)", model)
    return float(found.group(1)) if found else None


def is_gemini_3(model: str) -> bool:
    """Gemini 3 or later, by its number."""
    return (generation(model) or 0) >= 3


def decode_thinking(value: Json, path: str) -> ReasoningConfig | None:
    """Raises InvalidRequest that names the field."""
    told = read_keys(checked(value, path, dict[str, object]), {})
    level = checked(told.get("thinkingLevel"), f"{path}.thinkingLevel", str | None)
    budget = checked(told.get("thinkingBudget"), f"{path}.thinkingBudget", int | None)
    shown = checked(told.get("includeThoughts"), f"{path}.includeThoughts", bool | None)
    if level == "THINKING_LEVEL_UNSPECIFIED":
        level = None
    return ReasoningConfig(
        enabled=None if level is None and budget is None else budget != 0,
        effort=None if level is None else level.lower(),
        budget_tokens=budget,
        summary="auto" if shown else None,
    )


def encode_thinking(config: ReasoningConfig, model: str, warnings: list[str]) -> dict[str, Json]:
    """`thinkingConfig` for `model`; nothing where nothing was asked for."""
    number = generation(model)
    told: dict[str, Json] = {}
    if config.enabled is False or config.effort == "none" or config.budget_tokens == 0:
        effort, budget = "none", 0
    else:
        effort = config.effort
        budget = config.budget_tokens if effort is None else budget_of(effort)
    if "gemini" not in model or (number is not None and number < 2.5):
        if effort not in {None, "none"} or budget:
            warnings.append(_NO_THINKING)
        return {}
    if is_gemini_3(model):
        word = effort if effort is not None or budget is None or budget < 0 else effort_of(budget)
        if word is not None:
            told["thinkingLevel"] = _level(word, model, warnings)
    elif budget is not None:
        told["thinkingBudget"] = _budget(budget, model, warnings)
    if budget != 0 and (config.summary or config.adaptive or config.enabled or config.budget_tokens):
        told["includeThoughts"] = True
    return cast("dict[str, Json]", {"thinkingConfig": told}) if told else {}


def _level(effort: str, model: str, warnings: list[str]) -> str:
    level = _LEVELS.get(effort, "high")
    if effort == "none":
        warnings.append(NOT_LESS)
    if level == "minimal" and not any(name in model for name in _MINIMAL):
        return "low"
    return "high" if level == "medium" and _NO_MEDIUM in model else level


def _budget(tokens: int, model: str, warnings: list[str]) -> int:
    if "pro" in model:
        if tokens == 0:
            warnings.append(NOT_LESS)
        return max(_LEAST_PRO, tokens) if tokens >= 0 else tokens
    return min(tokens, _MOST_FLASH)
