"""Reasoning effort words and thinking budgets in tokens, mapped both ways: one table for every wire format.

The budgets of low, medium and high are Google's own for its OpenAI-compatible API
(ai.google.dev/gemini-api/docs/openai, "Thinking"); xhigh and max are the most that Gemini 2.5 Pro takes.
"""

from __future__ import annotations

__all__ = ["BUDGETS", "EFFORTS", "budget_of", "effort_of"]

BUDGETS = {
    "none": 0,
    "minimal": 512,
    "low": 1_024,
    "medium": 8_192,
    "high": 24_576,
    "xhigh": 32_768,
    "max": 32_768,
}
"""Tokens of thinking by effort word, least first."""

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
"""Words that a budget can become."""


def budget_of(effort: str) -> int | None:
    """Tokens for `effort`; None for a word that is not in the table."""
    return BUDGETS.get(effort)


def effort_of(budget_tokens: int) -> str:
    """The least effort whose budget covers `budget_tokens`; the highest where none does, medium for the negative
    numbers by which Gemini says "as you see fit"."""
    if budget_tokens < 0:
        return "medium"
    return next((word for word in EFFORTS if BUDGETS[word] >= budget_tokens), EFFORTS[-1])
