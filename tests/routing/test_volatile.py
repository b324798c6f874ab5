"""Prefixes that change from request to request: where, what stands there, and that sub-agents are no change."""

import json

import pytest

from turnout.dialects import DIALECTS
from turnout.routing.volatile import MOST_PIECES, PIECE, PrefixWatch, prefix_of, volatile_place

LINES = "".join(f"Rule {i}: do what is asked of you and nothing that is not asked of you.\n" for i in range(60))
TOOLS = [{"name": f"tool_{i}", "description": f"Does the thing of number {i}.", "input_schema": {}} for i in range(5)]


def asked(system=LINES, tools=TOOLS, talk=("go",)):
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(talk)]
    body = {"model": "m", "max_tokens": 9, "system": system, "tools": tools, "messages": messages}
    return DIALECTS["anthropic-messages"].outline(json.dumps(body).encode())


def place(before, now):
    return str(volatile_place(prefix_of(before), now))


def told(watch, outline, session="s"):
    change = watch.seen("key", session, outline)
    return None if change is None else str(change)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("It is 12:00:01 now.", "It is 12:00:02 now.", "a time"),
        ("Heute: 2026-11-26", "Heute: 2026-11-27", "a date"),
        ("今日 2026/11/26", "今日 2026/11/27", "a date"),
        ("at 1764201600", "at 1764201601", "a time stamp"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 223e4567-e89b-12d3-a456-426614174000", "a UUID"),
        ("nonce 8f3kq02mfa91", "nonce 9f3kq02mfa92", "an id"),
        ("turn 9 of many", "turn 10 of many", "a number"),
    ],
)
def test_the_place_in_the_system_text_and_what_stands_there(first, second, what):
    head = "Be good to everyone. Always. To each and every one of them.\n" * 8
    tail = "\nThis much is the same in each of the requests, which is why it counts.\n" * 9
    before, now = (asked(system=head + text + tail) for text in (first, second))
    at = json.dumps(head).rindex(r"\n") + 2
    assert place(before, now) == f"system at byte {at:,} of {len(json.dumps(head + second + tail)):,}: {what}"


def test_a_tool_that_differs_is_named():
    other = [*TOOLS[:2], {**TOOLS[2], "description": "It is 12:00:02."}, *TOOLS[3:]]
    assert place(asked(), asked(tools=other)) == 'tools: definition 3 "tool_2": a time'
    chat = [{"type": "function", "function": {"name": t["name"], "description": "x"}} for t in TOOLS]
    body = {"model": "m", "messages": [{"role": "user", "content": "go"}]}
    outlines = [
        DIALECTS["openai-chat"].outline(json.dumps({**body, "tools": tools}).encode())
        for tools in (chat, [*chat[:4], {"type": "function", "function": {"name": "last"}}])
    ]
    assert place(*outlines) == 'tools: definition 5 "last"'


def test_the_order_of_tools_is_a_change_too():
    assert place(asked(), asked(tools=TOOLS[::-1])) == "tools: their order"


def test_a_tool_that_came_or_went():
    assert place(asked(), asked(tools=TOOLS[:4])) == "tools: definition 5 is gone"
    assert place(asked(tools=TOOLS[:4]), asked()) == 'tools: definition 5 "tool_4"'


def test_nothing_differs():
    assert volatile_place(prefix_of(asked()), asked()) is None


def test_system_messages_of_a_chat_are_its_prefix():
    def chat(text):
        messages = [{"role": "system", "content": text + LINES}, {"role": "user", "content": "go"}]
        return DIALECTS["openai-chat"].outline(json.dumps({"model": "m", "messages": messages}).encode())

    assert place(chat("12:00:01\n"), chat("12:00:02\n")).startswith("system at byte 0 of")


def test_what_is_remembered_is_bounded_and_holds_no_text():
    kept = prefix_of(asked(system="x" * (PIECE * MOST_PIECES * 3)))
    assert len(kept.system) == 8 * MOST_PIECES
    assert b"x" * 8 not in kept.system


# ---- Over the steps of a session -----------------------------------------------------------------------------


def test_a_clock_in_the_system_text_is_told_at_the_second_step_and_then_as_a_habit():
    watch = PrefixWatch()
    steps = [
        asked(system=f"It is 12:00:0{i}.\n{LINES}", talk=["go", "a", "b", "c", "d"][: 2 * i + 1]) for i in range(3)
    ]
    assert told(watch, steps[0]) is None
    assert told(watch, steps[1]) == (
        f"the prefix changed since the last request (system at byte 0 of {len(json.dumps(LINES)) + 17:,}: a time): "
        "nothing after it could be read from the cache"
    )
    assert told(watch, steps[2]).startswith("the prefix changes at every request (system at byte 0 of")


def test_one_change_is_no_habit():
    watch = PrefixWatch()
    talk = [f"m{i}" for i in range(9)]
    systems = ["12:00", "12:01", "12:01", "12:02"]
    seen = [told(watch, asked(system=f"{t}\n{LINES}", talk=talk[: 2 * i + 1])) for i, t in enumerate(systems)]
    assert [change and change.split(" (")[0] for change in seen] == [
        None,
        "the prefix changed since the last request",
        None,
        "the prefix changed since the last request",
    ]


def test_a_prefix_that_stays_is_not_told_of():
    watch = PrefixWatch()
    assert [told(watch, asked(talk=["go", "a", "b"][:n])) for n in (1, 3)] == [None, None]


def test_another_agent_with_the_same_opening_is_no_change():
    watch = PrefixWatch()
    told(watch, asked())
    assert told(watch, asked(system="Give this conversation a title.", tools=[])) is None
    assert told(watch, asked(talk=["go", "a", "b"])) is None


def test_two_agents_with_much_in_common_and_the_same_task_are_no_change():
    watch = PrefixWatch()
    told(watch, asked(system=LINES + "You review."))
    assert told(watch, asked(system=LINES + "You write.")) is None, "it begins anew: nothing went on"
    assert told(watch, asked(system=LINES + "You write.", talk=["go", "a", "b"])) is None


def test_another_conversation_is_no_change():
    watch = PrefixWatch()
    told(watch, asked(talk=["go", "a", "b"]))
    assert told(watch, asked(system="12:00\n" + LINES, talk=["go", "x", "y", "z", "w"])) is None
    assert told(watch, asked(system="12:01\n" + LINES, talk=["other", "x", "y"])) is None


def test_keys_and_sessions_are_apart():
    watch = PrefixWatch()
    told(watch, asked())
    later = asked(system="12:00\n" + LINES, talk=["go", "a", "b"])
    assert told(watch, later, session="t") is None
    assert watch.seen("other", "s", later) is None
    assert told(watch, later) is not None


def test_it_is_bounded():
    watch = PrefixWatch(capacity=3)
    for i in range(9):
        told(watch, asked(talk=[f"go {i}"]))
    assert len(watch) == 3


def test_a_prefix_that_many_conversations_have_in_common_is_remembered_with_its_agent():
    watch = PrefixWatch()
    for number in range(3):  # the same agent begins three conversations
        assert told(watch, asked(talk=(f"go {number}",)), session=f"s{number}") is None
    changed = asked(system=LINES + "It is 12:00:01 now.", talk=("go 2", "ok", "on"))
    assert told(watch, asked(system=LINES + "It is 12:00:00 now.", talk=("go 2",)), session="s2") is None
    assert "system at byte" in told(watch, changed, session="s2")
