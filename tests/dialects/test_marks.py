"""Marks of where to cache: what is put in, and that nothing else changes."""

import json
import re
from hashlib import sha256

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnout.catalog.cache_rules import cache_rule_of
from turnout.chat import RequestOutline
from turnout.dialects import DIALECTS
from turnout.dialects.fields import join_fields
from turnout.dialects.marks import Ends, Marks, answers_ago, marked
from turnout.lab.sessions import anthropic_request, input_tokens, packaged_sessions, requests_of
from turnout.providers.recorded import PromptCache, chain_of

ANTHROPIC = DIALECTS["anthropic-messages"]
CHAT = DIALECTS["openai-chat"]
CONVERSE = DIALECTS["bedrock-converse"]
MARK = {"type": "ephemeral"}


def put(body: bytes, marks: Marks = Marks(), dialect=ANTHROPIC) -> bytes:  # noqa: B008 (frozen)
    """`body` with marks, its own bytes where none were put in."""
    told: RequestOutline = dialect.outline(body)
    done = marked(dialect.marks, Ends(told.fields, told.messages, told.roles, told.caches is not None), marks)
    return join_fields({**told.fields, **done.fields}) if done.fields else body


def test_the_ends_of_tools_system_and_the_newest_turn_are_marked_and_no_other_byte_changes():
    body = (
        b'{"model":"m","max_tokens":9,"system":"Be brief.",'
        b'"tools":[ {"name":"a","input_schema":{}}, {"name":"b","input_schema":{"type" : "object"}} ],'
        b'"messages":[ {"role":"user","content":"Hi \\u00e9"} , {"role": "assistant", "content": "Yes?"},\n'
        b' {"role":"user","content":[{"type":"text","text":"Go"}, {"type":"image","source":{}}]} ]}'
    )
    control = b'"cache_control":{"type":"ephemeral"}'
    assert put(body) == (
        b'{"model":"m","max_tokens":9,"system":[{"type":"text","text":"Be brief.",' + control + b"}],"
        b'"tools":[ {"name":"a","input_schema":{}}, {"name":"b","input_schema":{"type" : "object"},' + control + b"} ],"
        b'"messages":[ {"role":"user","content":[{"type":"text","text":"Hi \\u00e9",' + control + b"}]} "
        b', {"role": "assistant", "content": "Yes?"},\n'
        b' {"role":"user","content":[{"type":"text","text":"Go"}, {"type":"image","source":{},' + control + b"}]} ]}"
    )


def test_an_hour_is_asked_for_by_its_name():
    body = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
    assert b'"cache_control":{"type":"ephemeral","ttl":"1h"}' in put(body, Marks(ttl="1h"))


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": ""},
        {"type": "text", "text": " \n"},
        {"type": "container_upload", "file_id": "f"},
    ],
)
def test_a_block_that_takes_no_mark_leaves_it_to_the_one_before(block):
    body = request([{"role": "user", "content": [{"type": "text", "text": "Go"}, block]}])
    content = json.loads(put(body))["messages"][0]["content"]
    assert content == [{"type": "text", "text": "Go", "cache_control": MARK}, block]


def test_a_turn_that_takes_no_mark_leaves_it_to_the_turn_before():
    body = request(
        [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "?"}, {"role": "user", "content": " "}]
    )
    messages = json.loads(put(body))["messages"]
    assert messages[0]["content"][0]["cache_control"] == MARK
    assert messages[2]["content"] == " "


def test_a_prefilled_answer_is_not_marked_because_the_next_request_has_another_in_its_place():
    messages = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "{"}]
    after = json.loads(put(request(messages)))["messages"]
    assert after[0]["content"][0]["cache_control"] == MARK
    assert after[1] == messages[1]


def test_a_tool_that_is_loaded_late_takes_no_mark():
    tools = [{"name": "a", "input_schema": {}}, {"name": "b", "input_schema": {}, "defer_loading": True}]
    assert json.loads(put(request(tools=tools)))["tools"] == [{**tools[0], "cache_control": MARK}, tools[1]]


def test_null_stands_for_no_mark_and_is_replaced():
    text = {"type": "text", "text": "Go", "cache_control": None}
    after = json.loads(put(request([{"role": "user", "content": [text]}])))
    assert after["messages"][0]["content"] == [{**text, "cache_control": MARK}]


