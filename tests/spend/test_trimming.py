"""The saving formula against a cache that is simulated token by token."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of, readable_tokens
from turnout.catalog.prices import Price
from turnout.spend.trimming import Billing, Cut, bill, break_even

AUTOMATIC = Billing(
    price=Price(input=2_000_000, output=0, cache_read=500_000),
    rule=replace(cache_rule_of("openai", "gpt-4.1"), minimum_tokens=12, granularity_tokens=4),
)
EXPLICIT = Billing(
    price=Price(input=3_000_000, output=0, cache_read=300_000, cache_write=3_750_000),
    rule=replace(cache_rule_of("anthropic", "claude-sonnet-4-5"), minimum_tokens=12),
)
SMOOTH = Billing(price=EXPLICIT.price, rule=replace(AUTOMATIC.rule, minimum_tokens=1, granularity_tokens=1))
UNCACHED = Billing(price=AUTOMATIC.price, rule=NO_CACHE)


def simulated(totals, billing, cuts=(), opening=()):
    """The bill of requests made of numbered tokens: each reads the longest prefix that an earlier one left in the
    cache, anywhere or, where marks are needed, up to one."""
    by_marks = billing.rule.max_breakpoints > 0
    kept, cost = [], 0
    for request, total in enumerate(totals):
        gone = {t for c in cuts if c.since <= request for t in range(c.offset, c.offset + c.tokens)}
        tokens = [t for t in range(total) if t not in gone]
        found = max((common(tokens, other, whole=by_marks) for other in kept), default=0)
        read = readable_tokens(billing.rule, found)
        written = billing.price.input
        if by_marks and len(tokens) >= billing.rule.minimum_tokens:
            written = billing.price.cache_write
        cost += read * billing.price.cache_read + (len(tokens) - read) * written
        kept.append(tokens)
        if by_marks:
            kept += [[t for t in range(at) if t not in gone] for at in opening if at <= total]
    return cost


def common(tokens, other, *, whole):
    """How many tokens two requests begin with alike; with `whole`, all of `other` or none."""
    alike = next((n for n, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b), len(other))
    alike = min(alike, len(tokens))
    return alike if not whole or alike == len(other) else 0


@st.composite
def conversations(draw):
    """Requests that grow, where the first is marked, and parts that are left out, each since it came or later."""
    grown = draw(st.lists(st.integers(4, 16), min_size=1, max_size=6))
    totals = [sum(grown[: n + 1]) for n in range(len(grown))]
    cuts = []
    for first, (end, size) in enumerate(zip(totals, grown, strict=True)):
        if draw(st.booleans()):
            offset = end - draw(st.integers(2, size))
            tokens = draw(st.integers(1, end - offset - 1))
            cuts.append(Cut(offset=offset, tokens=tokens, first=first, since=draw(st.integers(first, len(totals) - 1))))
    # Tools and system text stand before whatever is left out later.
    most = min((cut.offset for cut in cuts), default=totals[0])
    opening = sorted(draw(st.lists(st.integers(0, min(most, totals[0])), max_size=2)))
    return totals, cuts, opening


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_a_bill_with_parts_left_out_is_what_a_simulated_cache_bills(conversation):
    totals, cuts, opening = conversation
    for billing in (AUTOMATIC, EXPLICIT, SMOOTH, UNCACHED):
        assert bill(totals, billing, opening=opening) == simulated(totals, billing, (), opening)
        for some in ([], *([cut] for cut in cuts), cuts):
            assert bill(totals, billing, some, opening=opening) == simulated(totals, billing, some, opening)


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_the_documented_formula_is_the_bill_where_nothing_is_rounded(conversation):
    totals, cuts, _ = conversation
    read, write = SMOOTH.price.cache_read, SMOOTH.price.input
    for cut in cuts:
        k = len(totals) - cut.since
        tail = totals[cut.since - 1] - cut.offset - cut.tokens
        saved = k * cut.tokens * read - tail * (write - read)
        if cut.since == cut.first:
            saved = cut.tokens * write + (k - 1) * cut.tokens * read
        assert bill(totals, SMOOTH) - bill(totals, SMOOTH, (cut,)) == saved


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_it_pays_from_the_break_even_on_and_not_before(conversation):
    totals, cuts, opening = conversation
    for billing in (SMOOTH, replace(EXPLICIT, rule=replace(EXPLICIT.rule, minimum_tokens=1))):
        for cut in cuts:
            needed = break_even(cut, totals, billing, opening)
            assert needed is not None
            sent = totals[: cut.since]
            for k in range(1, needed + 2):
                longer = [*sent, *(totals[-1] + 5 * n for n in range(k))]
                saved = bill(longer, billing) - bill(longer, billing, (cut,), opening=opening)
                assert (saved >= 0) == (k >= needed)


def test_from_the_middle_of_a_warm_claude_session_it_takes_many_steps_to_pay():
    """A result of 2,000 tokens that 20,000 others follow: they are written anew at 1.25x, then 2,000 are not read at
    0.1x a step."""
    totals = [10_000, 12_000, 22_000, 32_000]
    price = Price(input=5_000_000, output=0, cache_read=500_000, cache_write=6_250_000)
    claude = Billing(price=price, rule=cache_rule_of("anthropic", "claude-opus-4-5"))
    late = Cut(offset=10_000, tokens=2_000, first=1, since=4)
    assert break_even(late, totals, claude) == 115  # 20,000 x (1.25 - 0.1) / (2,000 x 0.1)
    assert break_even(replace(late, since=2), totals, claude) == 0, "nothing stands behind it yet"
    assert break_even(replace(late, since=1), totals, claude) == 0, "it was never sent"


def test_where_reading_is_free_a_broken_cache_is_never_paid_for():
    free = Billing(price=Price(input=1_000_000, output=0, cache_read=0), rule=SMOOTH.rule)
    assert break_even(Cut(offset=5, tokens=10, first=0, since=1), [100], free) is None
    assert break_even(Cut(offset=5, tokens=10, first=0, since=1), [100], UNCACHED) == 0
