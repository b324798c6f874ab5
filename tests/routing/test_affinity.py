"""Sessions found again step by step, with and without an id."""

from support.fleets import outline
from turnout.routing.affinity import SessionTable
from turnout.routing.identity import Hints

NONE = Hints()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def table(**limits):
    clock = Clock()
    return SessionTable(clock=clock, **limits), clock


def conversation(*texts):
    roles = ("user", "assistant")
    return outline(*((roles[i % 2], t) for i, t in enumerate(texts)))


def test_steps_are_counted_and_the_pin_and_cost_come_back():
    sessions, _ = table()
    named = Hints(session="s1", session_source="x-session-id")
    first = sessions.locate("key", named, conversation("a"))
    sessions.settle("key", first, pinned="openai/big", cost_nano_usd=70)
    second = sessions.locate("key", named, conversation("a", "b", "c"))
    assert (first.step, second.step, second.pinned, second.cost_nano_usd) == (0, 1, "openai/big", 70)


def test_two_keys_never_share_a_session():
    sessions, _ = table()
    named = Hints(session="s1")
    sessions.settle("k1", sessions.locate("k1", named, conversation("a")), pinned="x/y", cost_nano_usd=1)
    assert sessions.locate("k2", named, conversation("a")).pinned is None


def test_sub_agents_of_one_session_are_apart():
    sessions, _ = table()
    named = Hints(session="s1")
    planner = sessions.locate("", named, outline(("system", "plan"), ("user", "a")))
    sessions.settle("", planner, pinned="openai/big", cost_nano_usd=0)
    searcher = sessions.locate("", named, outline(("system", "search"), ("user", "a")))
    assert (searcher.pinned, searcher.step) == (None, 0)


def test_without_an_id_the_prefix_finds_the_session():
    sessions, _ = table()
    first = sessions.locate("", NONE, conversation("a"))
    second = sessions.locate("", NONE, conversation("a", "b", "c"))
    third = sessions.locate("", NONE, conversation("a", "b", "c", "d", "e"))
    assert first.id == second.id == third.id
    assert third.step == 2


def test_two_sessions_that_open_alike_stay_two():
    sessions, _ = table()
    one = sessions.locate("", NONE, conversation("hello"))
    two = sessions.locate("", NONE, conversation("hello"))
    assert one.id != two.id
    one_next = sessions.locate("", NONE, conversation("hello", "hi", "cancel my order"))
    two_next = sessions.locate("", NONE, conversation("hello", "hi", "track my order"))
    assert {one_next.id, two_next.id} == {one.id, two.id}
    again = sessions.locate("", NONE, conversation("hello", "hi", "track my order", "sure", "thanks"))
    assert again.id == two_next.id


def test_a_repeated_call_is_the_same_session():
    sessions, _ = table()
    sessions.locate("", NONE, conversation("a"))
    step = sessions.locate("", NONE, conversation("a", "b", "c"))
    assert sessions.locate("", NONE, conversation("a", "b", "c")).id == step.id


def test_looking_counts_nothing():
    sessions, _ = table()
    named = Hints(session="s1")
    assert sessions.peek("", named, conversation("a")).step == 0
    assert len(sessions) == 0
    assert sessions.locate("", named, conversation("a")).step == 0


def test_memory_is_bounded_by_number_and_by_age():
    sessions, clock = table(capacity=3, ttl_s=60)
    for i in range(10):
        sessions.locate("", NONE, conversation(f"task {i}"))
    assert len(sessions) == 3
    clock.now = 61
    sessions.locate("", NONE, conversation("fresh"))
    assert len(sessions) == 1


def test_a_request_without_a_message_is_a_session_of_its_own():
    sessions, _ = table()
    first = sessions.locate("key", NONE, conversation())
    assert sessions.locate("key", NONE, conversation()).id != first.id
