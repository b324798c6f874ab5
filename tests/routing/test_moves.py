"""A session stays, rises on evidence, comes back on recovery, and goes down for a while where that pays."""

import pytest

from turnout.routing.economics import Option, Run, Unit
from turnout.routing.moves import Evidence, detour, next_move, routine
from turnout.routing.trajectory import Signs

CALM = Evidence()
TROUBLE = Evidence(signs=Signs(severity=2.5, failed=True, results=4))
RECOVERED = Evidence(signs=Signs(recovered=True, results=9))


def moved(evidence, tier="small", *, rose=False, warm=1.0, signed=False):
    return next_move(evidence, tier=tier, rose=rose, warm_share_below=warm, signed=signed).kind


@pytest.mark.parametrize(
    "evidence",
    [
        TROUBLE,
        Evidence(looping=True),
        Evidence(blamed="its structured output was invalid"),
        Evidence(signs=Signs(same_failure=3)),
        Evidence(signs=Signs(severity=1), compacted=True),
    ],
)
def test_a_small_model_in_trouble_is_taken_up(evidence):
    assert moved(evidence) == "up"
    assert moved(evidence, "mid") == "up"
    assert moved(evidence, "frontier") == "stay", "there is nothing above"


def test_without_evidence_nobody_moves():
    assert moved(CALM) == moved(Evidence(compacted=True)) == moved(RECOVERED) == "stay"


def test_nobody_moves_in_a_turn_that_only_its_author_can_go_on_from():
    held = next_move(TROUBLE, tier="small", rose=False, warm_share_below=1.0, signed=True)
    assert held.kind == "stay"
    assert "after this turn" in held.why


def test_who_recovered_comes_back_while_the_cache_is_warm():
    assert moved(RECOVERED, "frontier", rose=True, warm=0.6) == "back"
    assert moved(RECOVERED, "frontier", rose=True, warm=0.1) == "stay", "reading it anew costs more than staying"
    assert moved(RECOVERED, "frontier", rose=True, signed=True) == "stay"
    assert moved(Evidence(signs=Signs(recovered=True, severity=1)), "frontier", rose=True) == "stay"


def test_what_is_routine():
    assert routine(tool_result_last=True, evidence=CALM, signed=False)
    assert not routine(tool_result_last=False, evidence=CALM, signed=False)
    assert not routine(tool_result_last=True, evidence=CALM, signed=True)
    assert not routine(tool_result_last=True, evidence=Evidence(signs=Signs(severity=0.5)), signed=False)
    assert not routine(tool_result_last=True, evidence=Evidence(looping=True), signed=False)


def unit(price):
    return Unit(fresh=price, write=1.25 * price, read=0.1 * price, output=5 * price)


OPUS, SONNET, HAIKU = unit(5), unit(3), unit(1)
RUN = Run(context=20_000, growth=400, output=0, steps=20)


def gone(there, *, warm=0, visits, home=OPUS, run=RUN):
    return detour(
        Option(unit=there, warm=warm), Option(unit=home, warm=run.context), run, visits=visits, share=1.0
    ).kind


def test_a_cold_prefix_must_be_won_back():
    """Opus to Haiku takes 2.9 steps of an unchanging context, a little more of one that grows."""
    assert [gone(HAIKU, visits=n) for n in (1, 2, 3, 4, 5)] == ["stay", "stay", "stay", "down", "down"]


def test_where_it_is_warm_one_step_is_enough_whatever_the_ratio():
    assert gone(HAIKU, warm=19_500, visits=1) == "down"
    assert gone(SONNET, warm=19_900, visits=1) == "down"


def test_nothing_is_read_anew_at_a_small_ratio_of_prices():
    assert gone(SONNET, visits=200) == "stay"


def test_a_few_per_cent_move_nobody():
    nearly = Unit(fresh=4.9, write=6.1, read=0.48, output=24)
    assert gone(nearly, warm=20_000, visits=50) == "stay"
