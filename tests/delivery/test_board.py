"""Whom to ask next."""

from random import Random

import pytest
from tests.support.fleets import deployment

from turnout.catalog.models import RateLimits, Target
from turnout.delivery.board import Board


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def board(clock):
    return Board(clock=clock, random=Random(7), accounts={"openai": ("openai", "openai@key2", "openai@eu")})


BIG, MINI = deployment("openai/big", "frontier", 10), deployment("lab/mini", "mid", 2)


def ask(board, *places, home=None, tokens=100):
    choice = board.choose(list(places), home=home, tokens=tokens)
    return choice and (choice.target.id, choice.wait_s)


def fail(board, target, reason="server", times=1, retry_after=None):
    for _ in range(times):
        board.begin(target).failed(reason, retry_after)


def test_a_deployment_has_a_target_at_every_account(board):
    assert [t.id for t in board.targets(BIG)] == ["openai/big", "openai/big@key2", "openai/big@eu"]
    assert [t.id for t in board.targets(MINI)] == ["lab/mini"]


def test_the_first_place_that_is_well(board, clock):
    big, mini = Target.at(BIG, "openai"), Target.at(MINI, "lab")
    assert ask(board, (0, big), (1, mini)) == ("openai/big", 0)
    fail(board, big, times=3)
    assert ask(board, (0, big), (1, mini)) == ("lab/mini", 0)
    assert board.unhealthy(MINI, 10) is None
    clock.now = 2.0
    assert ask(board, (0, big), (1, mini)) == ("openai/big", 0)


def test_half_open_lets_one_probe_through(board, clock):
    big, mini = Target.at(BIG, "openai"), Target.at(MINI, "lab")
    fail(board, big, times=3)
    clock.now = 2.0
    probe = board.begin(big)
    assert ask(board, (0, big), (1, mini)) == ("lab/mini", 0)
    probe.answered(None)
    assert ask(board, (0, big), (1, mini)) == ("openai/big", 0)


@pytest.mark.parametrize("end", ["dropped", "failed"])
def test_a_probe_that_nobody_waited_for_does_not_close_the_door_for_good(board, clock, end):
    big, mini = Target.at(BIG, "openai"), Target.at(MINI, "lab")
    fail(board, big, times=3)
    clock.now = 2.0
    probe = board.begin(big)
    probe.dropped() if end == "dropped" else probe.failed("server")
    clock.now = 10.0
    assert ask(board, (0, big), (1, mini)) == ("openai/big", 0)


def test_a_session_stays_at_the_account_that_has_its_cache_while_that_is_well(board):
    places = [(0, t) for t in board.targets(BIG)]
    for _ in range(20):
        assert ask(board, *places, home="openai/big@eu") == ("openai/big@eu", 0)
    fail(board, places[2][1], times=3)
    assert ask(board, *places, home="openai/big@eu") != ("openai/big@eu", 0)


def test_load_is_spread_over_equals_and_away_from_the_slow(board):
    targets = board.targets(BIG)
    for target, ttft in zip(targets, (0.2, 0.2, 5.0), strict=True):
        board.begin(target).landed(ttft_s=ttft, tokens_per_s=None, whole_s=None)
    flights = []
    for _ in range(60):
        choice = board.choose([(0, t) for t in targets], home=None, tokens=1)
        flights.append(board.begin(choice.target))
    busy = [board.in_flight(t) for t in targets]
    assert sum(busy) == 60
    assert busy[2] < 8 < busy[0]
    assert busy[2] < 8 < busy[1]


def test_a_refused_key_closes_the_account_for_all_its_models(board):
    other = deployment("openai/mini", "mid", 2)
    fail(board, Target.at(BIG, "openai@key2"), "auth")
    assert board.unhealthy(other, 1) is None
    assert ask(board, (0, Target.at(other, "openai@key2"))) == (
        "openai/mini@key2",
        0,
    )  # the last resort
    assert ask(board, (0, Target.at(other, "openai@key2")), (1, Target.at(MINI, "lab")))[0] == ("lab/mini")


def test_limits_that_are_told_are_kept(board, clock):
    mini = Target.at(MINI, "lab")
    flight = board.begin(mini)
    flight.answered(RateLimits(tokens=1_000, tokens_reset_s=30))
    flight.landed(ttft_s=None, tokens_per_s=None, whole_s=None)
    assert ask(board, (0, mini), tokens=900) == ("lab/mini", 0)
    assert ask(board, (0, mini), tokens=1_100) == ("lab/mini", 30)
    assert board.unhealthy(MINI, 1_100) == "rate_limited: closed for 30.0 s more"
    clock.now = 30.0
    assert ask(board, (0, mini), tokens=1_100) == ("lab/mini", 0)


def test_with_nobody_else_a_failing_place_is_asked_but_not_one_that_said_when(board):
    mini = Target.at(MINI, "lab")
    fail(board, mini, times=5)
    assert ask(board, (0, mini)) == ("lab/mini", 0)
    fail(board, mini, "rate_limited", retry_after=60)
    assert ask(board, (0, mini)) == ("lab/mini", 60)


