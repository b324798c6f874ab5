"""The response cache's rules: which requests are the same, which may be answered from it, and how it tells an answer
that was kept in another form."""

import json
import random

import msgspec
import pytest

from support.recordings import load
from turnout.answers import (
    CacheWishes,
    Kept,
    cacheable,
    form_of,
    keepable,
    key_of,
    read_cache_wishes,
    stands_for,
    told_as,
    without_controls,
)
from turnout.catalog.models import Deployment
from turnout.chat import Usage, collect, spelled
from turnout.context import Candidate, Decision
from turnout.dialects import DIALECTS
from turnout.errors import InvalidRequest

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
RESPONSES = {"model": "auto", "input": "hi", "temperature": 0, "store": False}
MESSAGES = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9, "temperature": 0}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"temperature": 0}}
ASKED = {"openai-chat": CHAT, "openai-responses": RESPONSES, "anthropic-messages": MESSAGES, "gemini": GEMINI}

RECORDED = [
    (name, case)
    for name in ASKED
    for case in load(name)
    if case.status == 200 and (b"data:" in case.response) == case.streaming
]


def outline(dialect, body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECTS[dialect].outline(raw)


def key(body, dialect="openai-chat", circumstances=("key", "a")):
    told = outline(dialect, body)
    return key_of(told, dialect, form_of(told), circumstances)


# ---- The same request ----


@pytest.mark.parametrize("dialect", ASKED)
def test_order_and_white_space_do_not_count(dialect):
    def shuffled(value):
        if isinstance(value, dict):
            return {k: shuffled(v) for k, v in random.Random(3).sample(list(value.items()), len(value))}
        return [shuffled(v) for v in value] if isinstance(value, list) else value

    body = ASKED[dialect]
    other = json.dumps(shuffled(body), indent=3).replace('"hi"', '"\\u0068i"').encode()
    assert other != json.dumps(body).encode()
    assert key(body, dialect) == key(other, dialect)


@pytest.mark.parametrize(
    "more",
    [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"user": "u1"},
        {"metadata": {"trace_id": "t1", "tags": "feature=x", "session": "s"}},
        {"prompt_cache_key": "k"},
        {"safety_identifier": "s"},
    ],
    ids=str,
)
def test_who_asks_and_how_it_is_delivered_do_not_count(more):
    assert key({**CHAT, **more}) == key(CHAT)


@pytest.mark.parametrize(
    "more",
    [
        {"model": "mode/other"},
        {"max_tokens": 5},
        {"top_p": 0.5},
        {"stop": ["x"]},
        {"seed": 1},
        {"tool_choice": "none"},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"response_format": {"type": "json_object"}},
        {"reasoning_effort": "low"},
        {"messages": [{"role": "user", "content": "hi "}]},
        {"a_field_of_next_year": 1},
        {"temperature": 0.5},
    ],
    ids=str,
)
def test_whatever_may_change_the_answer_counts_even_what_nobody_knows(more):
    assert key({**CHAT, **more}) != key(CHAT)


def test_the_order_of_messages_counts():
    one, two = {"role": "user", "content": "a"}, {"role": "user", "content": "b"}
    assert key({**CHAT, "messages": [one, two]}) != key({**CHAT, "messages": [two, one]})


def test_owner_and_circumstances_count_and_do_not_run_together():
    keys = {
        key(CHAT, circumstances=c) for c in [("key", "a"), ("key", "b"), ("team", "a"), ("keya", ""), ("key", None)]
    }
    assert len(keys) == 5


def test_a_model_named_in_the_url_counts():
    told = outline("gemini", GEMINI)
    one, two = (msgspec.structs.replace(told, model=name) for name in ("a", "b"))
    assert key_of(one, "gemini", "whole", ()) != key_of(two, "gemini", "whole", ())


@pytest.mark.parametrize("number", ["18446744073709551617", "1e-5", "0.1"])
def test_any_number_has_a_name_or_none_and_never_anothers(number):
    body = json.dumps({**CHAT, "x": 0}).replace('"x": 0', f'"x": {number}').encode()
    assert key(body) is None or key(body) != key({**CHAT, "x": 18446744073709551616})


def test_forms_are_apart_only_where_log_probabilities_would_be_lost():
    assert key({**CHAT, "logprobs": True}) != key({**CHAT, "logprobs": True, "stream": True})
    config = {"temperature": 0, "responseLogprobs": True}
    told = outline("gemini", {**GEMINI, "generationConfig": config})
    assert key_of(told, "gemini", "whole", ()) != key_of(told, "gemini", "stream", ())


# ---- Which requests ----


