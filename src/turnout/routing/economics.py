"""What the rest of a session costs with one model and with another, the caches of both in the account. Pure.

Every figure is an expectation in nano-dollars, a float: decisions are made with it, nothing is booked. Prices are a
model's list prices; what a cache does is its provider's published rule (`catalog/cache_rules.py`), what is warm now
comes from `routing/warmth.py`.

The model, for a run of n steps from a context of P tokens that grows by d = g + o a step (g tokens come in, o are
written), at prices w (what is new), r (what is read from the cache) and out, with a chance l that the cache has lapsed
between two steps, and S of P warm now:

    cost(n) = S r + (P - S) w + ((1 - l) r + l w) sum_{j=1}^{n-1} (P + (j - 1) d) + (n - 1) d w + n o out

Contexts below a cache's minimum are read at the price of what is new. `tests/routing/test_economics.py` holds each
formula against a simulation token by token.
"""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.cache_rules import CacheRule
from turnout.catalog.prices import Price, rates_for

__all__ = [
    "TIER_SUCCESS",
    "Option",
    "Run",
    "Unit",
    "after",
    "break_even_steps",
    "detour_cost",
    "detour_gain",
    "done_over",
    "per_solved",
    "rest_cost",
    "step_cost",
    "unit_prices",
    "with_escalation",
]

PICO_PER_NANO = 1_000

TIER_SUCCESS = {"small": 0.5, "mid": 0.65, "frontier": 0.83}
"""An assumption until outcomes are learned: shares of tau2-retail tasks that gpt-4.1-mini (small), and gemini-3-flash
(the strongest recorded) solved, single trials; what lies between is between."""


NOTICED = 0.5
"""Of a run's steps, those after which it is noticed that a model fails. Assumed."""


class Unit(Struct, frozen=True, kw_only=True):
    """Prices of one token in nano-dollars: `fresh` of input that is not cached and not to be, `write` of input that is
    kept (as `fresh` where writing costs nothing extra), `read` of what the cache has, `output` of what is written."""

    fresh: float
    write: float
    read: float
    output: float


class Option(Struct, frozen=True, kw_only=True):
    """A model as a way to go on: its prices, how much of the context is `warm` there (tokens), from how many tokens on
    it caches at all, how many tokens it writes where others write one (`verbosity`), and the chance that it solves the
    task. `caches` False: nothing is kept there."""

    unit: Unit
    warm: float = 0.0
    minimum: int = 0
    verbosity: float = 1.0
    success: float = 1.0
    caches: bool = True

    def keeps(self, context: float) -> bool:
        """Whether it caches a context of that size."""
        return self.caches and context >= self.minimum


class Run(Struct, frozen=True, kw_only=True):
    """What is expected of the rest of a session: `context` tokens now, `growth` coming in and `output` written a step,
    `steps` to come, this one among them, and the chance that a cache lapses between two of them."""

    context: float
    growth: float
    output: float
    steps: int
    lapse: float = 0.0


def unit_prices(
    price: Price, rule: CacheRule, input_tokens: int, *, long: bool = False, service: str | None = None
) -> Unit:
    """A price list's figures for a request of that size in the service tier asked for (standard where that is
    unpriced), with the rule's multipliers where the list has none. `long`: writes are kept for the longer lifetime."""
    rates = rates_for(price, service, input_tokens)
    told_write = rates.cache_write_1h if long and rates.cache_write_1h is not None else rates.cache_write
    multiplier = rule.long_write_multiplier if long else rule.write_multiplier
    write = told_write if told_write is not None else rates.input * (1.0 if multiplier is None else multiplier)
    read = rates.cache_read
    if read is None:
        read = rates.input * (1.0 if rule.read_multiplier is None else rule.read_multiplier)
    return Unit(
        fresh=rates.input / PICO_PER_NANO,
        # Below the price of input: a provider that bills no write bills the input.
        write=max(write, rates.input) / PICO_PER_NANO,
        read=read / PICO_PER_NANO,
        output=rates.output / PICO_PER_NANO,
    )


def step_cost(option: Option, context: float, output: float) -> float:
    """Nano-dollars for one step, where others write `output` tokens."""
    unit = option.unit
    written = output * option.verbosity * unit.output
    if not option.keeps(context):
        return context * unit.fresh + written
    warm = min(context, option.warm)
    return warm * unit.read + (context - warm) * unit.write + written