@pytest.mark.parametrize(
    "own",
    [
        {"cache_control": MARK},
        {"system": [{"type": "text", "text": "S", "cache_control": MARK}]},
        {"tools": [{"name": "a", "input_schema": {}, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Go", "cache_control": MARK}]}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "t",
                            "content": [{"type": "text", "text": "x", "cache_control": MARK}],
                        }
                    ],
                }
            ]
        },
    ],
)
def test_where_the_caller_set_marks_none_is_added(own):
    body = request(**own)
    assert put(body) == body


def test_a_hidden_name_of_a_mark_is_seen():
    body = request(cache_control=MARK).replace(b"cache_control", rb"cache\u005fcontrol")
    assert put(body) == body


def test_a_text_that_speaks_of_marks_is_none():
    body = request([{"role": "user", "content": 'what is "cache_control" and cachePoint?'}])
    assert put(body) != body


def test_the_end_of_the_previous_request_is_marked_again():
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"m{i}"} for i in range(9)]
    after = json.loads(put(request(messages), Marks(before=3)))["messages"]
    # With no tools and no system text there is room for the end before the last answer, too.
    assert [i for i, m in enumerate(after) if m["content"] != f"m{i}"] == [2, 6, 8]


def test_no_more_marks_than_the_provider_takes():
    messages = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"m{i}"} for i in range(9)]
    body = request(messages, system="S", tools=[{"name": "a", "input_schema": {}}])
    assert put(body, Marks(before=3)).count(b"cache_control") == 4
    assert put(body, Marks(before=3, most=3)).count(b"cache_control") == 3


def test_only_the_ends_asked_for_are_marked():
    body = request(system="S")
    assert json.loads(put(body, Marks(ends=("tools", "system"))))["messages"] == json.loads(body)["messages"]


# ---- Other formats -------------------------------------------------------------------------------------------


def test_converse_has_cache_points_after_what_they_end():
    told = {
        "system": [{"text": "S"}],
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}], "toolChoice": {"auto": {}}},
    }
    point = {"cachePoint": {"type": "default"}}
    after = json.loads(put(json.dumps(told).encode(), dialect=CONVERSE))
    assert after == {
        "system": [{"text": "S"}, point],
        "messages": [{"role": "user", "content": [{"text": "Hi"}, point]}],
        "toolConfig": {"tools": [*told["toolConfig"]["tools"], point], "toolChoice": {"auto": {}}},
    }
    again = json.dumps(after).encode()
    assert put(again, dialect=CONVERSE) == again


def test_a_chat_request_has_marks_in_content_parts_and_beside_results():
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    assert json.loads(put(body, dialect=CHAT))["messages"] == [
        {"role": "system", "content": [{"type": "text", "text": "S", "cache_control": MARK}]},
        {"role": "user", "content": [{"type": "text", "text": "Go", "cache_control": MARK}]},
        messages[2],
        {**messages[3], "cache_control": MARK},
    ]


def test_the_old_end_of_a_regrouped_conversation_is_found_by_counting_answers():
    # Two results became one message, so four messages are three there.
    ours = ["user", "assistant", "tool", "tool", "assistant", "tool"]
    there = ["user", "assistant", "user", "assistant", "user"]
    assert answers_ago(ours, 4, there) == 3
    assert answers_ago(ours, 1, there) == 1
    assert answers_ago(ours, None, there) is None
    assert answers_ago(ours, 6, there) is None


# ---- For every request ---------------------------------------------------------------------------------------

texts = st.text(max_size=12)
blocks = st.one_of(
    texts.map(lambda t: {"type": "text", "text": t}),
    texts.map(lambda t: {"type": "tool_result", "tool_use_id": "t", "content": t}),
    st.just({"type": "thinking", "thinking": "t", "signature": "s"}),
    st.just({"type": "image", "source": {"type": "url", "url": "u"}, "cache_control": None}),
)
contents = st.one_of(texts, st.lists(blocks, min_size=1, max_size=4))
requests = st.fixed_dictionaries(
    {
        "model": st.just("m"),
        "max_tokens": st.just(9),
        "messages": st.lists(
            st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents}),
            min_size=1,
            max_size=6,
        ),
    },
    optional={
        "system": contents,
        "tools": st.lists(st.fixed_dictionaries({"name": texts, "input_schema": st.just({})}), max_size=3),
    },
)


@given(told=requests, before=st.none() | st.integers(0, 8), spaced=st.booleans(), indent=st.booleans())
def test_without_the_marks_it_is_the_callers_request(told, before, spaced, indent):
    separators = (" , ", " : ") if spaced else (",", ":")
    body = json.dumps(told, separators=separators, indent=1 if indent else None).encode()
    after = put(body, Marks(before=before))
    assert unmarked(json.loads(after)) == unmarked(told)
    assert bare(after) == bare(body)
    assert count_marks(json.loads(after)) <= 4


