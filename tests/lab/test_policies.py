"""Policies on recorded sessions: what each is billed, and that the oracle is the best there is."""

from __future__ import annotations

import itertools
import random

import pytest

from turnout.lab.beats import Beat, Score, score_of
from turnout.lab.policies import oracle, per_beat, play, turnout
from turnout.lab.replay import model_named
from turnout.lab.sessions import packaged_sessions, packaged_tools
from turnout.routing.habits import Habits

OPUS, HAIKU = model_named("anthropic/claude-opus-5", "frontier"), model_named("anthropic/claude-haiku-4-5", "small")
GPT, NANO = model_named("openai/gpt-4.1", "frontier"), model_named("openai/gpt-4.1-mini", "small")
CLAUDES, GPTS = {"frontier": OPUS, "small": HAIKU}, {"frontier": GPT, "small": NANO}


def score(*beats: tuple[int, bool], gap_s: float = 5.0, output: int = 100) -> Score:
    told = [
        Beat(context=context, output=output, at_s=number * gap_s, system=500, routine=routine)
        for number, (context, routine) in enumerate(beats)
    ]
    return Score(id="s", kind="k", task="t", model="m", outcome=1.0, opening="hi", beats=tuple(told), estimated=False)


GROWING = score((5_000, False), (6_000, True), (8_000, True), (9_000, False), (9_500, True))


def test_a_session_that_stays_reads_what_the_step_before_sent():
    bill = play(GROWING, CLAUDES, ["frontier"] * 5)
    assert bill.read == bill.repeated == 5_000 + 6_000 + 8_000 + 9_000
    assert bill.written == 9_500
    # 28,000 read at $0.50, 9,500 written at $6.25, 500 out at $25 a million.
    assert bill.nano_usd == 28_000 * 500 + 9_500 * 6_250 + 500 * 25_000
    cold = play(GROWING, CLAUDES, ["frontier"] * 5, caching=False)
    assert cold.nano_usd == 37_500 * 5_000 + 500 * 25_000


def test_a_switch_evicts_nothing_and_a_lapse_does():
    tiers = ["frontier", "small", "frontier", "frontier", "small"]
    back = play(GROWING, CLAUDES, tiers)
    # Opus reads its own 5,000 at the third step; Haiku its own 6,000 at the fifth.
    assert back.read == 5_000 + 8_000 + 6_000
    assert back.switches == 3
    assert back.tallies["return, under 1 min"].visits == 2
    slow = score(*[(b.context, b.routine) for b in GROWING.beats], gap_s=400)
    assert play(slow, CLAUDES, tiers).read == 0


def test_what_is_below_the_minimum_is_neither_kept_nor_read():
    short = score((400, False), (450, False), (2_000, False), (2_100, False))
    assert play(short, CLAUDES, ["frontier"] * 4).read == 2_000, "Opus 5 keeps from 512 tokens on"


def random_score(seed: int) -> Score:
    draw = random.Random(seed)
    context, beats = draw.randrange(300, 6_000), []
    for number in range(8):
        beats.append((context, number > 0 and draw.random() < 0.6))
        context += draw.randrange(50, 3_000)
    return score(*beats, gap_s=draw.choice([2, 60, 200, 400]), output=draw.randrange(20, 600))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("fleet", [CLAUDES, GPTS], ids=["claude", "gpt"])
def test_the_oracle_is_the_best_of_all_ways_there_are(seed, fleet):
    told = random_score(seed)
    free = [number for number, beat in enumerate(told.beats) if beat.routine]
    every = (
        ["small" if n in away else "frontier" for n in range(len(told.beats))]
        for count in range(len(free) + 1)
        for away in itertools.combinations(free, count)
    )
    assert play(told, fleet, oracle(told, fleet)).nano_usd == min(play(told, fleet, t).nano_usd for t in every)


@pytest.mark.parametrize("seed", range(30))
def test_no_policy_sends_what_is_not_routine_to_a_small_model(seed):
    told = random_score(seed)
    for tiers in (per_beat(told, CLAUDES), turnout(told, CLAUDES, Habits()), oracle(told, CLAUDES)):
        assert play(told, CLAUDES, tiers).off == 0


def test_where_writing_costs_nothing_extra_every_routine_step_goes():
    assert turnout(GROWING, GPTS, Habits()) == per_beat(GROWING, GPTS)


def test_a_cold_prefix_is_read_only_where_sessions_last():
    """One routine step with much to read anew at Haiku: 20,000 tokens at $1.25 against one reading at $0.50."""
    told, short, long = score((20_000, False), (20_200, True)), Habits(), Habits()
    for _ in range(100):
        short.ended(2)
        long.ended(30)
    assert turnout(told, CLAUDES, short) == ["frontier", "frontier"]
    assert turnout(told, CLAUDES, long) == ["frontier", "small"]
    assert per_beat(told, CLAUDES)[1] == "small", "the naive router goes whatever it costs"


def test_recorded_sessions_become_beats():
    scores = [score_of(session, packaged_tools()) for session in packaged_sessions()]
    assert all(s.beats for s in scores)
    for told in scores:
        contexts = [beat.context for beat in told.beats]
        assert contexts == sorted(contexts), "recordings only grow"
        assert not told.beats[0].routine
        times = [beat.at_s for beat in told.beats]
        assert times == sorted(times)
    retail = next(s for s in scores if s.kind == "tau2-retail" and not s.estimated)
    assert 0.2 < sum(beat.routine for beat in retail.beats) / len(retail.beats) < 0.8
