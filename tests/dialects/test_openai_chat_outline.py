"""What the outline of a chat completion tells of the cache: wishes are found, texts that speak of them are not."""

import json

import pytest

from turnout.dialects.openai_chat.outline import outline

SPOKEN = 'in "cache_control" a "ttl" of "1h" may stand, or a cachePoint'
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
POINT = {"cachePoint": {"type": "default"}}


def told(message, **more):
    return outline(json.dumps({"model": "m", "messages": [message], **more}).encode()).caches


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": SPOKEN},
        {"role": "tool", "tool_call_id": "call_0123456789abcdef", "content": SPOKEN},
        {"content": SPOKEN, "tool_call_id": "é", "role": "tool"},
    ],
)
def test_a_text_that_speaks_of_the_cache_asks_for_nothing(message):
    assert told(message) is None


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "hi", **HOUR}]},
        {"role": "user", "content": "hi", **HOUR},
        {"role": "tool", "tool_call_id": "call_1", "content": "hi", **HOUR},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", **HOUR}]},
    ],
)
def test_a_wish_is_found_wherever_it_stands(message):
    assert told(message) == "1h"


def test_the_shortest_wish_is_found_beside_the_shortest_message():
    assert told({"role": "user", "content": "", "cachePoint": 0}) == "5m"
    assert told({"role": "tool", "tool_call_id": "", "content": "", **POINT}) == "5m"


def test_a_wish_is_found_in_tools_and_where_its_letters_are_hidden():
    assert told({"role": "user", "content": "hi"}, tools=[{"type": "function", **POINT}]) == "5m"
    hidden = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi", **POINT}]})
    assert outline(hidden.replace("cachePoint", "c\\u0061chePoint").encode()).caches == "1h"
