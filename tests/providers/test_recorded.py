"""The recorded provider: conversations by their hashes, the simulated prompt cache, answers in wire bytes."""

import itertools
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.catalog.cache_rules import NO_CACHE, cache_rule_of
from turnout.chat import (
    CacheBreakpoint,
    ChatRequest,
    ChatResponse,
    FinishReason,
    Image,
    Message,
    Reasoning,
    Source,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
    collect,
)
from turnout.dialects import DIALECTS
from turnout.errors import UpstreamFailure
from turnout.lab.sessions import anthropic_request, offered_model, packaged_sessions, requests_of, turns_of
from turnout.providers.recorded import PromptCache, RecordedTransport, Turn, chain_of, events_of
from turnout.providers.transport import UpstreamRequest

OPENAI, ANTHROPIC = DIALECTS["openai-chat"], DIALECTS["anthropic-messages"]
PACKAGED = packaged_sessions()
AUTOMATIC = cache_rule_of("openai", "gpt-4.1")
BREAKPOINTS = cache_rule_of("openai", "gpt-5.6")
EXPLICIT = cache_rule_of("anthropic", "claude-sonnet-4-5")


def message(role, *parts):
    return Message(role=role, parts=tuple(Text(text=p) if isinstance(p, str) else p for p in parts))


def request(*messages, tools=()):
    return ChatRequest(model="frontier", messages=messages, tools=tools)


def key(*messages, tools=()):
    return chain_of(request(*messages, tools=tools)).key


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


# ---- chains


def test_a_conversation_is_the_same_however_its_parts_are_grouped_named_and_spaced():
    one = (
        message("developer", "Be  brief.\n"),
        message("user", "a", "b"),
        message("assistant", Reasoning(text="hm"), ToolCall(id="x", name="f", arguments='{"a":1,"b":[2]}')),
        message("tool", ToolResult(call_id="x", parts=(Text(text="ok"),))),
        message("user", "and?"),
    )
    other = (
        message("system", "Be brief."),
        message("user", "a"),
        message("user", "b"),
        message("assistant", "", ToolCall(id="y", name="f", arguments='{ "b": [2], "a": 1 }')),
        message("user", ToolResult(call_id="y", parts=(Text(text="ok"),), is_error=True), "and?"),
    )
    assert key(*one) == key(*other)


@pytest.mark.parametrize(
    "changed",
    [
        (message("user", "hi"), message("assistant", "f", ToolCall(id="1", name="g", arguments="{}"))),
        (message("assistant", "hi"), message("assistant", ToolCall(id="1", name="f", arguments="{}"))),
        (message("user", "hi"), message("assistant", ToolCall(id="1", name="f", arguments='{"a":1}'))),
        (message("user", "hi"), message("assistant", ToolCall(id="1", name="f", arguments="{"))),
        (message("user", "hi"),),
        (
            message("user", "hi", Image(source=Source(url="http://x"))),
            message("assistant", ToolCall(id="1", name="f")),
        ),
    ],
)
def test_what_was_said_tells_conversations_apart(changed):
    said = (message("user", "hi"), message("assistant", ToolCall(id="1", name="f", arguments="{}")))
    assert key(*said) != key(*changed)


def test_a_result_is_not_a_text_of_the_user():
    assert key(message("user", ToolResult(call_id="1", parts=(Text(text="x"),)))) != key(message("user", "x"))


roles = st.sampled_from(["system", "user", "assistant"])
said = st.lists(st.tuples(roles, st.text(max_size=8)), min_size=1, max_size=6)


@given(said, st.tuples(roles, st.text(max_size=8)))
def test_what_was_sent_before_is_a_prefix_of_what_is_sent_after(before, more):
    first = chain_of(request(*(message(r, t) for r, t in before)))
    second = chain_of(request(*(message(r, t) for r, t in [*before, more])))
    assert second.boundaries[: len(first.boundaries)] == first.boundaries


