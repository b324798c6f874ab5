"""Plain-text tools and tool groups as functions, and their calls back; calls' ids and arguments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.chat import ChatRequest, Message, PartDelta, PartEnd, PartStart, ToolCall, ToolSpec
from turnout.dialects.tool_shapes import Restorer, arguments_of, as_functions, safe_id

PATCH = ToolSpec(name="apply_patch", description="Edit.", freeform=True, schema={"definition": "start: line+"})
CLOSE = ToolSpec(name="close", namespace="agents", schema={"type": "object"})
PLAIN = ToolSpec(name="get", schema={"type": "object"})


def request(*tools, call=None):
    messages = (Message(role="assistant", parts=(call,)),) if call else ()
    return ChatRequest(model="m", messages=messages, tools=tools)


def test_nothing_odd_is_left_as_it_is():
    told = request(PLAIN, call=ToolCall(id="1", name="get"))
    assert as_functions(told) is told


def test_tools_and_their_past_calls_become_functions():
    past = ToolCall(id="1", name="apply_patch", arguments='say "hi"', freeform=True)
    told = as_functions(request(PATCH, CLOSE, PLAIN, call=past))
    assert [t.name for t in told.tools] == ["apply_patch", "agents__close", "get"]
    assert told.tools[0].schema["required"] == ["input"]
    assert told.tools[0].description == "Edit.\n\nThe input must follow this grammar:\nstart: line+"
    assert told.messages[0].parts[0].arguments == '{"input":"say \\"hi\\""}'


def test_calls_come_back_as_what_they_were():
    back = Restorer((PATCH, CLOSE, PLAIN))
    assert back.part(ToolCall(id="1", name="apply_patch", arguments='{"input":"*** Begin"}')) == ToolCall(
        id="1", name="apply_patch", arguments="*** Begin", freeform=True
    )
    assert back.part(ToolCall(id="2", name="agents__close", arguments="{}")) == ToolCall(
        id="2", name="close", namespace="agents", arguments="{}"
    )
    plain = ToolCall(id="3", name="get", arguments="{}")
    assert back.part(plain) is plain


@pytest.mark.parametrize("broken", ["*** Begin", '{"text":"x"}', "[1]", '{"input":5}'])
def test_a_model_that_broke_the_wrapping_meant_what_it_wrote(broken):
    assert Restorer((PATCH,)).part(ToolCall(id="1", name="apply_patch", arguments=broken)).arguments == broken


def test_in_a_stream_a_plain_text_call_is_held_until_it_is_whole_and_others_flow():
    back = Restorer((PATCH, CLOSE))
    start = PartStart(index=0, part=ToolCall(id="1", name="apply_patch"))
    assert back.event(start) == []
    assert back.event(PartDelta(index=0, text='{"input":"*** ')) == []
    other = PartStart(index=1, part=ToolCall(id="2", name="agents__close"))
    assert back.event(other) == [PartStart(index=1, part=ToolCall(id="2", name="close", namespace="agents"))]
    assert back.event(PartDelta(index=1, text="{}")) == [PartDelta(index=1, text="{}")]
    assert back.event(PartDelta(index=0, text='Begin"}')) == []
    whole, end = back.event(PartEnd(index=0))
    assert whole.part == ToolCall(id="1", name="apply_patch", arguments="*** Begin", freeform=True)
    assert end == PartEnd(index=0)


@given(st.lists(st.text(min_size=1, max_size=50), min_size=2, max_size=2, unique=True))
def test_safe_ids_stay_apart(ids):
    one, other = map(safe_id, ids)
    assert one != other
    assert one.replace("_", "").replace("-", "").isascii()


@pytest.mark.parametrize(
    ("arguments", "value", "told"),
    [
        ('{"a":1}', {"a": 1}, False),
        ("", {}, False),
        ("[1]", {"_raw": "[1]"}, True),
        ("{broken", {"_raw": "{broken"}, True),
    ],
)
def test_arguments_that_are_no_object_are_passed_on_as_text(arguments, value, told):
    warnings = []
    assert arguments_of(ToolCall(id="1", name="f", arguments=arguments), warnings) == value
    assert bool(warnings) is told
