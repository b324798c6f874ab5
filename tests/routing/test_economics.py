"""The formulas of cost against a simulation of what a provider bills, token by token."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from turnout.catalog.cache_rules import cache_rule_of
from turnout.catalog.catalog import Catalog
from turnout.routing.economics import (
    Option,
    Run,
    Unit,
    after,
    break_even_steps,
    detour_cost,
    detour_gain,
    done_over,
    per_solved,
    rest_cost,
    unit_prices,
    with_escalation,
)


class Billed:
    """A provider that keeps the longest prefix it was sent, from `minimum` tokens on, and bills by the token."""

    def __init__(self, option: Option, context: float) -> None:
        self.option = option
        self.seen = min(option.warm, context)
        self.total = 0.0

    def step(self, context: float, output: float, *, lapsed: bool = False) -> None:
        unit = self.option.unit
        if not self.option.caches or context < self.option.minimum:
            self.total += context * unit.fresh
        else:
            read = 0.0 if lapsed else min(self.seen, context)
            self.total += read * unit.read + (context - read) * unit.write
            self.seen = context
        self.total += output * self.option.verbosity * unit.output


def simulated(option: Option, run: Run, *, draw: random.Random | None = None) -> float:
    bill, context = Billed(option, run.context), run.context
    for number in range(run.steps):
        lapsed = number > 0 and draw is not None and draw.random() < run.lapse
        bill.step(context, run.output, lapsed=lapsed)
        context += run.growth + run.output * option.verbosity
    return bill.total


prices = st.floats(0.01, 10)
units = st.builds(
    lambda fresh, extra, cut, output: Unit(fresh=fresh, write=fresh * extra, read=fresh * cut, output=output),
    prices,
    st.sampled_from([1.0, 1.25, 2.0]),
    st.floats(0.02, 1.0),
    prices,
)
options = st.builds(
    Option,
    unit=units,
    warm=st.sampled_from([0.0, 500.0, 4_000.0]),
    minimum=st.sampled_from([0, 1_024, 4_096]),
    verbosity=st.floats(0.5, 2.0),
    caches=st.booleans(),
)
runs = st.builds(
    Run,
    context=st.floats(100, 50_000),
    growth=st.floats(0, 3_000),
    output=st.floats(0, 1_000),
    steps=st.integers(0, 40),
)


@given(options, runs)
def test_the_rest_of_a_session_costs_what_is_billed_step_by_step(option: Option, run: Run) -> None:
    # What lies below the minimum was never kept: nothing of it can be warm.
    option = replace(option, warm=0.0 if run.context < option.minimum else min(option.warm, run.context))
    assert rest_cost(option, run) == pytest.approx(simulated(option, run), rel=1e-9, abs=1e-6)


def test_a_cache_that_lapses_now_and_then_is_billed_so_on_the_average() -> None:
    option = Option(unit=Unit(fresh=5, write=6.25, read=0.5, output=25), warm=8_000)
    run = Run(context=10_000, growth=700, output=200, steps=12, lapse=0.3)
    draw = random.Random(3)
    mean = sum(simulated(option, run, draw=draw) for _ in range(4_000)) / 4_000
    assert rest_cost(option, run) == pytest.approx(mean, rel=0.01)


def billed_with_detours(there: Option, home: Option, run: Run, away: set[int]) -> float:
    """The run with the steps `away` there and the others at home."""
    bills = {True: Billed(there, run.context), False: Billed(home, run.context)}
    context = run.context
    for number in range(run.steps):
        bills[number in away].step(context, run.output)
        context += run.growth + run.output
    return bills[True].total + bills[False].total


@given(options, options, runs, st.integers(1, 10))
def test_a_detour_costs_what_both_bill_for_it(there: Option, home: Option, run: Run, steps: int) -> None:
    there, home = (replace(o, minimum=0, verbosity=1.0, warm=min(o.warm, run.context)) for o in (there, home))
    billed = billed_with_detours(there, home, run, set(range(steps)))
    assert detour_cost(there, home, run, steps) == pytest.approx(billed, rel=1e-9, abs=1e-6)


@given(options, options, runs, st.integers(1, 8), st.integers(1, 3))
def test_the_gain_of_visits_is_the_difference_of_the_two_bills(
    there: Option, home: Option, run: Run, visits: int, every: int
) -> None:
    """Every `every`-th step goes there; home has the last step, as it does in a session that ends well."""
    there = replace(there, verbosity=1.0, warm=min(there.warm, run.context) if there.keeps(run.context) else 0.0)
    # Home has the context already or has never cached: what it writes when one first reaches its minimum is put off.
    home = replace(home, verbosity=1.0, minimum=0 if home.caches else home.minimum, warm=run.context)
    run = replace(run, steps=visits * every + 1)
    away = {number * every for number in range(visits)}
    stay = billed_with_detours(there, home, run, set())
    went = billed_with_detours(there, home, run, away)
    gain = detour_gain(there, home, run, visits, share=1 / every)
    assert gain == pytest.approx(stay - went, rel=1e-6, abs=1e-3)


def test_the_founders_break_even_figures() -> None:
    """`R` is the ratio of input prices, both read at a tenth and write at 1.25 times: Opus to Haiku 2.9 and 17 steps,
    Opus to Sonnet 17 and 46."""
    opus, sonnet, haiku = (Unit(fresh=p, write=1.25 * p, read=0.1 * p, output=5 * p) for p in (5, 3, 1))
    assert break_even_steps(haiku, opus) == pytest.approx(2.875)
    assert break_even_steps(haiku, opus, gone=1) == pytest.approx(17.25)
    assert break_even_steps(sonnet, opus) == pytest.approx(17.25)
    assert break_even_steps(sonnet, opus, gone=1) == pytest.approx(46)
    assert break_even_steps(opus, haiku) == math.inf


@given(units, units, st.floats(1_000, 100_000))
def test_the_break_even_is_where_the_bills_meet(there: Unit, home: Unit, context: float) -> None:
    even = break_even_steps(there, home)
    small, large = Option(unit=there), Option(unit=home, warm=context)
    for steps in (1, 2, 5, 20, 100):
        run = Run(context=context, growth=0, output=0, steps=steps + 1)
        went = billed_with_detours(small, large, run, set(range(steps)))
        stayed = billed_with_detours(small, large, run, set())
        if abs(went - stayed) > 1e-6 * stayed:
            assert (went > stayed) == (steps < even)


def test_failure_is_paid_twice_and_per_solved_task() -> None:
    small = Option(unit=Unit(fresh=1, write=1.25, read=0.1, output=5), success=0.5)
    large = Option(unit=Unit(fresh=5, write=6.25, read=0.5, output=25), success=0.9)
    run = Run(context=5_000, growth=500, output=200, steps=10)
    alone, over = rest_cost(small, run), done_over(large, run, noticed=0.5)
    sure = with_escalation(replace(small, success=1.0), run, alone=alone, over=over)
    assert sure == rest_cost(small, run)
    expected = with_escalation(small, run, alone=alone, over=over, noticed=0.5)
    redo = rest_cost(large, Run(context=5_000 + 5 * 700, growth=500, output=200, steps=10))
    assert expected == pytest.approx(
        0.5 * rest_cost(small, run) + 0.5 * (rest_cost(small, replace(run, steps=5)) + redo)
    )
    assert per_solved(10.0, 0.5) == 20.0
    assert per_solved(10.0, 0.0) == math.inf


def test_nothing_is_left_of_a_run_that_is_over() -> None:
    run = Run(context=1_000, growth=100, output=10, steps=3)
    assert after(run, 5).steps == 0
    assert rest_cost(Option(unit=Unit(fresh=1, write=1, read=1, output=1)), after(run, 5)) == 0


def test_units_come_from_the_price_list_and_where_it_is_silent_from_the_rule() -> None:
    price = Catalog.load().price("anthropic", "claude-opus-4-5")
    assert price is not None
    unit = unit_prices(price, cache_rule_of("anthropic", "claude-opus-4-5"), 10_000)
    assert (unit.fresh, unit.write, unit.read, unit.output) == (5_000, 6_250, 500, 25_000)
    silent = replace(price, cache_read=None, cache_write=None, cache_write_1h=None, tiers=())
    assert unit_prices(silent, cache_rule_of("anthropic", "claude-opus-4-5"), 10_000) == unit
    assert unit_prices(silent, cache_rule_of("anthropic", "claude-opus-4-5"), 10_000, long=True).write == 10_000
