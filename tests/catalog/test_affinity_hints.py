"""How providers are told which session a request belongs to."""

import re

from turnout.catalog.affinity_hints import affinity_hint_of, affinity_rows, opaque_session
from turnout.providers.registry import PROVIDERS


def test_openai_takes_a_key_until_its_models_found_the_cache_without_one():
    both = {"openai-chat": "prompt_cache_key", "openai-responses": "prompt_cache_key"}
    assert affinity_hint_of("openai", "gpt-5.5").keys == both
    assert affinity_hint_of("openai", "gpt-4.1-mini").keys == both
    assert affinity_hint_of("openai", "gpt-5.6-sol").keys == {}, "there keys keep caches apart"
    assert affinity_hint_of("openai", "gpt-3.5-turbo").keys == {}
    assert affinity_hint_of("azure", "gpt-5.6-sol").keys == both


def test_others_take_a_header():
    assert affinity_hint_of("xai", "grok-4.6").header == "x-grok-conv-id"
    assert affinity_hint_of("openrouter", "anthropic/claude-opus-5").header == "x-session-id"
    assert affinity_hint_of("fireworks", "kimi-k3").header == "x-session-affinity"


def test_who_has_no_row_is_told_nothing():
    told = affinity_hint_of("somebody", "claude-opus-5")
    assert (told.keys, told.header, told.unmarked) == ({}, None, ())


def test_nova_takes_no_mark_in_its_tools():
    assert affinity_hint_of("bedrock", "amazon.nova-pro-v1:0").unmarked == ("tools",)
    assert affinity_hint_of("bedrock", "anthropic.claude-opus-5").unmarked == ()


def test_every_row_says_where_it_was_read_and_its_pattern_works():
    for row in affinity_rows():
        assert row.source
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row.read)
        re.compile(row.match)
        assert set(row.keys) <= {"openai-chat", "openai-responses"}
        assert row.provider in PROVIDERS or row.provider.startswith("fireworks")


def test_a_session_is_named_the_same_each_time_and_shows_nothing():
    name = opaque_session("ci", "session-1")
    assert name == opaque_session("ci", "session-1")
    assert re.fullmatch("[0-9a-f]{32}", name)
    assert len({name, opaque_session("ci", "session-2"), opaque_session("cis", "ession-1")}) == 3
