"""Whole answers: what is read of them, and how other models' answers look to callers of this API."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.recordings import load, plain
from turnout.chat import ChatResponse, FinishReason, Image, Opaque, Reasoning, Text, ToolCall, Usage
from turnout.dialects import DIALECTS
from turnout.dialects.gemini import GEMINI
from turnout.errors import UpstreamFailure

WHOLES = [c for c in load("gemini") if not c.streaming and c.status == 200]
OTHERS = [name for name in DIALECTS if name != "gemini"]


def read(body):
    return GEMINI.decode_response(json.dumps(body).encode())


def answer(*parts, reason="STOP", **fields):
    content = {"role": "model", "parts": list(parts)}
    return {"candidates": [{"content": content, "finishReason": reason}], "responseId": "r1", **fields}


def said(response):
    text = "".join(p.text for p in response.parts if isinstance(p, Text))
    calls = [(p.name, json.loads(p.arguments or "{}")) for p in response.parts if isinstance(p, ToolCall)]
    usage = response.usage
    return text, calls, (usage.input, usage.output)


@pytest.mark.parametrize("case", WHOLES, ids=lambda c: c.name[-60:])
def test_every_recorded_answer_comes_back_as_it_was(case):
    response = GEMINI.decode_response(case.response)
    assert plain(json.loads(GEMINI.encode_response(response).body)) == plain(json.loads(case.response))
    summary = GEMINI.summarise(case.response)
    assert (summary.usage, summary.finish) == (response.usage, response.finish)
    assert (summary.id, summary.model) == (response.id, response.model)


@pytest.mark.parametrize("there", OTHERS)
@pytest.mark.parametrize("case", WHOLES, ids=lambda c: c.name[-60:])
def test_every_recorded_answer_crosses_to_the_other_formats(case, there):
    response = GEMINI.decode_response(case.response)
    crossed = DIALECTS[there].decode_response(DIALECTS[there].encode_response(response).body)
    assert said(crossed) == said(response)
    assert crossed.finish.unified == response.finish.unified
    again = GEMINI.decode_response(GEMINI.encode_response(crossed).body)
    assert said(again) == said(response)


def test_the_parts_of_an_answer():
    thought, text, code, image, call = read(
        answer(
            {"text": "hm", "thought": True},
            {"text": "yes", "thoughtSignature": "c2ln"},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"functionCall": {"name": "f", "args": {"a": 1}}},
        )
    ).parts
    assert thought == Reasoning(text="hm", provider="gemini")
    assert text.extras == {"gemini": {"thoughtSignature": "c2ln"}}
    assert isinstance(code, Opaque)
    assert isinstance(image, Image)
    assert (call.id, call.name, call.arguments) == ("call_0_r1", "f", '{"a":1}')


def test_made_up_ids_differ_from_answer_to_answer():
    one, two = (read({**answer({"functionCall": {"name": "f"}}), "responseId": i}) for i in ("r1", "r2"))
    assert one.parts[0].id != two.parts[0].id
    assert len(read({**answer({"functionCall": {"name": "f"}}), "responseId": "x" * 90}).parts[0].id) == 40


@pytest.mark.parametrize(
    ("reason", "parts", "unified"),
    [
        ("STOP", [{"text": "a"}], "stop"),
        ("STOP", [{"functionCall": {"name": "f"}}], "tool_calls"),
        ("MAX_TOKENS", [{"text": "a"}], "length"),
        ("SAFETY", [], "content_filter"),
        ("RECITATION", [], "content_filter"),
        ("SPII", [], "content_filter"),
        ("MALFORMED_FUNCTION_CALL", [], "error"),
        ("LANGUAGE", [], "other"),
        ("SOMETHING_NEW", [], "other"),
    ],
)
def test_why_an_answer_ended(reason, parts, unified):
    response = read(answer(*parts, reason=reason))
    assert response.finish == FinishReason(unified, reason)
    back = json.loads(GEMINI.encode_response(response).body)
    if reason in {"LANGUAGE", "SOMETHING_NEW"}:
        reason = "OTHER"
    assert back["candidates"][0]["finishReason"] == reason


def test_a_refused_prompt_is_an_answer_without_parts():
    body = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
        "modelVersion": "gemini-2.5-flash",
    }
    response = read(body)
    assert (response.parts, response.finish) == ((), FinishReason("content_filter", "PROHIBITED_CONTENT"))
    assert json.loads(GEMINI.encode_response(response).body) == body
    assert GEMINI.summarise(json.dumps(body).encode()).finish == response.finish


def test_thoughts_are_output_and_what_tools_fetched_is_input():
    told = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "toolUsePromptTokenCount": 30,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 20,
        "totalTokenCount": 157,
        "serviceTier": "standard",
    }
    response = read(answer({"text": "a"}, usageMetadata=told))
    assert response.usage == Usage(input=130, cache_read=60, output=27, reasoning=20, service_tier="standard", raw=told)
    assert response.service_tier == "default"


def test_what_only_this_api_tells_is_kept():
    body = answer({"text": "a"}, usageMetadata={"promptTokenCount": 1}, createTime="2026-05-04T20:01:02.264968Z")
    body["candidates"][0] |= {"groundingMetadata": {"webSearchQueries": ["q"]}, "avgLogprobs": -0.1, "index": 0}
    body["candidates"].append({"content": {"role": "model", "parts": [{"text": "b"}]}, "index": 1})
    response = read(body)
    assert response.created == 1777924862
    assert said_text(response) == "a"
    assert json.loads(GEMINI.encode_response(response).body) == body


def said_text(response):
    return "".join(p.text for p in response.parts if isinstance(p, Text))


def test_an_answer_of_another_model():
    response = ChatResponse(
        id="chatcmpl-1",
        model="gpt-5",
        created=1777924862,
        parts=(
            Reasoning(text="hm", signature="s", provider="anthropic-messages"),
            Text(text="I look."),
            ToolCall(id="c1", name="weather", arguments='{"city":"Bern"}'),
            ToolCall(id="c2", name="weather", arguments='{"city":"Rome"}'),
        ),
        finish=FinishReason("tool_calls", "tool_calls"),
        usage=Usage(input=10, cache_read=4, output=9, reasoning=5, raw={"prompt_tokens": 10}),
    )
    assert json.loads(GEMINI.encode_response(response).body) == {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True},
                        {"text": "I look."},
                        {
                            "functionCall": {"id": "c1", "name": "weather", "args": {"city": "Bern"}},
                            "thoughtSignature": "skip/thought/signature/validator",
                        },
                        {"functionCall": {"id": "c2", "name": "weather", "args": {"city": "Rome"}}},
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 5,
            "cachedContentTokenCount": 4,
            "totalTokenCount": 19,
        },
        "modelVersion": "gpt-5",
        "responseId": "chatcmpl-1",
        "createTime": "2026-05-04T20:01:02Z",
    }


def test_googles_own_library_reads_an_answer_of_another_model():
    types = pytest.importorskip("google.genai.types")
    response = ChatResponse(
        id="1", model="m", parts=(ToolCall(id="c", name="f", arguments="{}"),), finish=FinishReason("tool_calls")
    )
    told = types.GenerateContentResponse.model_validate_json(GEMINI.encode_response(response).body)
    assert told.function_calls[0].name == "f"
    again = told.candidates[0].content.parts[0].model_dump(mode="json", exclude_none=True)
    assert again["thought_signature"] == "skip_thought_signature_validator"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"candidates":[]}',
        b'{"candidates":{}}',
        b'{"candidates":[1]}',
        b'{"candidates":[{"finishReason":1}]}',
        b'{"candidates":[{"content":[]  ,"finishReason":{}}]}',
        b'{"candidates":[{"content":{"parts":"a"}}]}',
        b'{"candidates":[{"content":{"parts":[{"text":1}]}}]}',
        b'{"error":{"code":500,"message":"no","status":"INTERNAL"}}',
    ],
)
def test_what_is_no_answer_is_the_providers_failure(body):
    with pytest.raises(UpstreamFailure):
        GEMINI.decode_response(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
KEYS = ["candidates", "usageMetadata", "modelVersion", "responseId", "createTime", "promptFeedback", "_candidate"]
candidates = st.dictionaries(st.sampled_from(["content", "finishReason", "index", "_content"]), json_values, max_size=3)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), json_values | st.lists(candidates, max_size=2), max_size=5))
def test_no_answer_raises_anything_but_an_upstream_failure(body):
    raw = json.dumps(body).encode()
    with contextlib.suppress(UpstreamFailure):
        GEMINI.summarise(raw)
    try:
        response = GEMINI.decode_response(raw)
    except UpstreamFailure:
        return
    assert json.loads(GEMINI.encode_response(response).body) is not None
