"""The trail of an agent: what counts as the same again, and what does not."""

from hypothesis import given
from hypothesis import strategies as st

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.spend.loops import Trail


def call(i, arguments='{"path": "a.py"}', result="no such file", name="open", error=False):
    return (
        Message(role="assistant", parts=(ToolCall(id=f"c{i}", name=name, arguments=arguments),)),
        Message(role="tool", parts=(ToolResult(call_id=f"c{i}", parts=(Text(text=result),), is_error=error),)),
    )


def trail(*messages):
    told = Trail()
    told.feed(messages)
    return told


def test_identical_calls_are_counted_over_the_whole_session():
    same = trail(*call(1), *call(2, name="ls"), *call(3, arguments='{"path":"a.py"}'))
    assert same.repeated == ("open", 2)


def test_a_call_that_brings_something_new_is_no_repetition():
    assert trail(*call(1), *call(2), *call(3, result="found")).repeated == ("open", 1)


def test_json_is_compared_by_value_and_what_is_no_json_as_it_stands():
    one, other = '{"a": 1, "b": [2]}', '{"b":[2],"a":1}'
    assert trail(*call(1, arguments=one), *call(2, arguments=other)).repeated[1] == 2
    assert trail(*call(1, arguments="{bad"), *call(2, arguments="{bad")).repeated[1] == 2
    assert trail(*call(1, arguments="{bad"), *call(2, arguments="{ bad")).repeated[1] == 1


def test_a_cycle_is_found_at_its_shortest():
    a, b = {"name": "a"}, {"name": "b"}
    rounds = [m for i in range(3) for m in (*call(2 * i, **a), *call(2 * i + 1, **b))]
    assert trail(*rounds).cycle == (2, 3)
    assert trail(*call(1), *call(2), *call(3)).cycle == (1, 3)
    assert trail(*call(1), *call(2, name="ls")).cycle == (0, 0)


def test_errors_of_one_tool_in_a_row_whatever_is_called_between():
    failing = [m for i in range(3) for m in (*call(i, result=str(i), error=True), *call(10 + i, name="ls"))]
    assert trail(*failing).errors == ("open", 3)
    assert trail(*failing, *call(20, result="ok")).errors == ("", 0)


def test_parallel_calls_are_told_apart_by_their_ids():
    both = Message(
        role="assistant",
        parts=(ToolCall(id="x", name="open", arguments="{}"), ToolCall(id="y", name="ls", arguments="{}")),
    )
    came = [Message(role="tool", parts=(ToolResult(call_id=i, parts=(Text(text="1"),)),)) for i in ("y", "x")]
    assert trail(both, *came, both, *came).repeated == ("open", 2)


def test_a_result_without_its_call_and_a_call_without_its_result_count_nothing():
    asked, came = call(1)
    assert trail(came, asked).repeated == ("", 0)


def test_news_ends_a_standstill():
    stale = [*call(1), *call(2), *call(3)]
    assert trail(*stale).steps_without_news == 2
    assert trail(*stale, *call(4, result="new")).steps_without_news == 0


calls = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["1", "2"]), st.booleans()), max_size=30)


@given(calls, st.integers(1, 7))
def test_fed_in_pieces_it_sees_the_same(told, size):
    messages = [m for i, (name, result, error) in enumerate(told) for m in call(i, "{}", result, name, error)]
    whole, pieces = trail(*messages), Trail()
    for at in range(0, len(messages), size):
        pieces.feed(messages[at : at + size])
    for what in ("repeated", "cycle", "errors", "steps_without_news"):
        assert getattr(pieces, what) == getattr(whole, what)
