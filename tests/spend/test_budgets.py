"""Budgets: never a cent over, whatever comes at once."""

import contextlib
import random
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from support.fleets import deployment
from turnout.context import Spender
from turnout.errors import BudgetExhausted
from turnout.spend.budgets import BudgetRule, Budgets, Match
from turnout.spend.periods import Period

USD = 1_000_000_000
BIG = deployment("openai/big", "frontier", 10)
NANO = deployment("openai/nano", "small", 1)
MYSTERY = deployment("lab/mystery", None, None)
DAY = Period(kind="day")
_numbers = count()


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
    return BudgetRule(name="company", amount_nano_usd=int(usd * USD), **more)


def reserve(book, who, *priced):
    """What the next request holds."""
    return book.reserve(f"req_{next(_numbers)}", who, priced)


def spend(book, cost, who=None, model=BIG):
    book.settle(reserve(book, who or spender(), (model, cost)), [(model, cost)])


def test_what_is_reserved_is_held_and_what_is_spent_is_booked():
    book, _ = budgets(company())
    held = reserve(book, spender(), (BIG, 600_000_000))
    assert book.held("company") == 600_000_000
    book.settle(held, [(BIG, 100_000_000)])
    assert (book.held("company"), book.spent("company")) == (0, 100_000_000)


def test_two_at_once_cannot_spend_the_same_money():
    book, _ = budgets(company())
    reserve(book, spender(), (BIG, 600_000_000))
    with pytest.raises(
        BudgetExhausted, match=r"budget company has \$0\.40.* left of \$1\.00.* until 2026-12-01 00:00 UTC"
    ):
        reserve(book, spender(), (BIG, 600_000_000))


def test_the_dearest_candidate_is_what_is_held():
    book, _ = budgets(company())
    assert reserve(book, spender(), (NANO, 1), (BIG, USD)).unaffordable == frozenset()
    assert book.held("company") == USD


def test_the_best_candidate_must_fit_and_others_that_do_not_are_left_out():
    book, _ = budgets(company())
    with pytest.raises(BudgetExhausted):
        reserve(book, spender(), (BIG, 2 * USD), (NANO, 1))
    assert book.held("company") == 0, "a refused request holds nothing"
    held = reserve(book, spender(), (NANO, 1), (BIG, 2 * USD), (MYSTERY, None))
    assert held.unaffordable == {"openai/big", "lab/mystery"}
    assert book.held("company") == 1


def test_all_matching_budgets_must_have_the_money_or_none_holds_it():
    book, _ = budgets(
        company(10),
        BudgetRule(name="search", amount_nano_usd=5, period=DAY, match=Match(tag="feature=search")),
    )
    with pytest.raises(BudgetExhausted, match="budget search"):
        reserve(book, spender(feature="search"), (BIG, 100))
    assert book.held("company") == 0
    reserve(book, spender(feature="chat"), (BIG, 100))
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
    rule = BudgetRule(name="b", amount_nano_usd=1, period=DAY, match=match)
    assert rule.covers(spender(key="ci", mode="plan", team="core"), BIG.id, BIG.provider) is covered


def test_a_model_without_a_price_cannot_pass_a_budget():
    book, _ = budgets(company())
    with pytest.raises(BudgetExhausted, match=r"lab/mystery has no known price"):
        reserve(book, spender(), (MYSTERY, None))


def test_periods_begin_anew_and_a_request_is_booked_where_it_came_in():
    book, clock = budgets(company(), at=(2026, 11, 30, 23, 59))
    held = reserve(book, spender(), (BIG, USD))
    clock.now = datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
    assert book.held("company") == 0
    book.settle(held, [(BIG, USD)])
    assert book.spent("company") == 0, "it was November's money"
    reserve(book, spender(), (BIG, USD))


