"""Budgets: never a cent over, whatever comes at once."""

import contextlib
import random
from datetime import UTC, datetime

import pytest

from support.fleets import deployment
from turnout.context import Spender
from turnout.errors import BudgetExhausted
from turnout.spend.budgets import BudgetRule, Budgets, Match, period_start

USD = 1_000_000_000
BIG = deployment("openai/big", "frontier", 10)
NANO = deployment("openai/nano", "small", 1)
MYSTERY = deployment("lab/mystery", None, None)


class Clock:
    def __init__(self, *at: int) -> None:
        self.now = datetime(*at, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def spender(key=None, session="s", mode=None, **tags):
    return Spender(key=key, tags=tags, mode=mode, session=session)


def budgets(*rules, at=(2026, 11, 23, 12)):
    clock = Clock(*at)
    return Budgets(rules, now=clock), clock


def company(usd=1, **more):
    return BudgetRule(name="company", amount_nano_usd=int(usd * USD), period="month", **more)


def test_what_is_reserved_is_held_and_what_is_spent_is_booked():
    book, _ = budgets(company())
    held = book.reserve(spender(), [(BIG, 600_000_000)])
    assert book.held("company") == 600_000_000
    book.settle(held, BIG, 100_000_000)
    assert (book.held("company"), book.spent("company")) == (0, 100_000_000)


def test_two_at_once_cannot_spend_the_same_money():
    book, _ = budgets(company())
    book.reserve(spender(), [(BIG, 600_000_000)])
    with pytest.raises(
        BudgetExhausted, match=r"budget company has \$0\.40.* left of \$1\.00.* until 2026-12-01 00:00 UTC"
    ):
        book.reserve(spender(), [(BIG, 600_000_000)])


def test_the_dearest_candidate_is_what_must_fit():
    book, _ = budgets(company())
    with pytest.raises(BudgetExhausted):
        book.reserve(spender(), [(NANO, 1), (BIG, 2 * USD)])
    assert book.held("company") == 0, "a refused request holds nothing"


def test_all_matching_budgets_must_have_the_money_or_none_holds_it():
    book, _ = budgets(
        company(10),
        BudgetRule(name="search", amount_nano_usd=5, period="day", match=Match(tag="feature=search")),
    )
    with pytest.raises(BudgetExhausted, match="budget search"):
        book.reserve(spender(feature="search"), [(BIG, 100)])
    assert book.held("company") == 0
    book.reserve(spender(feature="chat"), [(BIG, 100)])
    assert book.held("company") == 100


@pytest.mark.parametrize(
    ("match", "covered"),
    [
        (Match(), True),
        (Match(key="ci"), True),
        (Match(key="dev"), False),
        (Match(tag="team"), True),
        (Match(tag="team=web"), False),
        (Match(mode="plan"), True),
        (Match(provider="openai"), True),
        (Match(provider="anthropic"), False),
        (Match(model="openai/big"), True),
        (Match(session="other"), False),
    ],
)
def test_what_a_match_covers(match, covered):
    rule = BudgetRule(name="b", amount_nano_usd=1, period="day", match=match)
    assert rule.covers(spender(key="ci", mode="plan", team="core"), BIG.id, BIG.provider) is covered


def test_a_model_without_a_price_cannot_pass_a_budget():
    book, _ = budgets(company())
    with pytest.raises(BudgetExhausted, match=r"lab/mystery has no known price"):
        book.reserve(spender(), [(MYSTERY, None)])


def test_periods_begin_anew_and_a_request_is_booked_where_it_came_in():
    book, clock = budgets(company(), at=(2026, 11, 30, 23, 59))
    held = book.reserve(spender(), [(BIG, USD)])
    clock.now = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
    assert book.held("company") == 0
    book.settle(held, BIG, USD)
    assert book.spent("company") == 0, "it was November's money"
    book.reserve(spender(), [(BIG, USD)])


def test_period_starts():
    at = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)  # a Wednesday
    assert period_start("day", at) == datetime(2026, 11, 25, tzinfo=UTC)
    assert period_start("week", at) == datetime(2026, 11, 23, tzinfo=UTC)
    assert period_start("month", at) == datetime(2026, 11, 1, tzinfo=UTC)


def test_small_stays_open_when_the_dearest_no_longer_fits():
    book, _ = budgets(company(1, on_exhausted="small"))
    assert book.left_to_small(spender(), [(NANO, 1), (BIG, USD)]) is None
    book.settle(book.reserve(spender(), [(BIG, USD)]), BIG, USD // 2)
    assert book.left_to_small(spender(), [(NANO, 1), (BIG, USD)]) == "company"
    assert book.left_to_small(spender(), [(NANO, 1)]) is None


def test_random_traffic_never_oversteps():
    """10,000 reservations and settlements in any order: spent + held stays within the amount, and ends at the sum."""
    rng = random.Random(7)
    book, _ = budgets(company(1))
    waiting, spent = [], 0
    for _ in range(10_000):
        if waiting and rng.random() < 0.5:
            held, worst = waiting.pop(rng.randrange(len(waiting)))
            cost = rng.randint(0, worst)
            book.settle(held, BIG, cost)
            spent += cost
        else:
            worst = rng.randint(1, USD // 50)
            with contextlib.suppress(BudgetExhausted):
                waiting.append((book.reserve(spender(), [(BIG, worst)]), worst))
        assert book.spent("company") + book.held("company") <= USD
    assert book.spent("company") == spent
    assert spent > USD // 2
