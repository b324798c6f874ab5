"""The decision: who is tried, in which order, and the reason that is given."""

import pytest

from support.fleets import FLEET, NAMES, deployment, outline, session
from turnout.catalog.fleet import Fleet
from turnout.catalog.models import Pace
from turnout.errors import BudgetExhausted, NoCapacity, NotFound
from turnout.routing.moves import Evidence
from turnout.routing.names import Names
from turnout.routing.rank import Ask, Router

ROUTER = Router(FLEET, NAMES, short_prompt_tokens=100)
SHORT = ("user", "What is the capital of France?")


def decide(*messages, pinned=None, step=0, mode=None, quality=None, max_cost=None, **facts):
    told = outline(*messages, **facts)
    ask = Ask(
        outline=told,
        input_tokens=max(1, told.messages_bytes // 4),
        session=session(step, pinned),
        mode=mode,
        quality=quality,
        max_cost_nano_usd=max_cost,
    )
    return ROUTER.decide(ask)


def ids(decision):
    return [c.deployment.id for c in decision.candidates]


def test_a_short_question_goes_to_the_cheapest_small_model():
    decision = decide(SHORT)
    assert decision.reason == "short"
    assert ids(decision)[:2] == ["lab/tiny", "openai/nano"]


def test_a_longer_question_goes_to_the_middle():
    assert decide(("user", "word " * 200)).reason == "medium"
    assert ids(decide(("user", "word " * 200)))[0] == "openai/mini"


def test_an_agent_step_goes_to_the_cheapest_frontier_model():
    decision = decide(SHORT, tools=3)
    assert decision.reason == "agent"
    assert ids(decision)[0] == "openai/big"
    assert "lab/tiny" not in ids(decision), "it takes no tools"


def test_a_session_stays_with_the_model_that_serves_it():
    decision = decide(SHORT, ("assistant", "Paris."), ("user", "And of Spain?"), pinned="anthropic/opus", step=1)
    assert decision.reason == "pinned"
    assert ids(decision)[0] == "anthropic/opus"


def test_a_session_leaves_a_model_that_cannot_go_on():
    decision = decide(("user", "x" * 9_000), pinned="lab/tiny", step=4)
    assert decision.reason != "pinned"
    assert "lab/tiny" not in ids(decision)


def test_full_quality_means_frontier_even_against_the_pin():
    assert ids(decide(SHORT, quality=1.0))[0] == "openai/big"
    assert ids(decide(SHORT, quality=1.0, pinned="openai/nano", step=2))[0] == "openai/big"


def test_full_quality_may_be_the_rule_and_a_request_may_ask_for_less():
    strict = Router(FLEET, NAMES, short_prompt_tokens=100, quality=1.0)
    ask = Ask(outline=outline(SHORT), input_tokens=100, session=session())
    assert strict.decide(ask).reason == "quality"
    assert (
        strict.decide(Ask(outline=outline(SHORT), input_tokens=100, session=session(), quality=0.9)).reason == "short"
    )


def test_a_declared_mode_decides_and_brings_its_effort():
    decision = decide(SHORT, mode="architecture", tools=2)
    assert (decision.reason, decision.mode, decision.effort) == ("mode", "architecture", "high")
    assert ids(decision) == ["anthropic/opus", "openai/big"], "the config's fallback comes after it"


def test_a_mode_for_a_tier_takes_its_cheapest_able_model():
    assert ids(decide(SHORT, model="mode/data_entry", tools=1))[0] == "openai/nano"


def test_a_tier_stays_with_the_sessions_own_model():
    assert ids(decide(SHORT, model="tier/frontier", pinned="anthropic/opus", step=3))[0] == "anthropic/opus"


def test_an_explicit_model_is_tried_alone():
    decision = decide(SHORT, model="openai/mini")
    assert (decision.reason, ids(decision)) == ("explicit", ["openai/mini"])
    assert not decision.pins


def test_rejected_candidates_say_why():
    why = {c.deployment.id: c.rejected for c in decide(SHORT, tools=1).rejected}
    assert why == {"lab/tiny": "does not take tools"}
    why = {c.deployment.id: c.rejected for c in decide(("user", "x" * 20_000)).rejected}
    assert why["lab/tiny"].startswith("context window 2,000 is below about 5,")


def test_a_cost_limit_leaves_out_the_dear_and_the_unpriced():
    decision = decide(SHORT, quality=1.0, max_cost=2_000_000, max_output_tokens=10)
    assert "anthropic/opus" not in ids(decision)
    assert "lab/mystery" not in ids(decision)
    assert "openai/nano" in ids(decision)


def test_nobody_within_the_limit_is_a_402():
    with pytest.raises(BudgetExhausted, match="x-turnout-max-cost-usd"):
        decide(SHORT, model="anthropic/opus", max_cost=1)


def test_nobody_able_is_a_503_that_says_why():
    with pytest.raises(NoCapacity, match="lab/tiny: does not take tools"):
        decide(SHORT, model="lab/tiny", tools=1)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("openai/minni", "did you mean openai/mini"),
        ("mode/data_enty", "did you mean mode/data_entry"),
        ("tier/huge", "there are small, mid, frontier"),
        ("mode/loop", "leads in a circle"),
    ],
)
def test_an_unknown_name_is_a_404_with_near_ones(model, told):
    with pytest.raises(NotFound, match=told):
        decide(SHORT, model=model)