def test_small_stays_open_when_the_best_no_longer_fits():
    book, _ = budgets(company(1, on_exhausted="small"))
    assert book.left_to_small(spender(), [(BIG, USD), (NANO, 1)]) is None
    spend(book, USD // 2)
    assert book.left_to_small(spender(), [(BIG, USD), (NANO, 1)]) == "company"
    assert book.left_to_small(spender(), [(NANO, 1)]) is None


def test_small_models_have_the_last_of_the_money_to_themselves():
    book, _ = budgets(company(1, on_exhausted="small", small_reserve_nano_usd=USD // 10))
    spend(book, USD * 9 // 10)
    assert book.left_to_small(spender(), [(BIG, 1)]) == "company"
    spend(book, USD // 10, model=NANO)
    with pytest.raises(BudgetExhausted):
        reserve(book, spender(), (NANO, 1))


def test_a_soft_budget_counts_and_never_refuses():
    book, _ = budgets(company(1, on_exhausted="warn"))
    held = reserve(book, spender(), (BIG, 5 * USD), (MYSTERY, None))
    assert held.held == ()
    book.settle(held, [(BIG, 5 * USD)])
    assert book.spent("company") == 5 * USD


def test_a_request_is_settled_once():
    book, _ = budgets(company())
    held = reserve(book, spender(), (BIG, 10))
    for _ in range(2):
        book.settle(held, [(BIG, 7)])
    assert (book.spent("company"), book.held("company")) == (7, 0)


def test_calls_that_nobody_got_an_answer_from_are_paid_to_their_own_provider():
    lab = deployment("lab/big", "frontier", 10)
    book, _ = budgets(BudgetRule(name="lab", amount_nano_usd=USD, match=Match(provider="lab")), company())
    book.settle(reserve(book, spender(), (BIG, 100), (lab, 100)), [(lab, 30), (BIG, 50)])
    assert (book.spent("lab"), book.spent("company")) == (30, 80)


def test_what_a_rolling_window_has_left_behind_when_it_is_settled_does_not_count():
    book, clock = budgets(company(1, period=Period(kind="rolling", window=timedelta(hours=24))))
    held = reserve(book, spender(), (BIG, 300_000_000))
    clock.now += timedelta(hours=25)
    book.settle(held, [(BIG, 300_000_000)])
    assert (book.held("company"), book.spent("company")) == (0, 0)


def test_a_rolling_window_forgets_what_is_too_old_and_nothing_else():
    book, clock = budgets(company(1, period=Period(kind="rolling", window=timedelta(hours=24))))
    spend(book, USD)
    clock.now += timedelta(hours=23, minutes=59)
    with pytest.raises(BudgetExhausted, match="in any 1d"):
        reserve(book, spender(), (BIG, 1))
    clock.now += timedelta(minutes=10)
    spend(book, USD)
    assert book.spent("company") == USD


def test_a_lifetime_budget_never_begins_anew():
    book, clock = budgets(company(1, period=Period(kind="lifetime")))
    spend(book, USD)
    clock.now += timedelta(days=3650)
    with pytest.raises(BudgetExhausted, match="for good"):
        reserve(book, spender(), (BIG, 1))


def test_a_clock_set_back_does_not_open_the_last_period_again():
    book, clock = budgets(company(1, period=DAY), at=(2026, 11, 24, 0, 5))
    spend(book, USD)
    clock.now -= timedelta(minutes=10)
    with pytest.raises(BudgetExhausted):
        reserve(book, spender(), (BIG, 1))
    clock.now += timedelta(days=1, minutes=10)
    spend(book, USD)


def test_a_clock_that_was_a_year_ahead_is_believed_when_it_is_right_again():
    book, clock = budgets(company(1, period=DAY))
    spend(book, USD)
    clock.now += timedelta(days=365)
    spend(book, USD)
    clock.now -= timedelta(days=365)
    with pytest.raises(BudgetExhausted):
        reserve(book, spender(), (BIG, 1))


def test_money_added_for_a_period_is_there_in_that_period_alone():
    book, clock = budgets(company(1, period=DAY))
    spend(book, USD)
    assert book.add("company", USD // 2).left_nano_usd == USD // 2
    spend(book, USD // 2)
    clock.now += timedelta(days=1)
    assert book.state("company").left_nano_usd == USD


def test_each_share_is_told_once_a_period():
    told = []
    book, clock = budgets(company(1, period=DAY, alerts=(0.5, 0.8, 1.0)))
    book._on_alert = told.append
    for _ in range(9):
        spend(book, USD // 10)
    assert [a.share for a in told] == [0.5, 0.8]
    for _ in range(3):
        with pytest.raises(BudgetExhausted):
            reserve(book, spender(), (BIG, USD))
    assert [a.share for a in told] == [0.5, 0.8, 1.0]
    assert told[2].sentence == ("budget company has used $0.90 of $1.00 (told at 100%), until 2026-11-24 00:00 UTC")
    clock.now += timedelta(days=1)
    spend(book, USD * 6 // 10)
    assert [a.share for a in told] == [0.5, 0.8, 1.0, 0.5]


def test_what_a_restart_finds_was_told_before():
    told = []
    book, clock = budgets(company(1, alerts=(0.5, 0.8)))
    book._on_alert = told.append
    book.restore(spender(), BIG.id, BIG.provider, USD * 6 // 10, at=clock.now)
    book.restore_entry("company", at=clock.now, lost_nano_usd=USD // 10)
    book.restored(book.rules)
    assert (book.spent("company"), told) == (USD * 7 // 10, [])
    spend(book, USD // 5)
    assert [a.share for a in told] == [0.8]


def test_a_raised_amount_keeps_what_was_spent_and_held():
    book, _ = budgets(company(1))
    spend(book, USD // 2)
    reserve(book, spender(), (BIG, USD // 2))
    assert book.reconfigure([company(2)]) == []
    assert book.state("company").left_nano_usd == USD
    assert [r.name for r in book.reconfigure([company(2, match=Match(key="ci"))])] == ["company"]


def test_random_traffic_never_oversteps():
    """10,000 reservations and settlements in any order: spent + held stays within the amount, and ends at the sum."""
    rng = random.Random(7)
    book, _ = budgets(company(1))
    waiting, spent = [], 0
    for _ in range(10_000):
        if waiting and rng.random() < 0.5:
            held, worst = waiting.pop(rng.randrange(len(waiting)))
            cost = rng.randint(0, worst)
            book.settle(held, [(BIG, cost)])
            spent += cost
        else:
            worst = rng.randint(1, USD // 50)
            with contextlib.suppress(BudgetExhausted):
                waiting.append((reserve(book, spender(), (BIG, worst)), worst))
        assert book.spent("company") + book.held("company") <= USD
    assert book.spent("company") == spent
    assert spent > USD // 2


def test_a_period_that_a_clock_comes_back_to_is_kept_though_many_are_newer():
    book, clock = budgets(company(1, period=DAY))
    for _ in range(8):
        clock.now += timedelta(days=2)
        spend(book, 1)
    clock.now -= timedelta(days=30)
    spend(book, USD // 2)
    held = reserve(book, spender(), (BIG, USD // 2))
    with pytest.raises(BudgetExhausted):
        reserve(book, spender(), (BIG, 1))
    book.settle(held, [])
    assert (book.held("company"), book.spent("company")) == (0, USD // 2)
