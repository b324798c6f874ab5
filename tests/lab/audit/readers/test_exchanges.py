"""Whole requests and answers: the envelopes they come in, whose conversation each is, and every recorded answer."""

import json

import pytest

from support.flatlogs import FIXTURES, read
from support.recordings import FIXTURES as RECORDED
from turnout.chat import Text, ToolCall
from turnout.dialects import DIALECTS
from turnout.errors import TurnoutError
from turnout.lab.audit.readers.base import Source, head_of
from turnout.lab.audit.readers.exchanges import EXCHANGES
from turnout.lab.audit.records import ReadTally

HERE = FIXTURES / "exchanges"
CASES = [(api, file) for api in DIALECTS for file in sorted((RECORDED / api).glob("*.json"))]


def written(tmp_path, *lines):
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def chat(messages, *, name="chatcmpl-0123456789abcdef", **more):
    answer = {
        "id": name,
        "object": "chat.completion",
        "created": 1_784_000_000,
        "model": "gpt-5.5",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }
    return {"request": {"model": "gpt-5.5", "messages": messages}, "response": answer, **more}


def said(*texts):
    roles = ["user", "assistant"] * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


@pytest.mark.parametrize(("api", "file"), CASES, ids=[f"{api}-{file.stem[:50]}" for api, file in CASES])
def test_a_recorded_answer_has_the_usage_that_its_dialect_reads(api, file):
    told = json.loads(file.read_text())
    steps, tally = read(EXCHANGES, file)
    assert EXCHANGES.claims(head_of(file))
    if not steps:
        assert tally.unknown
        return
    step = steps[0]
    assert step.failed == ((told["status"] or 200) >= 400)
    if told["streaming"] or step.failed:
        return
    try:
        answer = DIALECTS[api].decode_response(told["response"].encode())
    except TurnoutError:
        return
    expected = answer.usage
    assert (expected is None) == (step.usage is None)
    if expected is not None and step.usage is not None:
        assert (step.usage.input, step.usage.cache_read, step.usage.output) == (
            expected.input,
            expected.cache_read,
            expected.output,
        )


def test_what_a_proxy_wrote_of_one_claude_code_session():
    steps, _ = read(EXCHANGES, HERE / "claude_trace.jsonl")
    assert {step.session for step in steps} == {"2c718db8-42d7-40c8-8065-73dade1d8ea8"}
    first, second, streamed, overloaded = steps
    assert [first.agent, second.agent] == ["", ""]
    assert streamed.agent  # other words at the beginning: a conversation of its own
    assert first.usage and (first.usage.input, first.usage.cache_read, first.usage.output) == (1114, 1111, 406)
    assert second.usage and (second.usage.input, second.usage.cache_write) == (1532, 418)
    assert second.whole
    assert second.new[: len(first.new)] == first.new  # wherever the client put its cache marks
    assert streamed.usage and streamed.usage.output == 189
    assert streamed.at == 1_784_000_090.0
    assert overloaded.failed
    assert overloaded.usage is None


def test_the_batch_apis_answers_count_at_the_batch_tier():
    for name in ("openai_batch_output.jsonl", "anthropic_batch_results.jsonl"):
        steps, told = read(EXCHANGES, HERE / name)
        assert [step.usage and step.usage.service_tier for step in steps] == ["batch"]
        assert not steps[0].whole
        assert steps[0].new == ()
        assert sum(told.unknown.values()) == 1  # the one that failed


def test_helicone_har_and_litellm_callbacks():
    helicone, har, litellm = (
        read(EXCHANGES, HERE / name)[0][0] for name in ("helicone.jsonl", "har.json", "litellm_callback.jsonl")
    )
    assert (helicone.session, helicone.cost_nano_usd) == ("sess-7", 420_000)
    assert (har.session, har.provider, len(har.tools or ())) == ("cdx-1", "openai", 1)
    assert (litellm.cost_nano_usd, litellm.usage and litellm.usage.input) == (280_000, 12)
    assert any(isinstance(part, ToolCall) for part in har.out)


def test_answers_that_the_provider_keeps_bring_only_what_is_new():
    first, second, third = read(EXCHANGES, HERE / "responses_kept.jsonl")[0]
    assert len({step.session for step in (first, second, third)}) == 1
    assert [step.whole for step in (first, second, third)] == [True, False, False]
    # The answer to a whole request comes with the next; later ones the digest adds itself.
    assert [m.role for m in second.new] == ["assistant", "user"]
    assert [m.role for m in third.new] == ["user"]
    assert first.effort == "low"