# ---- waiting has a price, and some places are one ----------------------------------------------------------------

SLOW_AND_CHEAP, QUICK = deployment("one/slow", "mid", 1), deployment("two/quick", "mid", 2)


def ranked(*deployments, second_nano_usd=0, model="tier/mid", fallbacks=None, paces=None):
    fleet = Fleet(deployments, providers=("one", "two"))
    names = Names(fleet, modes={}, aliases={}, fallbacks=fallbacks or {})
    router = Router(fleet, names, pace=lambda d: (paces or {}).get(d.id, Pace()))
    told = outline(SHORT, model=model)
    ask = Ask(outline=told, input_tokens=100, session=session(0, None), second_nano_usd=second_nano_usd)
    return [(c.deployment.id, c.place, c.expected_s) for c in router.decide(ask).candidates]


PACES = {"one/slow": Pace(ttft_s=5.0, tokens_per_s=20), "two/quick": Pace(ttft_s=0.5, tokens_per_s=200)}


def test_who_does_not_wait_gets_the_cheaper_model_and_who_waits_the_quicker_one():
    batch = ranked(SLOW_AND_CHEAP, QUICK, paces=PACES)
    assert batch == [("one/slow", 0, 30.0), ("two/quick", 1, 3.0)]
    interactive = ranked(SLOW_AND_CHEAP, QUICK, paces=PACES, second_nano_usd=200_000)
    assert [name for name, _, _ in interactive] == ["two/quick", "one/slow"]


def test_a_pace_that_is_not_known_is_found_out():
    told = ranked(SLOW_AND_CHEAP, QUICK, paces={"one/slow": PACES["one/slow"]}, second_nano_usd=200_000)
    assert told[0] == ("two/quick", 0, None)


def test_one_model_at_one_price_in_two_houses_has_one_place():
    here, there = deployment("one/m", "mid", 2), deployment("two/m", "mid", 2)
    dearer = deployment("two/n", "mid", 3)
    assert [place for _, place, _ in ranked(here, there, dearer)] == [0, 0, 2]
    assert [place for _, place, _ in ranked(here, there, model="m")] == [0, 0]


def test_a_house_that_the_caller_named_comes_before_its_fallback():
    here, there = deployment("one/m", "mid", 2), deployment("two/m", "mid", 2)
    told = ranked(here, there, model="one/m", fallbacks={"one/m": ("two/m",)})
    assert told == [("one/m", 0, None), ("two/m", 1, None)]


def weighed(told, pinned=None, step=0, **more):
    return ROUTER.decide(
        Ask(outline=told, input_tokens=max(1, told.messages_bytes // 4), session=session(step, pinned), **more)
    )


def test_a_new_session_begins_one_tier_lower_while_a_budget_asks_for_it():
    agent = outline(SHORT, tools=3)
    decision = weighed(agent, smaller=1)
    assert (ids(decision)[0], decision.reason) == ("openai/mini", "thrift")
    assert "used up too fast" in decision.explanation


def test_a_running_session_is_not_moved_because_money_is_short():
    agent = outline(SHORT, tools=3)
    assert ids(weighed(agent, pinned="openai/big", step=4, smaller=1))[0] == "openai/big"


@pytest.mark.parametrize(("quality", "reason"), [(1.0, "quality"), (None, "thrift")])
def test_full_quality_is_not_thrifty(quality, reason):
    assert weighed(outline(SHORT, tools=3), smaller=1, quality=quality).reason == reason


def test_nothing_is_lower_than_small():
    assert weighed(outline(SHORT), smaller=2).reason == "short"


def test_an_agent_that_turns_in_circles_goes_one_tier_up():
    agent = outline(SHORT, tools=3)
    decision = weighed(agent, pinned="openai/mini", step=4, evidence=Evidence(looping=True))
    assert (ids(decision)[0], decision.reason) == ("openai/big", "escalated")


def test_above_the_frontier_is_nothing():
    assert (
        ids(weighed(outline(SHORT, tools=3), pinned="openai/big", step=4, evidence=Evidence(looping=True)))[0]
        == "openai/big"
    )


def test_a_dollar_weighs_more_against_waiting_while_money_is_short():
    quick = deployment("a/quick", "small", 2)
    cheap = deployment("b/cheap", "small", 1)
    fleet = Fleet([quick, cheap], providers=("a", "b"))
    paces = {"a/quick": Pace(ttft_s=0.1), "b/cheap": Pace(ttft_s=2.0)}
    names = Names(fleet, modes={}, aliases={}, fallbacks={})
    router = Router(fleet, names, pace=lambda d: paces[d.id])

    def best(thrift):
        told = outline(SHORT)
        ask = Ask(outline=told, input_tokens=8, session=session(), second_nano_usd=5_000_000, thrift=thrift)
        return ids(router.decide(ask))[0]

    assert (best(1.0), best(50.0)) == ("a/quick", "b/cheap")


def test_who_cannot_rise_is_told_so_and_stays():
    """Every larger model is left out by a budget: the session is no other's because of that."""
    agent = outline(SHORT, tools=3)
    decision = weighed(agent, pinned="openai/mini", step=4, evidence=Evidence(looping=True), small_only="team")
    assert decision.reason == "pinned"
    assert "nobody there can take it" in decision.explanation
