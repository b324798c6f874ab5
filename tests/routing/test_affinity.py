"""Sessions found again step by step, with and without an id."""

import msgspec

from support.fleets import outline
from turnout.context import Visit
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


# ---- branches, rewritten conversations, and agents whose prompt changes under them ------------------------------


def talk(*texts, system="You help."):
    roles = ("user", "assistant")
    spoken = ((roles[i % 2], t) for i, t in enumerate(texts))
    return outline(("system", system), *spoken, system_bytes=len(system))


def visit(messages, tokens):
    return Visit(messages=messages, tokens=tokens, at_s=0.0, ttl_s=300)


def test_a_branch_is_a_child_that_knows_what_is_cached_up_to_where_it_parts():
    sessions, _ = table()
    for step, texts in enumerate((("a",), ("a", "b", "c"), ("a", "b", "c", "d", "e"))):
        trunk = sessions.locate("", NONE, talk(*texts), tokens=100 * (step + 1))
        kept = visit(len(texts) + 1, 100 * (step + 1))
        sessions.settle("", trunk, pinned="x/big", cost_nano_usd=0, home="x/big", visit=kept)
    branch = sessions.locate("", NONE, talk("a", "b", "c", "d", "another way"), tokens=300)
    assert branch.id != trunk.id
    assert (branch.parent, branch.step, branch.pinned) == (trunk.thread, 0, "x/big")
    assert branch.visits["x/big"] == visit(4, 200), "the second request, the last that they share"
    # Both go on, each by itself.
    assert sessions.locate("", NONE, talk("a", "b", "c", "d", "e", "f", "g")).id == trunk.id
    assert sessions.locate("", NONE, talk("a", "b", "c", "d", "another way", "f", "g")).id == branch.id


def test_a_session_that_follows_anothers_words_is_no_branch_of_it():
    """The same task done twice, with the same answers at first: the second one is itself all along."""
    sessions, _ = table()
    for texts in (("a",), ("a", "b", "c"), ("a", "b", "c", "d", "e")):
        one = sessions.locate("", NONE, talk(*texts))
    ids = {sessions.locate("", NONE, talk(*texts)).id for texts in (("a",), ("a", "b", "c"), ("a", "b", "c", "x", "y"))}
    assert len(ids) == 1
    assert ids != {one.id}


def test_conversations_that_open_alike_are_told_apart_by_their_answers():
    sessions, _ = table()
    one, two = (sessions.locate("", NONE, talk("hello")) for _ in range(2))
    sessions.answered("", one, 1)
    sessions.answered("", two, 2)
    for answer, said, asker in (("which flight?", 2, two), ("which order?", 1, one)):
        found = sessions.locate("", NONE, talk("hello", answer, "the last"), said={2: said}.__getitem__)
        assert found.id == asker.id


def test_parallel_sub_agents_with_one_prompt_are_threads_of_one_session():
    sessions, _ = table()
    named = Hints(session="s1")
    one, two = (sessions.locate("", named, talk(task)) for task in ("find the bug", "write the docs"))
    assert (one.id, one.agent) == (two.id, two.agent)
    assert one.thread != two.thread
    again = sessions.locate("", named, talk("find the bug", "it is here", "mend it"))
    assert (again.thread, again.step, again.sent) == (one.thread, 1, 2)


def test_the_same_first_request_again_is_a_retry_where_the_session_has_a_name():
    sessions, _ = table()
    named = Hints(session="s1")
    assert sessions.locate("", named, talk("a")).thread == sessions.locate("", named, talk("a")).thread


def test_a_compacted_conversation_is_the_same_agents_and_keeps_its_model_but_no_cache():
    sessions, clock = table()
    named = Hints(session="s1")
    long = sessions.locate("", named, talk("a", "b", "c"), tokens=90_000)
    sessions.settle("", long, pinned="x/big", cost_nano_usd=5, home="x/big", visit=visit(4, 90_000))
    clock.now = 1
    after = sessions.locate("", named, talk("summary of it all"), tokens=4_000)
    assert (after.compacted, after.pinned, after.visits, after.cost_nano_usd) == (True, "x/big", {}, 5)
    assert not sessions.locate("", named, talk("another sub-agent"), tokens=3_000).compacted