def test_conversations_without_names_are_told_by_what_was_said(tmp_path):
    path = written(
        tmp_path,
        chat(said("plan a trip"), name="chatcmpl-000000000000000001"),
        chat(said("name a river"), name="chatcmpl-000000000000000002"),
        chat(said("plan a trip", "ok", "cheaper"), name="chatcmpl-000000000000000003"),
        chat(said("plan a trip"), name="chatcmpl-000000000000000004"),
        chat(said("plan a trip", "ok", "cheaper", "ok", "thanks"), name="chatcmpl-000000000000000005"),
    )
    one, other, two, again, three = read(EXCHANGES, path)[0]
    assert one.session == two.session == three.session
    assert len({one.session, other.session, again.session}) == 3


def test_names_come_before_words_and_traces_only_join(tmp_path):
    path = written(
        tmp_path,
        chat(said("hi"), name="chatcmpl-000000000000000001", metadata={"session_id": "a"}),
        chat(said("hi"), name="chatcmpl-000000000000000002", metadata={"session_id": "b"}),
        chat(said("ho"), name="chatcmpl-000000000000000003", trace_id="t1"),
        chat(said("ho", "ok", "hum"), name="chatcmpl-000000000000000004", trace_id="t2"),
        chat(said("aside"), name="chatcmpl-000000000000000005", trace_id="t1"),
    )
    assert [step.session for step in read(EXCHANGES, path)[0]] == ["a", "b", "t1", "t1", "t1"]


def test_names_that_many_answers_share_are_no_names(tmp_path):
    path = written(tmp_path, *(chat(said(f"q{n}"), name="chatcmpl-417") for n in range(2)))
    first, second = read(EXCHANGES, path)[0]
    assert first.id == second.id == "chatcmpl-417@1784000000"
    line = chat(said("q"), name="0")
    del line["response"]["created"]
    assert read(EXCHANGES, written(tmp_path, line))[0][0].id == ""


def test_a_stream_that_was_cut_keeps_what_came(tmp_path):
    events = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude-opus-5", "usage": {"input_tokens": 9}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    ]
    request = {"model": "claude-opus-5", "system": "s", "max_tokens": 9, "messages": said("hi")}
    text = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events)
    for body in (text, text.replace("\n\n", "\n"), events):
        (step,), _ = read(EXCHANGES, written(tmp_path, {"request": request, "response": body}))
        assert step.out == (Text(text="Hel"),)
        assert step.usage and (step.usage.input, step.usage.output) == (9, None)
        assert not step.failed


def test_requests_that_no_provider_would_take_are_still_seen(tmp_path):
    odd = chat([{"role": "tool", "content": "no id"}, {"role": "banana", "content": 7}])
    (step,), told = read(EXCHANGES, written(tmp_path, odd))
    assert [m.role for m in step.new] == ["tool", "user"]
    assert told.bad == 0


def test_what_is_no_conversation_is_counted(tmp_path):
    embedding = {
        "request": {
            "method": "POST",
            "url": "https://api.openai.com/v1/embeddings",
            "body": {"input": "x", "model": "e"},
        },
        "response": {"status": 200, "body": {"object": "list", "data": []}},
    }
    steps, told = read(EXCHANGES, written(tmp_path, embedding, chat(said("hi")), {"a": 1}))
    assert len(steps) == 1
    assert told.unknown == {"api.openai.com/v1/embeddings": 1, "line of a": 1}


def test_files_of_one_recorded_conversation_are_one_source(tmp_path):
    names = ["talk_0.json", "talk_10.json", "talk_2.json", "other.json"]
    grouped = EXCHANGES.group([tmp_path / name for name in names]) if EXCHANGES.group else []
    assert [[path.name for path in source.paths] for source in grouped] == [
        ["talk_0.json", "talk_2.json", "talk_10.json"],
        ["other.json"],
    ]


def test_a_first_line_longer_than_the_head_is_recognised(tmp_path):
    path = written(tmp_path, chat(said("x" * 200_000)))
    assert EXCHANGES.claims(head_of(path))
    told = ReadTally()
    assert len(list(EXCHANGES.read(Source(paths=(path,)), told))) == 1
