"""Which part of a prompt a provider reads from its cache, with the lengths of the providers' own documents."""

from __future__ import annotations

import pytest

from turnout.catalog.cache_rules import NO_CACHE, _rows, cache_rule_of, readable_tokens


@pytest.mark.parametrize(
    ("provider", "model", "matching", "readable"),
    [
        # OpenAI: from 1,024 in steps of 128.
        ("openai", "gpt-4o", 1023, 0),
        ("openai", "gpt-4o", 1024, 1024),
        ("openai", "gpt-4o", 1151, 1024),
        # gpt-5.5 keeps what ends at a multiple of 2,048.
        ("openai", "gpt-5.5", 2047, 0),
        ("openai", "gpt-5.5", 4100, 4096),
        # From gpt-5.6 on matches end at breakpoints.
        ("openai", "gpt-5.6-sol", 2006, 2006),
        # Anthropic: the minimum depends on the model.
        ("anthropic", "claude-sonnet-4-5", 1023, 0),
        ("anthropic", "claude-sonnet-4-5", 1024, 1024),
        ("anthropic", "claude-haiku-4-5", 4095, 0),
        ("anthropic", "claude-opus-4-6", 4096, 4096),
        ("anthropic", "claude-opus-4-7", 2047, 0),
        ("bedrock", "us.anthropic.claude-opus-4-7-v1:0", 4095, 0),
        ("anthropic", "claude-sonnet-5-5", 512, 512),
        ("anthropic", "claude-opus-5", 512, 512),
        ("google", "gemini-2.5-pro", 2048, 2048),
        ("google", "gemini-3.5-flash", 4095, 0),
        # DeepSeek: units of 64.
        ("deepseek", "deepseek-chat", 63, 0),
        ("deepseek", "deepseek-chat", 130, 128),
        ("openrouter", "deepseek/deepseek-chat", 130, 128),
        ("openrouter", "openai/gpt-4o", 1151, 1024),
        ("groq", "llama-3.3-70b", 100_000, 0),
        ("openai", "text-embedding-3-large", 9000, 0),
        ("openai", "gpt-3.5-turbo", 9000, 0),
        ("google", "gemini-1.5-pro", 9000, 0),
        ("ollama", "llama3", 100, 100),
        ("openai", "gpt-4o", -5, 0),
    ],
)
def test_readable_tokens(provider: str, model: str, matching: int, readable: int) -> None:
    assert readable_tokens(cache_rule_of(provider, model), matching) == readable


def test_lifetimes_and_breakpoints() -> None:
    claude = cache_rule_of("openrouter", "anthropic/claude-sonnet-5")
    assert (claude.ttl_s, claude.long_ttl_s, claude.max_breakpoints, claude.lookback) == (300, 3600, 4, 20)
    assert not claude.automatic
    assert cache_rule_of("azure", "gpt-4.1").ttl_s == 300
    assert cache_rule_of("azure", "gpt-6-sol").ttl_s == 1800
    assert cache_rule_of("lab", "gpt-4.1") is NO_CACHE
    assert (cache_rule_of("ollama", "qwen3").slots, cache_rule_of("llamacpp", "any").slots) == (1, 4)


def test_every_row_says_where_it_comes_from() -> None:
    rules = [row.rule for row in _rows()]
    assert all(rule.source for rule in rules)
    # A rule that keeps something says for how long, and one with a longer lifetime what that costs.
    assert all(rule.ttl_s > 0 for rule in rules if rule.granularity_tokens)
    assert all(rule.long_write_multiplier for rule in rules if rule.long_ttl_s)


def test_only_marks_are_billed_where_marks_are_asked_for() -> None:
    assert cache_rule_of("anthropic", "claude-opus-5").by_marks
    assert not cache_rule_of("openai", "gpt-6-sol").by_marks
    assert not cache_rule_of("lab", "anything").by_marks
