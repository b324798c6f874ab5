"""Langfuse exports, whoever wrote them."""

import pytest

from support.flatlogs import FIXTURES, read
from turnout.chat import Text, ToolResult, Usage
from turnout.lab.audit.readers.langfuse import LANGFUSE

HERE = FIXTURES / "langfuse"
FORMS = ["observations.jsonl", "observations.csv", "api_page.json", "blob_storage.jsonl", "blob_storage.csv"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same_oldest_first(form):
    steps, told = read(LANGFUSE, HERE / form)
    assert [step.id for step in steps] == ["o-2", "o-3", "o-4", "o-5"]
    first, second, thought, failed = steps
    # An integration that counted cached tokens twice: the total tells.
    assert first.usage == Usage(input=31000, cache_read=30000, output=150)
    assert second.usage == Usage(input=20502, cache_read=20000, cache_write=500, cache_write_1h=500, output=310)
    assert thought.usage == Usage(input=85, cache_read=25, output=59, reasoning=44)
    assert first.session == second.session == "trip-1"
    assert first.agent == second.agent == ""
    assert second.whole
    assert second.new[: len(first.new)] == first.new
    assert second.new[3].parts == (ToolResult(call_id="tu1", parts=(Text(text="nothing"),), is_error=True),)
    assert [tool.name for tool in first.tools or ()] == ["search"]
    assert (thought.cost_nano_usd, second.cost_nano_usd) == (420_000, 41_000_000)
    assert failed.failed
    assert told.unknown == {}


def test_a_trace_with_its_observations():
    steps, _ = read(LANGFUSE, HERE / "trace.json")
    assert [(step.id, step.session, step.project) for step in steps] == [
        ("o-2", "trip-1", "planner"),
        ("o-3", "trip-1", "planner"),
    ]


def test_kinds_that_nobody_knows_are_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id":"a","traceId":"t","type":"WISH","usageDetails":{}}\n[1]\n"x"\n')
    steps, told = read(LANGFUSE, path)
    assert steps == []
    assert told.unknown == {"observation of type WISH": 1}
    assert told.bad == 2
