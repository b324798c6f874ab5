"""Webhooks: signed as Standard Webhooks says, sent again while it fails, and told of brakes."""

import asyncio
import base64
import hashlib
import hmac
import json

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import Script, ScriptedUpstream, answer
from turnout import alerts
from turnout.alerts import signature, signing_key

PATH = "/v1/chat/completions"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def body(n: int) -> bytes:
    told = {
        "model": "lab/small",
        "messages": [{"role": "user", "content": "hello"}, *[{"role": "user", "content": "x"}] * n],
    }
    return json.dumps(told).encode()


async def held_session(gw) -> None:
    """Two requests of a session that may have one step."""
    session = [("x-turnout-session", "s-1")]
    assert (await post(gw.url, PATH, body(0), session))[0] == 200
    assert (await post(gw.url, PATH, body(1), session))[0] == 403


async def sent(gw, result: str) -> None:
    async with asyncio.timeout(5):
        while not gw.engine.state.alerts.counts[result]:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.01)


def test_the_signature_is_the_one_of_the_standards_own_example():
    # https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md
    key, told = signing_key(SECRET), b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, told) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )
    assert signing_key("plain words") == b"plain words"
    assert signing_key("whsec_no base64!") == b"whsec_no base64!"


async def test_a_brake_is_told_with_a_signature_that_holds(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(answer({}, 503), answer({})) as hook:
        toml = f'[telemetry]\nwebhook = "{hook.url}/s3cret"\nwebhook_secret = "{SECRET}"\n'
        toml += "[brakes]\nmax_session_steps = 1\n"
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            gw.engine.state.alerts._waits_s = (0.0, 0.0)
            await held_session(gw)
            await sent(gw, "delivered")
    first, second = hook.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    told = second.json()
    assert (told["event"], told["session"], told["brake"], told["action"]) == (
        *("brake", "s-1", "max_session_steps"),
        "pause",
    )
    assert "hello" not in second.body.decode()
    signed = f"{second.headers['webhook-id']}.{second.headers['webhook-timestamp']}.".encode() + second.body
    digest = hmac.new(base64.b64decode(SECRET[6:]), signed, hashlib.sha256).digest()
    assert second.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(("status", "tries"), [(500, 3), (410, 1)])
async def test_a_receiver_that_fails_is_tried_again_and_one_that_is_gone_is_not(tmp_path, caplog, status, tries):
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(answer({}, status)) as hook:
        toml = f'[telemetry]\nwebhook = "{hook.url}/s3cret"\n[brakes]\nmax_session_steps = 1\n'
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            gw.engine.state.alerts._waits_s = (0.0, 0.0, 0.0)
            await held_session(gw)
            await sent(gw, "failed")
    assert len(hook.requests) == tries
    assert "webhook-signature" not in hook.requests[0].headers
    assert "correct telemetry.webhook" in caplog.text
    assert "s3cret" not in caplog.text


async def test_what_waits_for_its_next_try_has_it_before_the_gateway_ends(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(answer({}, 503), answer({})) as hook:
        toml = f'[telemetry]\nwebhook = "{hook.url}"\n[brakes]\nmax_session_steps = 1\n'
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            gw.engine.state.alerts._waits_s = (0.0, 3_600.0)
            await held_session(gw)
            async with asyncio.timeout(5):
                while not hook.requests:  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.01)
    first, second = hook.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_receiver_that_stays_away_is_told_of_when_the_gateway_ends(tmp_path, caplog):
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(answer({}, 503)) as hook:
        toml = f'[telemetry]\nwebhook = "{hook.url}/s3cret"\n[brakes]\nmax_session_steps = 1\n'
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            gw.engine.state.alerts._waits_s = (0.0, 3_600.0, 3_600.0)
            await held_session(gw)
            async with asyncio.timeout(5):
                while not hook.requests:  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.01)
    assert len(hook.requests) == 2
    assert "telemetry.webhook could not be reached: it answered 503" in caplog.text
    assert "s3cret" not in caplog.text


async def test_a_receiver_that_is_silent_when_the_gateway_ends_is_told_of_too(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(alerts, "LEAVE_S", 0.1)
    async with ScriptedUpstream(answer(CHAT)) as up, ScriptedUpstream(Script(hang=True)) as hook:
        toml = f'[telemetry]\nwebhook = "{hook.url}/s3cret"\n[brakes]\nmax_session_steps = 1\n'
        async with gateway(toml + lab(up.url), tmp_path) as gw:
            await held_session(gw)
            async with asyncio.timeout(5):
                while not hook.requests:  # noqa: ASYNC110 - nobody is told
                    await asyncio.sleep(0.01)
    assert gw.engine.state.alerts.counts["failed"] == 1
    assert "telemetry.webhook could not be reached: the gateway ended before it answered" in caplog.text
    assert "s3cret" not in caplog.text
