"""Tiers and capabilities by family, and that every row of the hand-made table is needed."""

from __future__ import annotations

import re

import pytest

from turnout.catalog.catalog import Catalog
from turnout.catalog.known import CapabilityRule, capabilities_of, default_models, known_models, tier_of
from turnout.catalog.models import TIERS


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("claude-opus-5", "frontier"),
        ("claude-sonnet-4-5-20250929", "mid"),
        ("claude-haiku-5-5", "small"),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "small"),
        ("anthropic/claude-fable-5-2", "frontier"),
        ("gpt-5.5", "frontier"),
        ("gpt-5", "frontier"),
        ("gpt-4.1", "frontier"),
        ("GPT-4o-2024-11-20", "frontier"),
        ("gpt-5-mini", "mid"),
        ("gpt-4o-mini-2024-07-18", "mid"),
        ("gpt-5-nano", "small"),
        ("gpt-6-luna", "small"),
        ("gpt-6.1-terra", "mid"),
        ("gpt-6-sol", "frontier"),
        ("gpt-oss-120b", "mid"),
        ("openai/gpt-oss-20b", "small"),
        ("o3", "frontier"),
        ("o4-mini", "mid"),
        ("gemini-2.5-pro", "frontier"),
        ("gemini-3.8-flash", "mid"),
        ("gemini-2.5-flash-lite", "small"),
        ("grok-4.7", "frontier"),
        ("grok-code-fast-1", "mid"),
        ("deepseek-chat", "mid"),
        ("deepseek-v4-pro", "frontier"),
        ("mistral-large-latest", "frontier"),
        ("mistral-small-latest", "small"),
        ("meta-llama/Llama-3.3-70B-Instruct", "mid"),
        ("llama3.2:3b", "small"),
        ("qwen3:0.6b", "small"),
        ("SmolLM2-135M-Instruct", "small"),
        ("text-embedding-3-large", None),
        ("gpt-4o-transcribe", None),
        ("gemini-2.5-flash-image", None),
        ("somebody-elses-model", None),
    ],
)
def test_tier_of(model: str, tier: str | None) -> None:
    assert tier_of(model) == tier


def test_every_pattern_compiles_and_decides_about_some_model() -> None:
    # Names of the price table, and of local models that nobody sells.
    sold = [m.id.lower() for p in Catalog.load().providers for m in p.models]
    local = [
        "smollm2-135m",
        "tinyllama",
        "gemma2:2b",
        "gpt-4-0613",
        "qvq-72b",
        "claude-instant-1",
        "llama3.2:1b",
    ]
    for rules in (known_models().tiers, known_models().capabilities):
        decided = {next((r.match for r in rules if re.search(r.match, name)), None) for name in (*sold, *local)}
        assert {r.match for r in rules} - decided == set()


def test_capabilities_are_exceptions_to_all_is_possible() -> None:
    unknown = capabilities_of("lab", "somebody-elses-model")
    assert unknown.context_window is None
    assert unknown.tools
    assert unknown.vision

    gpt = capabilities_of("openai", "gpt-5.5")
    assert (gpt.context_window, gpt.vision, gpt.reasoning) == (1_000_000, True, True)
    assert not capabilities_of("openai", "gpt-4o").reasoning
    assert not capabilities_of("openai", "gpt-3.5-turbo").vision
    assert not capabilities_of("deepseek", "deepseek-chat").vision
    assert not capabilities_of("openai", "text-embedding-3-small").tools
    assert capabilities_of("google", "gemini-2.5-flash").audio


def test_the_price_datas_context_window_comes_before_the_familys() -> None:
    assert Catalog.load().context_window("google", "gemini-2.5-pro") is None
    assert capabilities_of("google", "gemini-2.5-pro").context_window == 1_048_576
    assert Catalog.load().context_window("google", "gemini-3.8-flash") == 1_000_000
    assert capabilities_of("google", "gemini-3.8-flash").context_window == 1_000_000


def test_a_capability_rule_differs_from_the_default() -> None:
    for rule in known_models().capabilities:
        assert rule != CapabilityRule(match=rule.match), rule.match


def test_a_providers_usual_models_are_priced_and_one_of_a_tier_highest_first() -> None:
    for provider, models in known_models().usual.items():
        assert all(Catalog.load().price(provider, model) for model in models), provider
        ranks = [TIERS.index(tier) for model in models if (tier := tier_of(model))]
        assert ranks == sorted(set(ranks), reverse=True), provider
        assert len(ranks) == len(models) >= 2, provider


def test_usual_models_by_a_providers_other_name() -> None:
    assert default_models("xai") == default_models("x-ai") != ()
    assert default_models("lab") == ()
