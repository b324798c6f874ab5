"""What logs share: usage in several spellings, counters, prices, texts that were cut in the middle of a character."""

from typing import Any

import msgspec
import pytest

from turnout.chat import Usage
from turnout.lab.audit.readers.shapes import decoded, message_of, model_of, nano_usd, usage_of, usage_since
from turnout.lab.audit.records import ReadTally

ANY = msgspec.json.Decoder(Any)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb'{"t": "cut \ud83d", "n": 7}', "cut \ufffd"),
        (rb'{"t": "\udc00 late", "n": 7}', "\ufffd late"),
        (rb'{"t": "\ud83d\ude00 \\ud83d", "n": 7}', "\U0001f600 \\ud83d"),
        (b'{"t": "\xff", "n": 7}', "\ufffd"),
    ],
)
def test_half_a_character_does_not_cost_the_line(raw, text):
    told = ReadTally()
    assert decoded(raw, ANY, "x", told) == {"t": text, "n": 7}
    assert told.bad == 0


@pytest.mark.parametrize("raw", [b'{"t": ', rb'{"t": "\ud83d"', b"[" * 5000, b'{"t": 1e999}', b""])
def test_what_is_damaged_otherwise_is_told(raw):
    told = ReadTally()
    assert decoded(raw, ANY, "place", told) is None
    assert told.bad == 1
    assert told.first_error.startswith("place: ")


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 2}, Usage(input=10, output=2)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 2,
                "cache_creation_input_tokens": 4,
                "cache_read_input_tokens": 5,
            },
            Usage(input=10, cache_read=5, cache_write=4, output=2),
        ),
        (  # cached tokens counted beside the prompt's: there are more of them
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "cache_creation_input_tokens": 4,
                "cache_read_input_tokens": 5,
            },
            Usage(input=10, cache_read=5, cache_write=4, output=2),
        ),
        ({"prompt_tokens": -5, "completion_tokens": 10**20}, None),
        ({}, None),
        ("many", None),
    ],
)
def test_usage_as_harnesses_write_it(told, usage):
    assert usage_of(told) == usage


def test_a_counter_tells_what_was_used_between_and_may_begin_anew():
    before, now = Usage(input=10, cache_read=4, output=2), Usage(input=25, cache_read=14, output=3)
    assert usage_since(now, before) == Usage(input=15, cache_read=10, output=1)
    assert usage_since(now, now) is None
    assert usage_since(before, now) == before
    assert usage_since(now, None) == now


@pytest.mark.parametrize(
    ("told", "nano"),
    [(0.0105, 10_500_000), (3, 3_000_000_000), (0, None), (-1, None), (True, None), ("1", None), (1e300, None)],
)
def test_prices(told, nano):
    assert nano_usd(told) == nano


def test_models_with_their_provider_in_front():
    assert model_of("anthropic/claude-x") == ("claude-x", "anthropic")
    assert model_of("litellm_proxy/claude-x") == ("claude-x", "")
    assert model_of("gpt-5.2") == ("gpt-5.2", "")
    assert model_of(None) == ("", "")


def test_a_message_that_the_dialect_refuses_keeps_its_text():
    told = ReadTally()
    message = message_of({"role": "assistant", "content": "Yes.", "tool_calls": [{"id": 5}]}, "x", told)
    assert (message.role, message.parts[0].text, told.bad) == ("assistant", "Yes.", 1)
