"""What sessions would have cost with one model: sums that hold by hand, caches shared as they would be."""

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.catalog.prices import Price
from turnout.dialects import DIALECTS
from turnout.lab.baselines import Bill, price_session
from turnout.lab.sessions import packaged_sessions, requests_of, usage_of
from turnout.providers.recorded import PromptCache

PRICE = Price(input=2_000_000, output=8_000_000, cache_read=500_000)
CHAT = DIALECTS["openai-chat"]
SESSION = packaged_sessions()[0]
RULE = cache_rule_of("openai", "gpt-4.1")


def test_without_a_cache_every_token_is_paid_in_full():
    bill = price_session(SESSION, PRICE, PromptCache(NO_CACHE), CHAT)
    told = [usage_of(s, r) for s, r in zip(SESSION.steps, requests_of(SESSION), strict=True)]
    assert bill.input == sum(u.input for u in told)
    assert bill.uncached_nano_usd == sum(u.input * 2000 + u.output * 8000 for u in told)
    assert (bill.cached, bill.cached_nano_usd) == (0, bill.uncached_nano_usd)


def test_with_a_cache_what_was_read_costs_a_quarter():
    bill = price_session(SESSION, PRICE, PromptCache(RULE), CHAT)
    assert 0.7 < bill.cached / bill.input < 0.95
    assert bill.uncached_nano_usd - bill.cached_nano_usd == bill.cached * 1500


def test_a_second_session_finds_what_the_first_left():
    cache = PromptCache(RULE)
    first, again = (price_session(SESSION, PRICE, cache, CHAT) for _ in range(2))
    assert again.cached > first.cached
    assert Bill.sum([first, again]).input == 2 * first.input
