"""The log as JSON: a line a request and one an event; no prompt and no key, whatever fails."""

import io
import json
import logging

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.requests import settled
from support.upstream import ScriptedUpstream, answer
from turnout.telemetry import logs
from turnout.telemetry.logs import JsonLog, json_log

PATH = "/v1/chat/completions"
PROMPT = "the launch code is swordfish"
log = logging.getLogger("turnout")


def lines(out: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_request_is_one_line_of_names_and_numbers():
    out = io.StringIO()
    told = JsonLog(out)
    told.settled(settled(request_id="req_7", key_id="team-a"))
    told.close()
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("+00:00")
    assert line == {
        "event": "request",
        "level": "info",
        "logger": "turnout.requests",
        "request_id": "req_7",
        "key": "team-a",
        "model": "lab/small",
        "dialect": "openai-chat",
        "reason": "simple",
        "stream": True,
        "outcome": "ok",
        "status": 200,
        "attempts": 1,
        "input_tokens": 1000,
        "cache_read_tokens": 600,
        "output_tokens": 200,
        "cost_usd": 0.0012,
        "duration_ms": 1200.0,
        "ttft_ms": 300.0,
        "overhead_ms": 1.1,
    }


def test_what_the_house_logs_goes_the_same_way():
    out = io.StringIO()
    with json_log(out):
        log.warning("budget %s has used %d %%", "team", 80)
    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("budget team has used 80 %", "warning", "turnout")


def test_a_fault_tells_where_it_was_and_not_what_it_said():
    out = io.StringIO()
    with json_log(out):
        try:
            int(PROMPT)
        except ValueError:
            log.exception("request %s failed", "req_1")
    (line,) = lines(out)
    assert line["exception"]["type"] == "ValueError"
    assert "test_logs.py" in line["exception"]["frames"][0]
    assert "swordfish" not in out.getvalue()


@pytest.mark.parametrize("key", ["sk-turnout-abc123def", "Bearer abcdefgh1234", "whsec_MfKQ9r8GKYqrTwjU"])
def test_a_key_in_a_sentence_is_hidden(key):
    out = io.StringIO()
    with json_log(out):
        log.warning("the provider says: wrong key %s", key)
    assert key.split()[-1] not in out.getvalue()
    assert "wrong key ***" in out.getvalue()


def test_lines_that_the_output_does_not_take_are_counted(monkeypatch):
    monkeypatch.setattr(logs, "MOST_WAITING", 0)
    out = io.StringIO()
    told = JsonLog(out)
    told.settled(settled())
    told.close()
    assert told.dropped == 1


async def test_requests_that_go_well_and_badly_leave_no_prompt_and_no_key(tmp_path, monkeypatch):
    out = io.StringIO()
    toml = '[keys.ci]\nkey = "sk-ci-secret-1"\n[learning]\nkeep_prompts = true\n'
    refusal = answer({"error": {"message": f"bad: {PROMPT}", "type": "invalid_request_error"}}, 400)
    body = json.dumps({"model": "lab/small", "messages": [{"role": "user", "content": PROMPT}]}).encode()
    with json_log(out) as told:
        async with (
            ScriptedUpstream(answer(CHAT), refusal, answer(CHAT)) as up,
            gateway(toml + lab(up.url), tmp_path) as gw,
        ):
            gw.engine.state.memory.signals.log = told
            headers = [("authorization", "Bearer sk-ci-secret-1"), ("x-turnout-tags", "feature=swordfish")]
            assert (await post(gw.url, PATH, body, headers))[0] == 200
            assert (await post(gw.url, PATH, body, headers))[0] == 400
            assert (await post(gw.url, PATH, body, [("x-api-key", "sk-wrong-secret-2")]))[0] == 401

            def broken(*_: object) -> None:
                raise ValueError(PROMPT, "sk-ci-secret-1")

            monkeypatch.setattr(gw.engine.pipeline, "open", broken)
            assert (await post(gw.url, PATH, body, headers))[0] == 500
    requests = [line for line in lines(out) if line["event"] == "request"]
    assert [(line["status"], line["key"]) for line in requests] == [(200, "ci"), (400, "ci")]
    assert any("failed" in line["event"] and "exception" in line for line in lines(out))
    for secret in ("swordfish", "launch code", "Paris", "secret-1", "secret-2", "sk-lab"):
        assert secret not in out.getvalue(), secret
