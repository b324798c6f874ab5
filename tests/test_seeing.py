"""What is seen of a request: when somebody asks, and as it was when it came."""

import msgspec

from turnout.context import RequestContext, SessionView
from turnout.dialects import DIALECTS
from turnout.providers.operations import ChatOperation
from turnout.routing.features import DENSE, Features, State, features_of
from turnout.routing.trajectory import Signs
from turnout.seeing import Look

CHAT = DIALECTS["openai-chat"]


def ctx(*said):
    body = msgspec.json.encode({"model": "lab/m", "messages": [{"role": "user", "content": text} for text in said]})
    return RequestContext(
        request_id="r",
        dialect="openai-chat",
        outline=ChatOperation(CHAT).outline(body),
        body=body,
        started_s=0.0,
        session=SessionView(id="s", agent="a", step=2, source="prefix", thread="t"),
        input_tokens_estimate=10,
    )


def test_nobody_who_does_not_learn_sees_anything():
    assert ctx("Hi").features == b""


def test_what_is_told_later_is_the_request_as_it_came():
    asked = ctx("Port the parser to Rust", "commit it")
    look = Look(asked, CHAT, Signs())
    asked.look = look.packed
    asked.outline = ctx("Go on from here").outline  # as where another model finishes a stream
    found = Features.unpack(asked.features)
    state = State(context=10, turns=2, step=2)
    assert found == features_of("Port the parser to Rust", "commit it", state) == look()
    assert dict(zip(DENSE, found.dense, strict=True))["step"] > 0


def test_a_message_that_was_read_already_is_not_read_again():
    asked = ctx("Port the parser to Rust")
    asked.newest = 0, CHAT.decode_messages(ctx("Write a test").outline.messages)[0]
    assert Look(asked, CHAT, Signs())() == features_of("Write a test", "", State(context=10, turns=1, step=2))
    assert asked.newest is None


def test_what_cannot_be_read_has_no_words():
    assert Look(ctx("Hi"), None, Signs())().buckets == ()
