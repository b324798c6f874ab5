"""Virtual keys over real sockets: made, limited, rotated, revoked; and never seen again."""

import asyncio
import json
import time

import pytest

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer, stream

PATH = "/v1/chat/completions"
ADMIN = [("authorization", "Bearer adm-secret")]
TOML = '[server]\nadmin_key = "adm-secret"\n'
ASK = {"model": "lab/small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


async def call(gw, key, **more):
    return await post(gw.url, PATH, json.dumps({**ASK, **more}).encode(), [("authorization", f"Bearer {key}")])


async def admin(gw, method, path, value=None, headers=ADMIN):
    body = b"" if value is None else json.dumps(value).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(gw.url.rpartition(":")[2]))
    head = "".join(f"{k}: {v}\r\n" for k, v in headers)
    writer.write(
        f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}".encode()
        + f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    raw = await reader.read()
    writer.close()
    return int(raw.split()[1]), json.loads(raw.partition(b"\r\n\r\n")[2])


async def made(gw, name="ci", **limits):
    status, told = await admin(gw, "POST", "/admin/keys", {"name": name, **limits})
    assert status == 200
    return told["key"]


def code(raw):
    return json.loads(raw)["error"]["code"]


async def test_the_first_key_closes_the_gateway_and_is_shown_once(tmp_path, caplog):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        assert (await post(gw.url, PATH, json.dumps(ASK).encode()))[0] == 200
        key = await made(gw, owner="ann", team="core")
        assert key.startswith("sk-turnout-")
        status, _, raw = await post(gw.url, PATH, json.dumps(ASK).encode())
        assert (status, code(raw)) == (401, "invalid_api_key")
        assert (await call(gw, key))[0] == 200
        assert (await call(gw, key[:-1] + "x"))[0] == 401
        _, listed = await admin(gw, "GET", "/admin/keys")
        (row, _) = await gw.booked(2)
        assert (row.key_id, row.team) == ("ci", "core")
        everything = json.dumps(listed) + caplog.text + repr(vars(gw.engine.keyring)) + repr(gw.engine.keyring._keys)
    stored = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    assert key.encode() not in stored + everything.encode()
    assert listed["data"][0]["hint"] == f"...{key[-4:]}"
    assert (tmp_path / "ledger.db.secret").stat().st_mode & 0o777 == 0o600
    # A restart knows it.
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        assert (await call(gw, key))[0] == 200