@given(said)
def test_splitting_a_text_at_white_space_changes_nothing(parts):
    whole = [message(role, text) for role, text in parts]
    split = [message(role, word) for role, text in parts for word in (text.split() or [""])]
    assert key(*whole) == key(*split)


def test_tools_do_not_name_a_conversation_but_part_its_caches():
    plain, armed = (request(message("user", "hi"), tools=t) for t in ((), (ToolSpec(name="f"),)))
    assert chain_of(plain).key == chain_of(armed).key
    assert chain_of(plain).tools != chain_of(armed).tools


# ---- the simulated cache


def talk(count, *, first="s" * 400, mark=None):
    """A conversation of `count` messages of equal length after a long system text; the last may be marked."""
    messages = [message("system", Text(text=first, cache=mark))]
    for number in range(count):
        last = mark if number == count - 1 else None
        role = "user" if number % 2 == 0 else "assistant"
        messages.append(message(role, Text(text=f"{number:0100d}", cache=last)))
    return chain_of(request(*messages))


def test_the_next_request_reads_the_whole_one_before_in_steps_of_128():
    cache = PromptCache(AUTOMATIC, Clock())
    assert cache.visit(talk(1), 3000).read == 0
    assert cache.visit(talk(3), 3300).read == 2944  # 23 * 128 <= 3000
    assert cache.visit(talk(5), 3500).read == 3200  # 25 * 128 <= 3300
    assert cache.visit(talk(5), 3500) == cache.visit(talk(5), 3500)


def test_short_prefixes_are_not_cached():
    cache = PromptCache(AUTOMATIC, Clock())
    cache.visit(talk(1), 1023)
    assert cache.visit(talk(1), 1023).read == 0
    cache.visit(talk(3), 1024)
    assert cache.visit(talk(3), 1024).read == 1024


def test_another_conversation_with_the_same_beginning_reads_that_beginning():
    cache = PromptCache(AUTOMATIC, Clock())
    shared = "s" * 4000
    cache.visit(chain_of(request(message("system", shared), message("user", "one"))), 2000)
    use = cache.visit(chain_of(request(message("system", shared), message("user", "two"))), 2000)
    assert 0 < use.read <= 2000
    assert use.read % 128 == 0
    assert cache.visit(chain_of(request(message("system", "other"), message("user", "one"))), 2000).read == 0


def test_a_lifetime_slides_with_use_and_runs_out():
    clock = Clock()
    cache = PromptCache(AUTOMATIC, clock)
    cache.visit(talk(1), 3000)
    for _ in range(3):
        clock.now += AUTOMATIC.ttl_s - 1
        assert cache.visit(talk(1), 3000).read == 2944
    clock.now += AUTOMATIC.ttl_s
    assert cache.visit(talk(1), 3000).read == 0


def test_the_cache_forgets_the_longest_unused_first():
    cache = PromptCache(AUTOMATIC, Clock(), max_prefixes=5)
    cache.visit(talk(1, first="a" * 400), 2048)  # the tools, alike in all, and two more each
    cache.visit(talk(1, first="b" * 400), 2048)
    cache.visit(talk(1, first="a" * 400), 2048)
    cache.visit(talk(1, first="c" * 400), 2048)
    assert len(cache) == 5
    assert cache.visit(talk(1, first="a" * 400), 2048).read == 2048
    assert cache.visit(talk(1, first="b" * 400), 2048).read == 0


def test_an_automatic_rule_with_paid_writes_counts_them():
    cache = PromptCache(BREAKPOINTS, Clock())
    first, second = cache.visit(talk(1), 3000), cache.visit(talk(3), 3300)
    assert (first.read, first.write) == (0, 3000)
    assert (second.read, second.write) == (3000, 300)


def test_an_explicit_rule_needs_marks_and_writes_up_to_the_last():
    cache = PromptCache(EXPLICIT, Clock())
    assert cache.visit(talk(1), 3000) == cache.visit(talk(1), 3000)
    assert len(cache) == 0
    mark = CacheBreakpoint()
    first, second = cache.visit(talk(1, mark=mark), 3000), cache.visit(talk(3, mark=mark), 3300)
    assert (first.read, first.write, first.write_1h) == (0, 3000, 0)
    assert (second.read, second.write) == (3000, 300)