def test_a_prompt_with_the_time_in_it_does_not_lose_the_session():
    for hints in (NONE, Hints(session="s1")):
        sessions, _ = table()
        first = sessions.locate("", hints, talk("a", system="It is 10:00:01."))
        second = sessions.locate("", hints, talk("a", "b", "c", system="It is 10:00:09."))
        third = sessions.locate("", hints, talk("a", "b", "c", "d", "e", system="It is 10:01:17."))
        assert first.id == third.id or hints is NONE, "one message alone is too little to go by"
        assert (second.thread, third.step, third.volatile, third.visits) == (third.thread, second.step + 1, True, {})


def test_another_agent_that_is_handed_the_conversation_is_another():
    sessions, _ = table()
    main = sessions.locate("", NONE, talk("a", "b", "c"))
    judge = sessions.locate(
        "", NONE, talk("a", "b", "c", "d", "e", system="Judge what was said above, in one word." * 3)
    )
    assert judge.id != main.id


def test_nothing_is_left_of_what_is_forgotten():
    sessions, clock = table(ttl_s=60)
    for n in range(5):
        for texts in (("a",), ("a", f"{n}", "c"), ("a", f"{n}", "c", "d", "e")):
            seen = sessions.locate("", NONE, talk(*texts))
            sessions.settle("", seen, pinned="x/y", cost_nano_usd=1)
    clock.now = 61
    sessions._expire()
    held = (sessions._threads, sessions._heads, sessions._earlier, sessions._loose, sessions._costs, sessions._members)
    assert [len(what) for what in held] == [0] * 6


def test_one_cache_key_for_all_users_makes_nobody_anothers_summary():
    sessions, clock = table()
    shared = Hints(session="app", session_source="prompt_cache_key")
    alice = sessions.locate("", shared, talk("a", "b", "c"), tokens=50_000)
    clock.now = 1
    bob = sessions.locate("", shared, talk("hello"), tokens=500)
    assert not bob.compacted
    assert sessions.trajectory("", alice) is not sessions.trajectory("", bob)


def test_what_was_kept_of_another_prompt_is_not_warm_again():
    sessions, _ = table()
    named = Hints(session="s1")
    first = sessions.locate("", named, talk("a", "b", "c", system="It is 10:00."), tokens=2_000)
    sessions.settle("", first, pinned="x/big", cost_nano_usd=0, home="x/big", visit=visit(4, 2_000))
    assert sessions.locate("", named, talk("a", "b", "c", "d", "e", system="It is 10:05.")).volatile
    again = sessions.locate("", named, talk("a", "b", "c", "d", "e", "f", "g", system="It is 10:05."))
    assert (again.step, again.visits) == (2, {})


def test_the_same_request_again_and_again_is_one_place_in_the_conversation():
    sessions, _ = table()
    first = sessions.locate("", NONE, talk("a"))
    for _ in range(40):
        last = sessions.locate("", NONE, talk("a", "b", "c"))
    branch = sessions.locate("", NONE, talk("a", "x", "y"))
    assert (last.thread, branch.parent) == (first.thread, first.thread)


def test_only_agents_teach_how_long_sessions_last():
    ended = []
    clock = Clock()
    sessions = SessionTable(clock=clock, ttl_s=60, on_end=ended.append)
    sessions.locate("", NONE, talk("a question"))
    raw = msgspec.Raw(b'[{"name": "run"}]')
    sessions.locate("", NONE, outline(("user", "mend it"), fields={"tools": raw}))
    clock.now = 61
    sessions._expire()
    assert ended == [1]


def test_what_is_known_of_how_an_agent_fares():
    sessions, _ = table()
    seen = sessions.locate("", NONE, conversation("a"))
    assert sessions.evidence("", seen).why_up is None
    sessions.blame("", seen, "the model refused")
    assert sessions.evidence("", seen).why_up == "the model refused"
    sessions.loops("", seen)
    assert sessions.evidence("", seen).why_up == "it repeats itself"
    assert sessions.evidence("somebody else", seen).why_up is None


def test_system_text_anywhere_is_not_what_was_spoken():
    """A prompt that changes at every step is known by its words: where it stands does not matter."""
    sessions, _ = table()
    talked = (("user", "a"), ("system", "be brief"), ("assistant", "b"), ("user", "c"))
    first = sessions.locate("", NONE, outline(("system", "at 10:00"), *talked))
    again = sessions.locate("", NONE, outline(("system", "at 10:05"), *talked, ("assistant", "d"), ("user", "e")))
    assert (again.id, again.step, again.volatile) == (first.id, 1, True)
