"""What was said, where it is kept: redacted for whoever looks, whole for admins alone, and never in a log."""

import json
import logging

import pytest

from server.test_console import Browser
from support.calls import CHAT, post, send
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer, stream
from turnout.server import texts

KEYS = """
[server]
admin_key = "adm-secret"
viewer_key = "view-secret"
[keys.team]
key = "sk-team-0123456789"
[keys.shy]
key = "sk-shy-0123456789"
learning = false
"""
KEEP = "[learning]\nkeep_prompts = true\n"
SECRET = "sk-proj-abcdefghijklmnop"
TOLD = {**CHAT, "choices": [{"index": 0, "message": {"role": "assistant", "content": "Write to bob@example.org."},
                             "finish_reason": "stop"}]}  # fmt: skip


def chat(*more):
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": '{"to": "ann@example.com"}'}}
    return {
        "model": "lab/small",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"My key is {SECRET}, call 030 1234 5678 or <b>me</b>"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "sent to ann@example.com"},
            *more,
        ],
    }


async def ask(gw, body, key="sk-team-0123456789"):
    headers = [("authorization", f"Bearer {key}")]
    status, told, _ = await post(gw.url, "/v1/chat/completions", json.dumps(body).encode(), headers)
    assert status == 200
    return f"/admin/requests/{told['x-turnout-request-id']}/texts"


async def look(gw, method, path, key="adm-secret"):
    status, headers, raw = await send(gw.url, method, path, b"", [("authorization", f"Bearer {key}")])
    assert headers["cache-control"] == "no-store"
    return status, json.loads(raw)


def said(told):
    return [
        (message["role"], part.get("name"), part["text"]) for message in told["messages"] for part in message["parts"]
    ]


async def test_it_is_redacted_for_all_and_whole_for_an_admin_who_asks(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with ScriptedUpstream(answer(TOLD)) as up, gateway(KEYS + KEEP + lab(up.url), tmp_path) as gw:
        path = await ask(gw, chat())
        for key in ("view-secret", "adm-secret"):
            status, told = await look(gw, "GET", path, key)
            assert status == 200
            assert told["redacted"] == {"KEY": 1, "PHONE": 1, "EMAIL": 3}
            assert said(told) == [
                ("system", None, "Be brief."),
                ("user", None, "My key is [KEY], call [PHONE] or <b>me</b>"),
                ("assistant", "send", '{"to": "[EMAIL]"}'),
                ("tool", None, "sent to [EMAIL]"),
            ]
            assert told["answer"] == [{"kind": "text", "text": "Write to [EMAIL].", "cut": 0}]
            assert not {SECRET, "ann@example.com"} & set(json.dumps(told).split())
        status, told = await look(gw, "POST", path)
        assert (status, told["redacted"]) == (200, None)
        assert SECRET in said(told)[1][2]
        assert told["answer"][0]["text"] == "Write to bob@example.org."
    assert SECRET not in caplog.text
    assert "example.com" not in caplog.text


async def test_nobody_else_sees_it_whole(tmp_path):
    async with ScriptedUpstream(answer(TOLD)) as up, gateway(KEYS + KEEP + lab(up.url), tmp_path) as gw:
        path = await ask(gw, chat())
        for key, status in (("view-secret", 403), ("sk-team-0123456789", 401), ("guess", 401)):
            got, _, raw = await send(gw.url, "POST", path, b"", [("authorization", f"Bearer {key}")])
            assert got == status
            assert SECRET.encode() not in raw
        assert (await send(gw.url, "GET", path, b"", [("authorization", "Bearer sk-team-0123456789")]))[0] == 401
        browser = Browser(gw.url)
        await browser.sign_in("adm-secret")
        assert (await browser.ask("POST", path, {}, x_turnout_csrf=None))[0] == 403  # another site's page
        assert (await browser.ask("POST", path, {}))[0] == 200
        for query in ("?whole=1", "?redact=0"):
            assert SECRET.encode() not in (await browser.ask("GET", path + query))[2]


async def test_a_stream_is_read_as_the_answer_it_was(tmp_path):
    piece = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "ann@example.com"}}]}
    last = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [f"data: {json.dumps(event)}\n\n".encode() for event in (piece, last)]
    script = stream(*events, b"data: [DONE]\n\n")
    async with ScriptedUpstream(script) as up, gateway(KEYS + KEEP + lab(up.url), tmp_path) as gw:
        path = await ask(gw, {**chat(), "stream": True})
        await gw.booked()
        _, told = await look(gw, "GET", path)
    assert told["answer"] == [{"kind": "text", "text": "[EMAIL]", "cut": 0}]


@pytest.mark.parametrize(
    ("keep", "key", "words"),
    [("", "sk-team-0123456789", "keep_prompts = true"), (KEEP, "sk-shy-0123456789", "learning = false")],
)
async def test_what_is_not_kept_is_said_to_be(tmp_path, keep, key, words):
    async with ScriptedUpstream(answer(TOLD)) as up, gateway(KEYS + keep + lab(up.url), tmp_path) as gw:
        path = await ask(gw, chat(), key)
        status, told = await look(gw, "GET", path)
        assert (status, told["kept"]) == (200, False)
        assert words in told["why"]
        assert (await look(gw, "POST", path))[1] == told
        assert (await look(gw, "GET", "/admin/requests/nobody/texts"))[1]["kept"] is False


async def test_a_long_conversation_is_shown_from_its_end_and_a_long_text_from_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(texts, "MOST_CHARACTERS", 60)
    monkeypatch.setattr(texts, "MOST_OF_ONE", 25)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    more = [
        {"role": "user", "content": f"xx {SECRET} " * 3},
        {"role": "user", "content": [{"type": "text", "text": "see"}, image]},
    ]
    async with ScriptedUpstream(answer(TOLD)) as up, gateway(KEYS + KEEP + lab(up.url), tmp_path) as gw:
        path = await ask(gw, chat(*more))
        _, told = await look(gw, "GET", path)
    assert told["left_out"] == 3
    assert told["messages"][-1]["parts"] == [{"kind": "text", "text": "see", "cut": 0}, {"kind": "image"}]
    (long,) = told["messages"][-2]["parts"]
    assert (long["text"], long["cut"]) == ("xx [KEY] xx [KEY] xx [KEY]"[:25], 2)