def test_slow_is_what_takes_longer_than_nineteen_of_twenty(board):
    mini = Target.at(MINI, "lab")
    for seconds in range(1, 20):
        board.begin(mini).landed(ttft_s=None, tokens_per_s=None, whole_s=float(seconds))
    assert board.slow_after_s(mini) is None
    board.begin(mini).landed(ttft_s=None, tokens_per_s=None, whole_s=20.0)
    assert board.slow_after_s(mini) == 20


def test_a_flight_ends_once(board):
    mini = Target.at(MINI, "lab")
    one, two = board.begin(mini), board.begin(mini)
    one.dropped()
    one.failed("server")
    assert board.in_flight(mini) == 1
    two.dropped()
    assert board.in_flight(mini) == 0


def test_memory_is_bounded(board):
    for n in range(10_050):
        board.begin(Target.at(deployment(f"lab/m{n}", None, None), "lab")).landed(
            ttft_s=1.0, tokens_per_s=1.0, whole_s=1.0
        )
    assert len(board._states) <= 10_000
    assert len(board._durations) <= 10_000


# ---- several gateways ------------------------------------------------------------------------------------------------


@pytest.fixture
def others():
    """Two boards of other gateways, whose clocks began elsewhere, that hear what the first has to tell."""

    class Others(list):
        told = 0

    Others.clocks = [Clock(), Clock()]
    Others.clocks[0].now, Others.clocks[1].now = 500.0, 9_000.0
    return Others(Board(clock=c, random=Random(7)) for c in Others.clocks)


def closed_for(board, deployment):
    return board.story(deployment)[0]["closed_for_s"]


def connect(board, others):
    def tell(key, told):
        others.told += 1
        for other in others:
            other.heard(key, told)

    board.tell = tell


def test_a_breaker_that_opens_here_opens_elsewhere_for_as_long(board, clock, others):
    connect(board, others)
    place = Target.at(MINI, "lab")
    fail(board, place, times=2)
    assert others.told == 0, "nothing has opened"
    fail(board, place)
    assert [closed_for(other, MINI) for other in others] == [2.0, 2.0]
    clock.now = 2.5
    board.begin(place).answered(None)
    assert [other.standings()["lab/mini"] for other in others] == ["closed", "closed"]
    assert others.told == 2


def test_a_longer_pause_is_not_cut_short_and_a_newer_failure_stays(board, clock, others):
    place = Target.at(MINI, "lab")
    fail(others[0], place, "rate_limited", retry_after=60)
    fail(others[0], place, "rate_limited", retry_after=60)
    connect(board, others)
    fail(board, place, "rate_limited", retry_after=5)
    assert ask(others[0], (0, place))[1] == 60.0
    clock.now = 6
    board.begin(place).answered(None)
    assert others[0].standings()["lab/mini"] == "open", "it failed there twice, here once"
    assert others[1].standings()["lab/mini"] == "closed"


def test_nobody_is_told_of_what_was_heard(board, others):
    connect(board, others)
    others[0].tell = lambda key, told: pytest.fail("an echo")
    fail(board, Target.at(MINI, "lab"), "auth")
    assert others[0].standings()["lab"] == "open"
    assert others.told == 1


def test_limits_are_told_once_a_second_and_the_newer_count(board, clock, others):
    connect(board, others)
    place = Target.at(MINI, "lab")
    for left in (5, 4, 0):
        board.begin(place).answered(RateLimits(requests=left, requests_reset_s=30.0))
    assert (others.told, others[0].health("lab/mini").limits.requests) == (1, 5)
    clock.now = 1.0
    others.clocks[0].now += 1.0
    board.begin(place).answered(RateLimits(requests=0, requests_reset_s=29.0))
    assert ask(others[0], (0, place))[1] == pytest.approx(29.0)


def test_who_starts_is_told_what_is_not_well_and_how_old_that_is(board, others):
    fail(board, Target.at(BIG, "openai"), "auth")
    fail(board, Target.at(MINI, "lab"), times=2)
    told = board.unwell()
    assert list(told) == ["=openai"]
    others[0].heard("=openai", told["=openai"], elapsed_s=20.0)
    others[1].heard("=openai", told["=openai"], elapsed_s=-1e9)
    assert [closed_for(other, BIG) for other in others] == [40.0, 60.0]


def test_a_board_is_well_until_something_is_known_against_a_place(board, clock):
    mini = Target.at(MINI, "lab")
    assert board.well
    fail(board, mini, times=2)
    assert board.well, "two failures close nothing yet"
    fail(board, mini)
    assert not board.well
    clock.now = 10.0
    board.begin(mini).answered(None)
    assert board.well
    board.begin(mini).answered(RateLimits(requests=5))
    assert not board.well, "limits are to be looked at"


def test_accounts_that_change_make_other_targets(board):
    assert len(board.targets(BIG)) == 3
    board.accounts = {"openai": ("openai@key2",)}
    assert [t.id for t in board.targets(BIG)] == ["openai/big@key2"]
