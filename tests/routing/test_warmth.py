"""What is warm where: by the provider's rule, and by what it has been seen to do."""

import pytest

from support.fleets import deployment
from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.chat import Usage
from turnout.context import Visit
from turnout.routing.warmth import Warmth, age_name, kept_by

GPT = deployment("openai/gpt-4o", "frontier", 2)
NANO = deployment("openai/gpt-5-nano", "small", 1)
CLAUDE = cache_rule_of("anthropic", "claude-opus-5")


def visit(tokens, at_s=0.0, messages=5, ttl_s=300):
    return Visit(messages=messages, tokens=tokens, at_s=at_s, ttl_s=ttl_s)


def warm(warmth, deployment, visits, *, home=None, now_s=10.0, agent=("", "a")):
    return warmth.of(deployment, visits=visits, home=home, agent=agent, now_s=now_s)


def test_a_switch_evicts_nothing():
    """The session went from gpt to nano; gpt still has what it was sent, until its lifetime is over."""
    visits = {"openai/gpt-4o": visit(5_000, at_s=0), "openai/gpt-5-nano": visit(6_000, at_s=60)}
    back = warm(Warmth(), GPT, visits, home="openai/gpt-5-nano", now_s=100)
    assert (back.tokens, back.kind, back.until_s, back.age_s) == (4_992, "return", 300, 100)
    assert warm(Warmth(), NANO, visits, home="openai/gpt-5-nano", now_s=100).kind == "stay"
    assert warm(Warmth(), GPT, visits, now_s=300).tokens == 0


def test_an_account_is_part_of_a_deployment_and_the_best_one_counts():
    visits = {"openai/gpt-4o": visit(2_000), "openai/gpt-4o@key2": visit(6_000)}
    assert warm(Warmth(), GPT, visits).tokens == 5_888
    assert warm(Warmth(), deployment("openai/gpt-4", "mid", 1), visits).tokens == 0, "another model's name begins alike"


def test_a_first_visit_finds_what_other_sessions_of_the_agent_left():
    warmth = Warmth()
    warmth.keep_prefix(NANO, ("key", "agent"), visit(3_000, at_s=0))
    first = warm(warmth, NANO, {}, agent=("key", "agent"))
    assert (first.tokens, first.kind) == (2_944, "first")
    for other in (("key", "other agent"), ("another key", "agent")):
        assert warm(warmth, NANO, {}, agent=other).tokens == 0


def test_a_provider_that_keeps_half_its_promise_is_believed_by_half():
    warmth, home = Warmth(), "openai/gpt-4o"
    told = warm(warmth, GPT, {home: visit(10_000)}, home=home)
    assert told.tokens == told.promised == 9_984
    for _ in range(200):
        # In its own tokens, of which it counts twice as many as we do.
        warmth.served(GPT, told, Usage(input=24_000, cache_read=9_984), 12_000)
    assert warm(warmth, GPT, {home: visit(10_000)}, home=home).tokens == pytest.approx(5_000, rel=0.05)
    assert warm(warmth, GPT, {home: visit(10_000)}, home="elsewhere").tokens == 9_984, "of returns nothing is known"


def test_what_nobody_reported_teaches_nothing():
    warmth = Warmth()
    told = warm(warmth, GPT, {"openai/gpt-4o": visit(10_000)})
    warmth.served(GPT, told, None, 12_000)
    warmth.served(GPT, told, Usage(input=12_000), 12_000)
    assert warmth.figures == {}


def test_what_is_kept_of_a_request():
    sent = Usage(input=10_000, cache_read=4_000, cache_write=5_000, output=10)
    told = {"estimate": 8_000, "messages": 7, "at_s": 50.0}
    # Claude keeps what was marked: it says how much it read and wrote.
    assert kept_by(CLAUDE, sent, **told) == Visit(messages=7, tokens=7_200, at_s=50.0, ttl_s=300)
    assert kept_by(CLAUDE, sent, **told, long=True) == Visit(messages=7, tokens=7_200, at_s=50.0, ttl_s=3_600)
    assert kept_by(CLAUDE, Usage(input=10_000, cache_read=0, cache_write=0), **told) is None
    assert kept_by(CLAUDE, None, **told) is None
    # OpenAI keeps the whole of it, asked or not.
    assert kept_by(cache_rule_of("openai", "gpt-4o"), None, **told) == visit(8_000, 50.0, 7)
    assert kept_by(NO_CACHE, sent, **told) is None


def test_prefixes_are_bounded():
    warmth = Warmth()
    for number in range(10_050):
        warmth.keep_prefix(NANO, ("", str(number)), visit(3_000))
    assert len(warmth._prefixes) == 10_000


def test_ages_have_names():
    assert [age_name(s) for s in (0, 59, 60, 299, 300, 7_000)] == ["1m", "1m", "5m", "5m", "30m", "more"]