@pytest.mark.parametrize("dialect", ASKED)
@pytest.mark.parametrize("any_temperature", [False, True])
def test_only_what_leaves_the_model_no_choice(dialect, any_temperature):
    body = ASKED[dialect]
    warm = {**body, "temperature": 0.7, "generationConfig": {"temperature": 0.7}}
    default = {k: v for k, v in body.items() if k not in {"temperature", "generationConfig"}}
    told = [cacheable(outline(dialect, b), dialect, any_temperature=any_temperature) for b in (body, warm, default)]
    assert told == [True, any_temperature, any_temperature]


@pytest.mark.parametrize(
    ("dialect", "more"),
    [
        ("openai-chat", {"n": 2}),
        ("openai-chat", {"web_search_options": {}}),
        ("openai-responses", {"store": True}),
        ("openai-responses", {"previous_response_id": "resp_1"}),
        ("openai-responses", {"conversation": "conv_1"}),
        ("openai-responses", {"tools": [{"type": "web_search"}]}),
        ("anthropic-messages", {"mcp_servers": []}),
        ("anthropic-messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("gemini", {"cachedContent": "cachedContents/1"}),
        ("gemini", {"tools": [{"googleSearch": {}}]}),
        ("gemini", {"generationConfig": {"temperature": 0, "candidateCount": 2}}),
    ],
    ids=str,
)
def test_never_what_depends_on_more_than_the_request_says(dialect, more):
    assert not cacheable(outline(dialect, {**ASKED[dialect], **more}), dialect, any_temperature=True)


def test_a_responses_request_is_stored_at_the_provider_unless_it_says_no():
    silent = {k: v for k, v in RESPONSES.items() if k != "store"}
    assert not cacheable(outline("openai-responses", silent), "openai-responses", any_temperature=True)


def chat(finish="stop", **message):
    told = {"role": "assistant", "content": "Paris.", **message}
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"message": told, "finish_reason": finish}],
    }


@pytest.mark.parametrize(
    ("told", "good"),
    [
        (chat(), True),
        (
            chat("tool_calls", content=None, tool_calls=[{"id": "1", "function": {"name": "f", "arguments": "{}"}}]),
            True,
        ),
        (chat("length"), False),
        (chat("content_filter"), False),
        (chat("a word of next year"), False),
        (chat(content=None, refusal="No."), False),
        (chat(content=""), False),
        (chat(content=None), False),
        ({"error": {"message": "with status 200"}}, False),
        ("no answer", False),
    ],
    ids=str,
)
def test_only_answers_that_ended_by_themselves_and_say_something_are_kept(told, good):
    assert keepable(json.dumps(told).encode(), "whole", DIALECTS["openai-chat"]) == good


@pytest.mark.parametrize("name", ASKED)
def test_a_stream_that_was_cut_is_not_kept(name):
    dialect, cases = DIALECTS[name], [c for d, c in RECORDED if d == name and c.streaming]
    case = next(c for c in cases if keepable(c.response, "stream", dialect))
    assert not keepable(case.response[: len(case.response) // 2], "stream", dialect)


# ---- What the caller says ----


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, CacheWishes()),
        ({"x-turnout-cache": "off"}, CacheWishes(use="off")),
        ({"x-turnout-cache": " Refresh "}, CacheWishes(use="refresh")),
        ({"x-turnout-cache": "on", "cache-control": "no-cache"}, CacheWishes(use="on")),
        ({"cache-control": "No-Cache"}, CacheWishes(use="refresh")),
        ({"cache-control": "no-store, no-cache"}, CacheWishes(use="off")),
        ({"cache-control": "max-age=60"}, CacheWishes(max_age_s=60)),
        ({"cache-control": "max-age=soon, private"}, CacheWishes()),
        ({"x-portkey-cache-force-refresh": "True"}, CacheWishes(use="refresh")),
        ({"helicone-cache-enabled": "true"}, CacheWishes(use="on")),
        ({"helicone-cache-enabled": "false"}, CacheWishes(use="off")),
    ],
    ids=str,
)
def test_headers_of_ours_of_http_and_of_other_gateways(headers, wanted):
    assert read_cache_wishes(headers) == wanted


def test_a_wish_that_means_nothing_is_told():
    with pytest.raises(InvalidRequest, match="x-turnout-cache must be on, off or refresh"):
        read_cache_wishes({"x-turnout-cache": "yes"})


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"no-cache": True}, CacheWishes(use="refresh")),
        ({"no-store": True, "no-cache": True}, CacheWishes(use="off")),
        ({"ttl": 60, "s-maxage": 10}, CacheWishes(ttl_s=60, max_age_s=10)),
        ({"namespace": "n", "use-cache": True}, CacheWishes(use="on", namespace="n")),
    ],
    ids=str,
)
def test_a_body_of_litellms_clients(told, wanted):
    body, controls = without_controls(json.dumps({**CHAT, "cache": told}).encode())
    assert json.loads(body) == CHAT
    assert read_cache_wishes({}, controls) == wanted


