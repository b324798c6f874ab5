"""OpenTelemetry spans in the conventions that there were and are."""

import json

import pytest

from support.flatlogs import FIXTURES, read
from turnout.chat import Text, ToolCall, ToolResult, Usage
from turnout.lab.audit.readers.genai import is_call, step_of
from turnout.lab.audit.readers.otel import OTEL

HERE = FIXTURES / "otel"


def test_the_current_convention():
    steps, told = read(OTEL, HERE / "current.jsonl")
    first, second, failed = steps
    assert {step.session for step in steps} == {"conv-tides"}
    assert {step.project for step in steps} == {"harbour"}
    assert first.usage == Usage(input=20502, cache_read=20000, cache_write=500, output=310)
    assert second.usage == Usage(input=21000, cache_read=20500, output=40, reasoning=12)
    assert [m.role for m in second.new] == ["system", "user", "assistant", "tool"]  # as a text, and structured
    assert second.new[3].parts == (ToolResult(call_id="call_tide", parts=(Text(text="14:20, 3.1 m ± 0.2"),)),)
    assert [tool.name for tool in first.tools or ()] == ["get_tide"]
    assert failed.failed
    assert told.unknown == {"resourceLogs": 1}


def test_openllmetry_spells_messages_as_attributes():
    (step,), _ = read(OTEL, HERE / "openllmetry.jsonl")
    assert step.usage == Usage(input=412, cache_read=256, output=18)
    assert step.session == "parcel-5"
    assert step.out == (ToolCall(id="call_parcel", name="find_parcel", arguments='{"parcel": "p-5"}'),)
    assert [tool.name for tool in step.tools or ()] == ["find_parcel"]


def test_openinference_and_a_call_that_was_measured_twice():
    (step,), told = read(OTEL, HERE / "openinference.json")
    assert step.usage == Usage(input=83, cache_read=0, output=9)
    assert [type(part) for part in step.out] == [ToolCall]
    assert told.unknown == {"span around other model calls": 1}


def test_the_vercel_ai_sdk_and_events_of_the_older_convention():
    vercel, then = read(OTEL, HERE / "vercel_and_events.jsonl")[0]
    # Anthropic's own count leaves out what was cached.
    assert vercel.usage == Usage(input=20502, cache_read=20000, cache_write=500, cache_write_1h=500, output=310)
    assert vercel.session == "web-9"
    assert isinstance(vercel.new[2].parts[0], ToolResult)
    assert vercel.new[2].parts[0].is_error
    assert [m.role for m in then.new] == ["system", "user"]
    assert then.out == (Text(text="Hello"),)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"gen_ai.operation.name": "chat"}, True),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}, False),
        ({"gen_ai.operation.name": "embeddings", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}, False),
        ({"openinference.span.kind": "AGENT", "llm.token_count.prompt": 3}, False),
        ({"ai.operationId": "ai.streamText", "ai.usage.promptTokens": 3, "ai.model.id": "m"}, False),
        ({"ai.operationId": "ai.streamText.doStream"}, True),
        ({"gen_ai.request.model": "m", "gen_ai.usage.prompt_tokens": 3}, True),
        ({"http.method": "GET"}, False),
    ],
)
def test_which_spans_are_requests_to_models(told, expected):
    assert is_call(told) is expected


@pytest.mark.parametrize(
    ("cached", "total", "expected"),
    [
        (80, None, 100),  # by the convention within
        (80, 200, 180),  # the total says: beside
        (300, None, 400),  # more than the whole: beside
        (80, 120, 100),
    ],
)
def test_cached_tokens_within_the_input_or_beside_it(cached, total, expected):
    told = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20}
    told |= {"gen_ai.usage.cache_read.input_tokens": cached}
    told |= {} if total is None else {"gen_ai.usage.total_tokens": total}
    usage = step_of(told, (), failed=False).usage
    assert usage
    assert (usage.input, usage.cache_read, usage.output) == (expected, cached, 20)


def test_a_document_of_several_lines_is_read_by_element(tmp_path):
    batches = [json.loads(line)["resourceSpans"][0] for line in (HERE / "current.jsonl").read_text().splitlines()[:2]]
    path = tmp_path / "traces.json"
    path.write_text(json.dumps({"resourceSpans": batches}, indent=2))
    assert [step.usage for step in read(OTEL, path)[0]] == [
        step.usage for step in read(OTEL, HERE / "current.jsonl")[0]
    ]