def test_an_hour_that_was_asked_for_is_an_hour():
    clock = Clock()
    cache = PromptCache(EXPLICIT, clock)
    hour = CacheBreakpoint(ttl="1h")
    assert cache.visit(talk(1, mark=hour), 3000).write_1h == 3000
    clock.now += 3599
    assert cache.visit(talk(1, mark=hour), 3000).read == 3000
    clock.now += 3601
    assert cache.visit(talk(1, mark=hour), 3000).read == 0


def test_a_mark_looks_back_twenty_blocks_itself_among_them():
    short, long = PromptCache(EXPLICIT, Clock()), PromptCache(EXPLICIT, Clock())
    for cache, grown, read in ((short, 20, 3000), (long, 21, 0)):
        cache.visit(chain_of(request(*steps(1))), 3000)
        assert cache.visit(chain_of(request(*steps(grown))), 9000).read == read


def steps(count):
    """`count` messages of which the last is marked."""
    for number in range(count):
        mark = CacheBreakpoint() if number == count - 1 else None
        yield message("user" if number % 2 == 0 else "assistant", Text(text=f"message {number}", cache=mark))


def test_no_rule_no_cache():
    cache = PromptCache(NO_CACHE, Clock())
    cache.visit(talk(1), 3000)
    assert cache.visit(talk(1), 3000).read == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8), st.integers(0, 400)), max_size=30))
def test_reads_and_writes_never_exceed_the_input(visits):
    for rule in (AUTOMATIC, BREAKPOINTS, EXPLICIT):
        clock = Clock()
        cache = PromptCache(rule, clock)
        for who, count, later in visits:
            clock.now += later
            tokens = 900 + 150 * count
            use = cache.visit(talk(count, first=str(who) * 400, mark=CacheBreakpoint()), tokens)
            assert use.read >= 0
            assert use.write >= 0
            assert use.read + use.write <= tokens


# ---- answers


def ask(body):
    return UpstreamRequest(method="POST", url="http://recorded/v1/x", headers=[], body=msgspec.json.encode(body))


def openai_body(recorded, model, **more):
    body = {"model": model, "messages": recorded.messages, **more}
    return {**body, "tools": recorded.tools} if recorded.tools else body


def turn(said, answer, *, model="frontier", recorded_by="gpt-4.1", tokens=2000):
    """A turn that answers one user message."""
    return Turn(
        model=model,
        key=key(message("user", said)),
        parts=(Text(text=answer),),
        finish=FinishReason("stop"),
        usage=Usage(input=tokens, output=3, reasoning=0),
        recorded_by=recorded_by,
    )


def hello(model="frontier", said="hi", **more):
    return ask({"model": model, "messages": [{"role": "user", "content": said}], **more})


async def answered(transport, asked, dialect=OPENAI):
    response = await transport.send(asked)
    body = await response.read(1 << 20)
    assert response.status == 200, body
    return dialect.decode_response(body)


async def test_a_recorded_conversation_gets_its_recorded_answer_and_tokens():
    transport = RecordedTransport([turn("hi", "Hello there")], OPENAI)
    response = await transport.send(hello())
    assert response.status == 200
    assert dict(response.headers) == {"content-type": "application/json", "x-recorded-usage": "recorded"}
    body = msgspec.json.decode(await response.read(1 << 20))
    assert body["model"] == "recorded:gpt-4.1"
    assert body["choices"][0]["message"]["content"] == "Hello there"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (2000, 3)
    again = await answered(transport, hello())
    assert again.usage.cache_read == 1920