def rest_cost(option: Option, run: Run) -> float:
    """Nano-dollars for the whole run with one model."""
    n = run.steps
    if n <= 0:
        return 0.0
    unit, out = option.unit, run.output * option.verbosity
    d = run.growth + out
    written = n * out * unit.output
    if not option.caches:
        return unit.fresh * _contexts(run.context, d, 0, n) + written
    # Steps whose context is below the minimum keep nothing and read nothing.
    small = 0
    if run.context < option.minimum:
        small = n if d <= 0 else min(n, math.ceil(min(float(n), (option.minimum - run.context) / d)))
    cost = unit.fresh * _contexts(run.context, d, 0, small) + written
    if small == n:
        return cost
    first = run.context + small * d
    warm = 0.0 if small else min(option.warm, first)
    cost += warm * unit.read + (first - warm) * unit.write
    more = n - small - 1
    again = (1 - run.lapse) * unit.read + run.lapse * unit.write
    return cost + again * _contexts(first, d, 0, more) + more * d * unit.write


def _contexts(context: float, d: float, begin: int, count: int) -> float:
    """The sum of `count` contexts that begin at `context` and grow by `d`."""
    return count * context + d * (count * (count - 1) / 2 + begin * count)


def after(run: Run, steps: int) -> Run:
    """The run as it stands that many steps later."""
    done = min(steps, run.steps)
    return replace(run, context=run.context + done * (run.growth + run.output), steps=run.steps - done)


def detour_cost(there: Option, home: Option, run: Run, steps: int, gone: float = 0.0) -> float:
    """Nano-dollars for `steps` steps with the model `there`, then back to `home` for the rest of the run. `gone` is the
    chance that home's cache has lapsed by then; else it has what it had, and is given what was said since."""
    away = replace(run, steps=min(steps, run.steps))
    back = after(run, steps)
    cost = rest_cost(there, away)
    if back.steps == 0:
        return cost
    kept = rest_cost(replace(home, warm=min(home.warm, run.context)), back)
    lost = rest_cost(replace(home, warm=0.0), back)
    return cost + (1 - gone) * kept + gone * lost


def break_even_steps(there: Unit, home: Unit, *, gone: float = 0.0) -> float:
    """How many steps a detour must last to pay for its cold prefix, where nothing but the context counts:

        k* = [(w_s - r_s) + q R (w_f - r_f)] / [R r_f - r_s],  in prices over the small model's input, R = f / s

    which is the founders' [(w_s - rho) + q R (w_f - rho)] / [rho (R - 1)] where both read at rho. Infinite where a
    step there is no cheaper than a step at home.
    """
    gain = home.read - there.read
    if gain <= 0:
        return math.inf
    return ((there.write - there.read) + gone * (home.write - home.read)) / gain


def detour_gain(there: Option, home: Option, run: Run, visits: int, *, share: float = 1.0, gone: float = 0.0) -> float:
    """Nano-dollars won by taking the next `visits` steps that may go `there`, this one first, when about `share` of all
    steps may; negative where it is dearer than staying. `home` takes the others and is not left for good.

    Each model reads what it has seen and is given what it has not, so home's writes are only put off, and

        gain = sum over the visits of [c (r_f - r_s) + o (out_f - v out_s)] - (w_s - r_s) (c_last - S_s)

    with c the context at each visit, o what home writes a step, v how much more or less is written there, and S_s what
    is warm there now. Where a context is below a model's minimum, c costs what is new there, and nothing is kept.
    `gone`: the chance that home's cache lapses meanwhile, and is written anew.
    """
    gap = (run.growth + run.output) / max(share, 1e-9)
    seen, gain = min(there.warm, run.context), 0.0
    for number in range(visits):
        context = run.context + number * gap
        gain += context * (home.unit.read if home.keeps(context) else home.unit.fresh)
        if there.keeps(context):
            gain -= seen * there.unit.read + (context - seen) * there.unit.write
            seen = context
        else:
            gain -= context * there.unit.fresh
    written = run.output * (home.unit.output - there.verbosity * there.unit.output)
    lapsed = gone * min(home.warm, run.context) * (home.unit.write - home.unit.read)
    return gain + visits * written - lapsed


def done_over(then: Option, run: Run, *, noticed: float = NOTICED) -> float:
    """Nano-dollars for a run that `then` does over where another model has failed: from the context as it is when that
    is noticed, after a share `noticed` of the steps."""
    return rest_cost(then, replace(after(run, _tried(run, noticed)), steps=run.steps))


def with_escalation(first: Option, run: Run, *, alone: float, over: float, noticed: float = NOTICED) -> float:
    """Expected nano-dollars where a run begins with `first`, which costs `alone` (`rest_cost`), and what it does not
    solve is noticed after a share `noticed` of the steps and done over, for `over` (`done_over`)."""
    if first.success >= 1:
        return alone
    tried = rest_cost(first, replace(run, steps=_tried(run, noticed)))
    return first.success * alone + (1 - first.success) * (tried + over)


def _tried(run: Run, noticed: float) -> int:
    return max(1, round(run.steps * noticed))


def per_solved(cost: float, success: float) -> float:
    """Cost of a solved task where `success` of the tasks that cost so much are solved."""
    return math.inf if success <= 0 else cost / success