steps = st.lists(st.integers(1, 60), min_size=1, max_size=5)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sizes=steps, known=st.booleans(), head=st.sampled_from([(), ("system",), ("tools",), ("system", "tools")]))
def test_each_step_finds_what_the_last_one_wrote(sizes, known, head):
    """Over a growing conversation: the same bytes up to the old end, and that within the lookback of a mark."""
    more = {"system": "S", "tools": [{"name": "a", "input_schema": {}}]}
    messages = [{"role": "user", "content": "begin"}]
    before: tuple[int, bytes, int] | None = None
    for step, size in enumerate(sizes):
        body = request(messages, **{name: more[name] for name in head})
        after = put(body, Marks(before=before[0] if before and known else None))
        marks, prefixes = positions(after)
        assert len(marks) <= 4
        if before is not None:
            _, prefix, position = before
            assert prefixes[position] == prefix
            assert any(0 <= mark - position < 20 for mark in marks)
        before = len(messages), prefixes[marks[-1]], marks[-1]
        calls = [{"type": "tool_use", "id": f"{step}-{i}", "name": "a", "input": {}} for i in range(size)]
        results = [{"type": "tool_result", "tool_use_id": call["id"], "content": "x"} for call in calls]
        messages = [*messages, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]


def test_the_packaged_sessions_read_what_can_be_read():
    """Anthropic's rule, simulated: of the tokens that the step before had sent, 95 % and more are read."""
    # The mark's own block is the first of the 20 that are searched.
    rule = cache_rule_of("anthropic", "claude-opus-4-8")
    read = repeated = 0
    for session in packaged_sessions():
        cache, sent, last = PromptCache(rule, clock=lambda: 0.0), None, 0
        for recorded in requests_of(session):
            body = json.dumps(anthropic_request(recorded, model="claude-opus-4-8")).encode()
            after = put(body, Marks(before=sent, most=rule.max_breakpoints))
            tokens = input_tokens(recorded)
            read += cache.visit(chain_of(ANTHROPIC.decode_request(after)), tokens).read
            repeated += last if last >= rule.minimum_tokens else 0
            sent, last = len(json.loads(body)["messages"]), tokens
    assert repeated > 100_000
    assert read / repeated >= 0.95


# ---- Tools of these tests ------------------------------------------------------------------------------------


def request(messages=None, **more) -> bytes:
    told = {"model": "m", "max_tokens": 9, "messages": messages or [{"role": "user", "content": "Go"}]}
    return json.dumps({**told, **more}).encode()


def unmarked(told):
    """A request's JSON without marks, and with every text as the list of one block that it stands for."""
    if isinstance(told, list):
        return [unmarked(item) for item in told]
    if not isinstance(told, dict):
        return told
    kept = {k: unmarked(v) for k, v in told.items() if k != "cache_control"}
    for name in ("content", "system"):
        if isinstance(kept.get(name), str) and "type" not in told:
            kept[name] = [{"type": "text", "text": kept[name]}]
    return kept


def count_marks(told) -> int:
    if isinstance(told, list):
        return sum(map(count_marks, told))
    if not isinstance(told, dict):
        return 0
    return bool(told.get("cache_control")) + sum(count_marks(v) for v in told.values())


def bare(body: bytes) -> bytes:
    """The bytes without what marking may add, wherever it stands; top-level white space is none of the request."""
    text = join_fields(ANTHROPIC.outline(body).fields)
    text = re.sub(rb',\s*"cache_control"\s*:\s*(null|\{"type":"ephemeral"\})', b"", text)
    return text.replace(b'[{"type":"text","text":', b"").replace(b"}]", b"")


def positions(body: bytes) -> tuple[list[int], list[bytes]]:
    """Where marks stand, counted in blocks, and each prefix as the provider reads it: without marks."""
    told = json.loads(body)
    system = told.get("system", [])
    items = [*told.get("tools", []), *([{"text": system}] if isinstance(system, str) else system)]
    for message in told["messages"]:
        content = message["content"]
        whole = [{"type": "text", "text": content}] if isinstance(content, str) else content
        items += [{**block, "role": message["role"]} for block in whole]
    marks = [i for i, item in enumerate(items) if "cache_control" in item]
    prefixes: list[bytes] = []
    so_far = sha256()
    for item in items:
        so_far.update(json.dumps({k: v for k, v in item.items() if k != "cache_control"}).encode())
        prefixes.append(so_far.digest())
    return marks, prefixes