async def test_each_offered_model_follows_its_own_recording():
    transport = RecordedTransport(
        [turn("hi", "large"), turn("hi", "little", model="small", recorded_by="gpt-4.1-mini")], OPENAI
    )
    assert transport.models == ("frontier", "small")
    for model, text, by in (("frontier", "large", "gpt-4.1"), ("small", "little", "gpt-4.1-mini")):
        answer = await answered(transport, hello(model))
        assert answer.parts[0].text == text
        assert answer.model == f"recorded:{by}"
        assert not answer.usage.cache_read  # one model's cache is not another's


async def test_of_two_recordings_of_one_turn_the_first_wins():
    transport = RecordedTransport([turn("hi", "first"), turn("hi", "second")], OPENAI)
    assert (await answered(transport, hello())).parts[0].text == "first"


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=lambda d: d.name)
@pytest.mark.parametrize(
    ("asked", "status", "code", "told"),
    [
        (
            hello(said="something new", max_tokens=9),
            404,
            "no_recorded_turn",
            "no recorded turn for this conversation: the recorded provider only replays its recordings",
        ),
        (hello("huge", max_tokens=9), 404, "model_not_found", "no recordings of the model 'huge'"),
        (ask({"model": "frontier", "messages": 7}), 400, None, "messages"),
        (ask([]), 400, None, ""),
    ],
)
async def test_what_was_not_recorded_is_refused_in_the_dialects_shape(dialect, asked, status, code, told):
    transport = RecordedTransport([turn("hi", "Hello")], dialect)
    response = await transport.send(asked)
    assert response.status == status
    fault = dialect.decode_error(await response.read(1 << 20))
    assert told in fault.message
    if dialect is OPENAI and code:
        assert fault.code == code


async def test_an_answer_longer_than_asked_for_is_a_failure():
    response = await RecordedTransport([turn("hi", "Hello")], OPENAI).send(hello())
    with pytest.raises(UpstreamFailure, match="longer than 10 bytes"):
        await response.read(10)


@given(st.text(max_size=100), st.text(max_size=60))
def test_an_answer_in_pieces_is_the_answer(text, arguments):
    whole = ChatResponse(
        id="i",
        model="m",
        parts=(Text(text=text), ToolCall(id="c", name="f", arguments=arguments)),
        finish=FinishReason("tool_calls"),
        usage=Usage(input=1, output=2),
    )
    assert collect(events_of(whole)) == whole


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=lambda d: d.name)
async def test_a_stream_says_the_same_as_the_whole_answer_and_always_in_the_same_pieces(dialect):
    text = "A recorded answer of some length, which comes in several pieces."
    streams = []
    for _ in range(2):
        transport = RecordedTransport([turn("hi", text)], dialect)
        asked = hello(max_tokens=9, stream=True, stream_options={"include_usage": True})
        if dialect is ANTHROPIC:
            asked = hello(max_tokens=9, stream=True)
        response = await transport.send(asked)
        assert dict(response.headers)["content-type"] == "text/event-stream"
        streams.append([chunk async for chunk in response.chunks()])
    assert streams[0] == streams[1]
    assert len(streams[0]) > 4
    decoder = dialect.stream_decoder()
    answer = collect([*decoder.feed(b"".join(streams[0])), *decoder.close()])
    assert answer.parts == (Text(text=text),)
    assert (answer.model, answer.usage.input, answer.usage.output) == ("recorded:gpt-4.1", 2000, 3)


async def test_a_closed_stream_ends():
    response = await RecordedTransport([turn("hi", "x" * 500)], OPENAI).send(hello(stream=True))
    seen = 0
    async for _ in response.chunks():
        seen += 1
        await response.aclose()
    assert seen == 1


async def test_a_pace_that_was_asked_for_is_kept():
    transport = RecordedTransport([turn("hi", "x" * 48)], OPENAI, first_byte_s=0.02, chunk_s=0.01)
    begun = time.monotonic()
    response = await transport.send(hello(stream=True))
    assert time.monotonic() - begun >= 0.02
    assert len([chunk async for chunk in response.chunks()]) >= 3
    assert time.monotonic() - begun >= 0.05


# ---- the packaged recordings, request by request