async def test_rotated_keys_open_for_their_grace_and_revoked_ones_never(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        first = await made(gw)
        _, told = await admin(gw, "POST", "/admin/keys/ci/rotate", {"grace_s": 3600})
        second = told["key"]
        assert [(await call(gw, key))[0] for key in (first, second)] == [200, 200]
        _, told = await admin(gw, "POST", "/admin/keys/ci/rotate")
        third = told["key"]
        assert [(await call(gw, key))[0] for key in (first, second, third)] == [401, 401, 200]
        assert b"was rotated; use the new one" in (await call(gw, second))[2]
        assert (await admin(gw, "DELETE", "/admin/keys/ci"))[1]["state"] == "revoked"
        status, _, raw = await call(gw, third)
        assert (status, b"was revoked at" in raw) == (401, True)
        assert (await post(gw.url, PATH, json.dumps(ASK).encode()))[0] == 401, "without any key it is shut, not open"


async def test_an_expired_key_says_when(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        key = await made(gw, expires="2020-01-01T00:00:00Z")
        status, _, raw = await call(gw, key)
    assert (status, b"expired at 2020-01-01 00:00 UTC" in raw) == (401, True)


async def test_a_key_opens_its_models_and_modes_alone(tmp_path):
    toml = TOML + '[modes]\nplan = "claude/big"\nfast = "lab/small"\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url, up.url), tmp_path) as gw:
        key = await made(gw, models=["tier/small"], modes=["fast"])
        assert (await call(gw, key))[0] == 200
        status, _, raw = await call(gw, key, model="claude/big")
        assert (status, code(raw)) == (403, "model_not_allowed")
        assert (await call(gw, key, model="auto"))[1]["x-turnout-model"] == "lab/small"
        status, _, raw = await call(gw, key, model="mode/plan")
        assert (status, code(raw)) == (403, "mode_not_allowed")
        assert (await call(gw, key, model="mode/fast"))[0] == 200
        _, listed = await admin(gw, "GET", "/v1/models", headers=[("x-api-key", key)])
    names = {m["id"] for m in listed["data"]}
    assert {"lab/small", "mode/fast"} <= names
    assert not {"claude/big", "mode/plan"} & names


async def test_requests_tokens_and_concurrency_are_limited(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        requests, tokens = await made(gw, "r", rpm=2), await made(gw, "t", tpm=1000)
        assert [(await call(gw, requests))[0] for _ in range(3)] == [200, 200, 429]
        status, headers, raw = await call(gw, requests)
        assert (status, code(raw), 1 <= int(headers["retry-after"]) <= 31) == (429, "rate_limited", True)
        # The provider reports 1,010 tokens: what was estimated is corrected.
        assert [(await call(gw, tokens))[0] for _ in range(2)] == [200, 429]
    slow = stream(b"data: [DONE]\n\n", b"\n", pause_s=0.3)
    async with ScriptedUpstream(slow) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        one = await made(gw, "c", max_concurrency=1)
        first = asyncio.create_task(call(gw, one, stream=True))
        async with asyncio.timeout(5):
            while not up.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await call(gw, one))[0] == 429
        await first
        assert (await call(gw, one, stream=True))[0] == 200
        assert (await admin(gw, "PATCH", "/admin/keys/c", {"max_concurrency": 5}))[1]["max_concurrency"] == 5


async def test_a_key_made_by_another_process_is_known_within_a_second(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(TOML + lab(up.url), tmp_path) as gw:
        key = await made(gw)
        async with gateway(TOML + lab(up.url), tmp_path) as other:
            await admin(other, "DELETE", "/admin/keys/ci")
            later = await made(other, "later")
        gw.engine.keyring._looked_s = time.monotonic() - 2
        assert [(await call(gw, k))[0] for k in (key, later)] == [401, 200]


@pytest.mark.parametrize(
    ("method", "path", "value", "status"),
    [
        ("POST", "/admin/keys", {"name": "a b"}, 400),
        ("POST", "/admin/keys", {"name": "x", "rpm": 0}, 400),
        ("POST", "/admin/keys", {"name": "x", "rpn": 1}, 400),
        ("POST", "/admin/keys", {"name": "x", "expires": "2027-01-01T00:00:00"}, 400),
        ("POST", "/admin/keys", {"name": "given"}, 400),
        ("DELETE", "/admin/keys/given", None, 400),
        ("DELETE", "/admin/keys/nobody", None, 404),
        ("POST", "/admin/keys/nobody/rotate", {"grace_s": -1}, 400),
    ],
)
async def test_bad_keys_are_refused(tmp_path, method, path, value, status):
    toml = TOML + '[keys.given]\nkey = "tk-given"\n'
    async with gateway(toml + lab("http://127.0.0.1:9"), tmp_path) as gw:
        got, told = await admin(gw, method, path, value)
        assert (got, "error" in told) == (status, True)
        assert (await admin(gw, method, path, value, headers=[("x-api-key", "tk-given")]))[0] == 401


async def test_teams_have_budgets(tmp_path):
    toml = TOML + '[budgets.core]\namount_usd = 0.00001\nmatch = { team = "core" }\n'
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml + lab(up.url), tmp_path) as gw:
        core, other = await made(gw, "a", team="core"), await made(gw, "b", team="other")
        assert [(await call(gw, k))[0] for k in (core, other)] == [402, 200]
