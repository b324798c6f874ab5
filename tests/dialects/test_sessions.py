"""What agents need beyond single requests: whole answers equal streamed ones, and a prefix that stays what it was."""

import json
from itertools import pairwise

import pytest

from support.wire import calls, says
from turnout.chat import ChatRequest, Message, Text, ToolCall, ToolResult, ToolSpec, collect
from turnout.dialects import DIALECTS

SPOKEN = ["openai-chat", "openai-responses", "anthropic-messages", "gemini"]
PLACES = {
    "openai-chat": "messages",
    "openai-responses": "input",
    "anthropic-messages": "messages",
    "gemini": "contents",
    "bedrock-converse": "messages",
}


@pytest.mark.parametrize("dialect", SPOKEN)
@pytest.mark.parametrize("answer", [says, calls], ids=["text", "call"])
def test_a_stream_collected_is_the_whole_answer(dialect, answer):
    d = DIALECTS[dialect]
    whole = d.decode_response(answer(dialect).body)
    decoder = d.stream_decoder()
    events = [e for chunk in answer(dialect, streaming=True).chunks for e in decoder.feed(chunk)]
    streamed = collect(events + decoder.close())
    assert [spoken(p) for p in streamed.parts] == [spoken(p) for p in whole.parts]
    assert streamed.finish == whole.finish
    assert (streamed.usage.input, streamed.usage.cache_read, streamed.usage.output) == (1000, 400, 10)
    assert (whole.usage.input, whole.usage.cache_read, whole.usage.output) == (1000, 400, 10)
    assert (streamed.id, streamed.model) == (whole.id, whole.model)


def spoken(part):
    if isinstance(part, ToolCall):
        return part.name, json.loads(part.arguments)
    return type(part).__name__, part.text


TOOLS = (ToolSpec(name="run", description="Run.", schema={"type": "object", "properties": {}}),)
STEPS = [
    (Message(role="system", parts=(Text(text="Be brief."),)), Message(role="user", parts=(Text(text="Go."),))),
    *(
        (
            Message(
                role="assistant",
                parts=(Text(text=f"Step {i}."), ToolCall(id=f"call.{i}", name="run", arguments=f'{{"n": {i}}}')),
            ),
            Message(role="tool", parts=(ToolResult(call_id=f"call.{i}", parts=(Text(text="ok " * i),)),)),
        )
        for i in range(1, 5)
    ),
]


def rest(outline, place):
    return {name: bytes(value) for name, value in outline.fields.items() if name != place}


@pytest.mark.parametrize("dialect", PLACES)
def test_each_step_of_a_session_repeats_the_last_byte_for_byte(dialect):
    """Else no provider's prompt cache would hit."""
    bodies = []
    for count in range(1, len(STEPS) + 1):
        messages = tuple(m for step in STEPS[:count] for m in step)
        request = ChatRequest(model="m", messages=messages, tools=TOOLS, max_output_tokens=9)
        bodies.append(DIALECTS[dialect].outline(DIALECTS[dialect].encode_request(request).body))
    for before, after in pairwise(bodies):
        assert rest(before, PLACES[dialect]) == rest(after, PLACES[dialect])
        said = [bytes(m) for m in before.messages]
        assert [bytes(m) for m in after.messages][: len(said)] == said