def in_form(dialect, recorded, model):
    if dialect is ANTHROPIC:
        return ask(anthropic_request(recorded, model=model))
    return ask(openai_body(recorded, model))


@pytest.mark.parametrize("dialect", [OPENAI, ANTHROPIC], ids=lambda d: d.name)
async def test_every_packaged_request_finds_its_turn_in_either_form(dialect):
    transport = RecordedTransport(turns_of(PACKAGED, OPENAI), dialect)
    requests = 0
    for session in PACKAGED:
        warm = 0
        for step, recorded in zip(session.steps, requests_of(session), strict=True):
            answer = await answered(transport, in_form(dialect, recorded, offered_model(session)), dialect)
            requests += 1
            assert answer.model == f"recorded:{session.model}"
            texts = "".join(part.text for part in answer.parts if isinstance(part, Text))
            assert texts.split() == (step.out["content"] or "").split()
            calls = [part.name for part in answer.parts if isinstance(part, ToolCall)]
            assert calls == [call["function"]["name"] for call in step.out.get("tool_calls", [])]
            if step.usage:
                assert (answer.usage.input, answer.usage.output) == (step.usage.input, step.usage.output)
            # What one request sent, the next one reads: whole, but for the steps of 128 tokens.
            expected = warm // 128 * 128 if warm >= 1024 else 0
            assert answer.usage.cache_read >= expected
            warm = answer.usage.input
    assert requests == sum(len(session.steps) for session in PACKAGED) == 102


@pytest.mark.parametrize(("caller", "provider"), [(ANTHROPIC, OPENAI), (OPENAI, ANTHROPIC)])
async def test_a_translated_request_finds_its_turn(caller, provider):
    transport = RecordedTransport(turns_of(PACKAGED, OPENAI), provider)
    for session in PACKAGED:
        for recorded in requests_of(session):
            sent = in_form(caller, recorded, offered_model(session)).body
            body = provider.encode_request(caller.decode_request(sent)).body
            asked = UpstreamRequest(method="POST", url="http://recorded/v1/x", headers=[], body=body)
            assert (await answered(transport, asked, provider)).model == f"recorded:{session.model}"


async def test_two_sessions_at_once_do_not_disturb_each_other():
    one, other = (
        s for s in PACKAGED if s.bench == "tau2-retail" and s.model == "gpt-4.1" and s.task.endswith(("/15", "/101"))
    )

    async def reads(*sessions):
        transport = RecordedTransport(turns_of(PACKAGED, OPENAI), OPENAI, clock=Clock())
        read = {s.id: [] for s in sessions}
        for step in itertools.zip_longest(*(requests_of(s) for s in sessions)):
            for session, recorded in zip(sessions, step, strict=True):
                if recorded is not None:
                    answer = await answered(transport, ask(openai_body(recorded, "frontier")))
                    read[session.id].append(answer.usage.cache_read)
        return read

    together = await reads(one, other)
    for session in (one, other):
        alone = (await reads(session))[session.id]
        # The second to come finds tools and system text warm; nothing else changes.
        assert together[session.id][1:] == alone[1:]
        assert alone[0] == 0
    assert together[other.id][0] > 0


async def test_a_pause_longer_than_the_lifetime_costs_the_cache():
    session = PACKAGED[0]
    clock = Clock()
    transport = RecordedTransport(turns_of(PACKAGED, OPENAI), OPENAI, clock=clock)
    for recorded in requests_of(session):
        answer = await answered(transport, ask(openai_body(recorded, "frontier")))
        assert answer.usage.cache_read == 0
        clock.now += AUTOMATIC.ttl_s


async def test_estimated_tokens_are_marked():
    session = next(s for s in PACKAGED if s.bench == "tau1-airline")
    transport = RecordedTransport(turns_of([session], OPENAI), OPENAI)
    response = await transport.send(ask(openai_body(next(requests_of(session)), "frontier")))
    assert dict(response.headers)["x-recorded-usage"] == "estimated"