def test_a_cache_that_is_something_else_is_the_callers():
    for cache in ({"type": "ephemeral"}, "yes", {}, None):
        body = json.dumps({**CHAT, "cache": cache}).encode()
        assert without_controls(body) == (body, None)
    assert without_controls(b'not json "cache"') == (b'not json "cache"', None)
    _, controls = without_controls(json.dumps({**CHAT, "cache": {"ttl": "long"}}).encode())
    with pytest.raises(InvalidRequest, match="cache"):
        read_cache_wishes({}, controls)


# ---- Whose answer is still good ----


def deployment(name, tier):
    return Deployment(id=name, provider="p", upstream_model=name, dialect="openai-chat", tier=tier)


def decided(*told):
    return Decision(
        candidates=tuple(Candidate(deployment=deployment(*one)) for one in told), reason="auto", explanation=""
    )


@pytest.mark.parametrize(
    ("candidates", "good"),
    [
        ([("a", "mid")], True),
        ([("b", "mid"), ("a", "mid")], True),
        ([("b", "small"), ("a", "mid")], True),
        ([("b", "frontier"), ("a", "mid")], False),  # it stood in, or the session has been taken up a tier since
        ([("b", "mid")], False),  # not open to this key, not what the mode means now
        ([("b", None), ("a", "mid")], False),
    ],
    ids=str,
)
def test_an_answer_is_as_good_as_its_author_would_be_now(candidates, good):
    found = stands_for("a", decided(*candidates))
    assert (found is not None) == good


# ---- In another form ----


def read(dialect, body, form):
    if form == "whole":
        return dialect.decode_response(body)
    decoder = dialect.stream_decoder()
    return collect([*decoder.feed(body), *decoder.close()])


@pytest.mark.parametrize(("name", "case"), RECORDED, ids=[f"{n}-{c.name[:60]}" for n, c in RECORDED])
def test_a_recorded_answer_crosses_to_the_other_form_whole_or_not_at_all(name, case):
    dialect = DIALECTS[name]
    form, other = ("stream+usage", "whole") if case.streaming else ("whole", "stream+usage")
    try:
        answer = read(dialect, case.response, form)
    except ValueError:
        return  # a recording of a stream that failed
    kept = Kept(body=case.response, form=form, deployment="d", request_id="r", made_s=0, expires_s=1)
    assert told_as(kept, form, dialect) is case.response
    body = told_as(kept, other, dialect)
    if body is None:
        return
    again = read(dialect, body, other)
    plain = [[msgspec.structs.replace(p, extras={}) for p in told.parts] for told in (answer, again)]
    assert plain[0] == plain[1]
    assert again.finish.unified == answer.finish.unified
    assert (again.usage.input, again.usage.output) == (answer.usage.input, answer.usage.output)


def test_most_recordings_do_cross():
    refused = 0
    for name, case in RECORDED:
        form, other = ("stream+usage", "whole") if case.streaming else ("whole", "stream+usage")
        kept = Kept(body=case.response, form=form, deployment="d", request_id="r", made_s=0, expires_s=1)
        refused += told_as(kept, other, DIALECTS[name]) is None
    assert len(RECORDED) > 60
    assert refused <= len(RECORDED) // 8


@pytest.mark.parametrize("name", ASKED)
def test_what_spells_an_answer_out_collects_to_it(name):
    for dialect, case in RECORDED:
        if dialect == name and not case.streaming:
            answer = DIALECTS[name].decode_response(case.response)
            assert collect(spelled(answer)) == answer


def test_a_stream_without_usage_gives_a_whole_answer_with_it():
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas = [{"delta": {"content": "Hi"}, "finish_reason": None}, {"delta": {}, "finish_reason": "stop"}]
    lines = [b"data: " + json.dumps({**chunk, "choices": [{"index": 0, **d}]}).encode() + b"\n\n" for d in deltas]
    kept = Kept(
        body=b"".join(lines) + b"data: [DONE]\n\n",
        form="stream",
        deployment="d",
        request_id="r",
        made_s=0,
        expires_s=1,
        usage=Usage(input=3, output=1),
    )
    whole = json.loads(told_as(kept, "whole", DIALECTS["openai-chat"]))
    assert whole["choices"][0]["message"]["content"] == "Hi"
    assert whole["usage"]["prompt_tokens"] == 3
    assert b'"usage"' in told_as(kept, "stream+usage", DIALECTS["openai-chat"])


def test_what_cannot_be_read_is_not_told():
    kept = Kept(body=b"{", form="whole", deployment="d", request_id="r", made_s=0, expires_s=1)
    assert told_as(kept, "stream", DIALECTS["openai-chat"]) is None
    assert told_as(kept, "stream", None) is None
