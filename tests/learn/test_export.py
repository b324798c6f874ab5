"""Examples to tune with: what counts as one, and how it is written from each wire format."""

import json
from datetime import UTC, datetime

import pytest

from support.calls import CHAT
from turnout.learn.export import example_of, scores_of, solved
from turnout.learning import Asked
from turnout.redaction import Redactor
from turnout.routing.outcomes import TRUST, Outcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def asked(request_id, tier, *, step=0, thread="t", reason=None, owner="", dialect="openai-chat", **more):
    return Asked(
        request_id=request_id,
        model=f"lab/{tier}",
        at=NOW,
        owner=owner,
        thread=thread,
        step=step,
        tier=tier,
        reason=reason,
        dialect=dialect,
        **more,
    )


def said(told, score, source="feedback"):
    return Outcome(
        request_id=told.request_id, model=told.model, score=score, source=source, weight=TRUST[source], at=NOW
    )


def tier_of(model):
    return model.removeprefix("lab/")


def found(*told, **more):
    scores = scores_of(o for _, some in told for o in some)
    return [(a.request_id, a.model) for a in solved([a for a, _ in told if a.dialect], scores, tier_of, **more)]


def case(told, *scores):
    return told, [said(told, score, source) for score, source in scores]


POOR, GOOD = (0.0, "feedback"), (1.0, "judge")


def test_the_step_after_an_escalation_and_another_model_at_the_same_request_are_examples():
    failed = case(asked("a", "small"), POOR)
    assert found(failed, case(asked("b", "frontier", step=1, reason="escalated"), GOOD)) == [("b", "lab/frontier")]
    assert found(failed, case(asked("a", "frontier", thread=""), GOOD)) == [("a", "lab/frontier")]
    shadow = case(asked("a", "small", dialect=""), POOR)
    assert found(shadow, case(asked("a", "mid"), GOOD)) == [("a", "lab/mid")], "of a shadow only the outcome is known"
    assert found(shadow, failed, case(asked("a", "frontier", step=1, reason="escalated"), GOOD)) == [
        ("a", "lab/frontier")
    ], "once, whatever shows it"


@pytest.mark.parametrize(
    ("failed", "then"),
    [
        (case(asked("a", "small"), (1.0, "feedback")), case(asked("b", "frontier", step=1, reason="escalated"), GOOD)),
        (case(asked("a", "small")), case(asked("b", "frontier", step=1, reason="escalated"), GOOD)),
        (case(asked("a", "small"), POOR), case(asked("b", "frontier", step=1, reason="escalated"))),
        (case(asked("a", "small"), POOR), case(asked("b", "frontier", step=1, reason="escalated"), POOR)),
        (case(asked("a", "small"), POOR), case(asked("b", "frontier", step=1, reason="pinned"), GOOD)),
        (case(asked("a", "small"), POOR), case(asked("b", "frontier", step=2, reason="escalated"), GOOD)),
        (case(asked("a", "small"), POOR), case(asked("b", "small", step=1, reason="escalated"), GOOD)),
        (case(asked("a", "frontier"), POOR), case(asked("b", "frontier", step=1, reason="escalated"), GOOD)),
        (case(asked("a", "small"), POOR), case(asked("b", "frontier", step=1, reason="escalated", owner="o"), GOOD)),
        (
            case(asked("a", "small", thread=""), POOR),
            case(asked("b", "frontier", step=1, reason="escalated", thread=""), GOOD),
        ),
    ],
)
def test_anything_less_is_none(failed, then):
    assert found(failed, then) == []


def test_who_does_not_want_it_is_left_out():
    told = case(asked("a", "small", owner="shy"), POOR), case(asked("a", "frontier", owner="shy"), GOOD)
    assert found(*told) == [("a", "lab/frontier")]
    assert found(*told, without=frozenset({"shy"})) == []


def test_a_score_weighs_who_says_it():
    told = asked("a", "small")
    scores = scores_of([said(told, 1.0, "tool"), said(told, 0.0, "feedback")])
    assert scores == {("a", "lab/small"): pytest.approx(0.2 / 1.2)}


def kept(dialect, request, answer, *, streamed=False):
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return asked("a", "frontier", dialect=dialect, request=json.dumps(request).encode(), answer=body, streamed=streamed)


def line(example):
    assert example.why is None, example.why
    return json.loads(example.line)


def test_it_is_openais_form_and_only_the_last_answer_is_learned():
    call = {"id": "call_1", "type": "function", "function": {"name": "mail", "arguments": '{"to":"ana@x.example"}'}}
    request = {
        "model": "auto",
        "tools": [{"type": "function", "function": {"name": "mail", "description": "ask ops@x.example"}}],
        "messages": [
            {"role": "system", "content": "You write mail."},
            {"role": "user", "content": "to ana@x.example please"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Error: 10.0.0.1 refused"},
        ],
    }
    redactor = Redactor()
    told = line(example_of(kept("openai-chat", request, CHAT), redactor))
    assert [m["role"] for m in told["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert told["messages"][1]["content"] == "to [EMAIL] please"
    assert json.loads(told["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"to": "[EMAIL]"}
    assert told["messages"][2]["tool_calls"][0]["id"] == told["messages"][3]["tool_call_id"] == "call_1"
    assert told["messages"][3]["content"] == "Error: [IP] refused"
    assert [m.get("weight") for m in told["messages"]] == [None, None, 0, None, None]
    assert told["messages"][-1]["content"] == "Paris."
    assert told["tools"][0]["function"] == {"name": "mail", "description": "ask [EMAIL]"}
    assert redactor.counts == {"EMAIL": 3, "IP": 1}
    plain = line(example_of(kept("openai-chat", request, CHAT), None))
    assert plain["messages"][1]["content"] == "to ana@x.example please"


def test_other_formats_are_written_in_the_same_form():
    request = {"model": "auto", "max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]}
    answer = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "x",
        "content": [
            {"type": "thinking", "thinking": "secret thought", "signature": "s"},
            {"type": "text", "text": "Hello."},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    told = line(example_of(kept("anthropic-messages", request, answer), Redactor()))
    assert told == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello."},
        ]
    }
    events = (
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":'
        b'{"role":"assistant","content":"Hel"},"finish_reason":null}]}\n\n'
        b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"x","choices":[{"index":0,"delta":'
        b'{"content":"lo."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    request = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    told = line(example_of(kept("openai-chat", request, events, streamed=True), Redactor()))
    assert told["messages"][-1] == {"role": "assistant", "content": "Hello."}


def test_what_redaction_does_not_see_into_and_what_cannot_be_read_is_left_out():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    request = {"model": "auto", "messages": [{"role": "user", "content": [picture]}]}
    assert "image" in example_of(kept("openai-chat", request, CHAT), Redactor()).why
    assert example_of(kept("openai-chat", request, CHAT), None).why is None
    assert "not kept" in example_of(asked("a", "frontier", dialect="openai-chat"), Redactor()).why
    assert "cannot be written" in example_of(kept("openai-chat", {}, CHAT), Redactor()).why
    assert "cannot be written" in example_of(kept("openai-chat", request, b"", streamed=True), None).why
