"""Every way a provider may fail, with a healthy fallback and without: what the caller gets, and what is booked."""

import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from support.calls import post
from support.gateway import gateway, host
from support.hostile import FAULTS, HARMLESS, MIDWAY, HostileUpstream, refused_url
from support.shared import until
from support.upstream import ScriptedUpstream, answer

PATHS = {"openai-chat": "/v1/chat/completions", "anthropic-messages": "/v1/messages"}
ASK = {"model": "bad/m", "max_tokens": 50, "messages": [{"role": "user", "content": "The capital of France?"}]}
SECRETS = ("sk-up", "internal.example", "Traceback", "127.0.0.1")
WHOLE = [name for name in FAULTS if name not in MIDWAY]

STATUS = {
    "400": (400, {"e400", "invalid_request"}),
    "401": (502, {"upstream_error"}),
    "429": (429, {"rate_limited"}),
    "429 with retry-after": (429, {"rate_limited"}),
    "hang before headers": (504, {"upstream_timeout"}),
    "hang after headers": (504, {"upstream_timeout"}),
    "one byte at a time": (504, {"upstream_timeout"}),
    "50 MB event": (None, {"upstream_timeout", "upstream_error"}),  # as fast as this machine reads it
}
"""Status and code without a fallback; 502 `upstream_error` where nothing stands here."""


def config(bad, good=None, dialect="openai-chat"):
    """`bad/m`, which may keep silent for 0.4 s, and `good/m` as its fallback."""

    def named(url, name, more=""):
        told = host(url, dialect, "m").replace("providers.up", f"providers.{name}").replace("up/m", f"{name}/m")
        return told.replace('api_key = "sk-up"\n', f'api_key = "sk-up"\n{more}')

    hasty = "first_byte_timeout_s = 0.4\nidle_timeout_s = 0.3\n"
    fallback = '[fallbacks]\n"bad/m" = ["good/m"]\n' if good else ""
    return named(bad, "bad", hasty) + (named(good, "good") if good else "") + fallback + "[delivery]\nmax_wait_s = 1\n"


async def ask(gw, dialect, streaming):
    body = json.dumps({**ASK, "stream": streaming}).encode()
    status, headers, raw = await post(gw.url, PATHS[dialect], body)
    if headers.get("transfer-encoding") == "chunked":
        raw = b"".join(line for n, line in enumerate(raw.split(b"\r\n")) if n % 2)
    return status, headers, raw.decode()


def text_of(raw, streaming):
    """What a client reads in an answer of either format."""
    if not streaming:
        told = json.loads(raw)
        return told["choices"][0]["message"]["content"] if "choices" in told else told["content"][0]["text"]
    events = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    chat = [c["delta"].get("content") or "" for e in events for c in e.get("choices", [])]
    return "".join(chat or [e["delta"].get("text", "") for e in events if e.get("type") == "content_block_delta"])


def tasks():
    """All tasks but the hostile provider's own: it shares our loop."""
    return {t for t in asyncio.all_tasks() if not t.get_coro().cr_code.co_filename.endswith("hostile.py")}


@pytest.fixture(params=["openai-chat", "anthropic-messages"])
def dialect(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "stream"])
def streaming(request):
    return request.param


@pytest.mark.parametrize("fault", WHOLE)
async def test_with_a_healthy_fallback_the_answer_arrives(tmp_path, fault, dialect, streaming):
    async with HostileUpstream(dialect, fault) as bad, HostileUpstream(dialect) as good:
        async with gateway(config(bad.url, good.url, dialect), tmp_path) as gw:
            before = tasks()
            status, headers, raw = await ask(gw, dialect, streaming)
            (row,) = await gw.booked()
            assert tasks() == before
        await until(lambda: (bad.open, good.open) == (0, 0))
    if fault == "400":  # the request's own fault: nobody else is asked
        assert (status, good.requests) == (400, 0)
        return
    assert status == 200
    assert text_of(raw, streaming) in ({"Paris.", "Paris.Paris."} if fault == "duplicate events" else {"Paris."})
    harmless = fault in HARMLESS
    assert headers["x-turnout-model"] == ("bad/m" if harmless else "good/m")
    assert (row.outcome, row.status) == ("ok", 200)
    if fault in {"wrong usage", "absurd usage"}:
        assert row.usage_estimated
        assert 0 < row.cost_nano_usd < 1_000_000
        assert row.output_tokens >= 1
    else:
        assert row.cost_nano_usd == (600 * 5 + 400 * 0.5 + 10 * 25) * 1000
    assert not any(secret in raw + str(headers) for secret in SECRETS)


@pytest.mark.parametrize("fault", [f for f in WHOLE if f not in HARMLESS])
async def test_without_one_the_caller_sees_what_happened(tmp_path, fault, dialect, streaming):
    async with HostileUpstream(dialect, fault) as bad:
        async with gateway(config(bad.url, dialect=dialect), tmp_path) as gw:
            before = tasks()
            status, headers, raw = await ask(gw, dialect, streaming)
            (row,) = await gw.booked()
            assert tasks() == before
        await until(lambda: bad.open == 0)
    wanted, codes = STATUS.get(fault, (502, {"upstream_error"}))
    error = json.loads(raw)["error"]
    wanted = wanted or status
    assert (status, error["code"] in codes) == (wanted, True), raw
    assert ("type" in json.loads(raw)) == (dialect == "anthropic-messages")
    assert headers.get("retry-after") == ("30" if fault == "429 with retry-after" else None)
    assert not any(secret in raw.replace(SECRETS[1] + " says", "") + str(headers) for secret in SECRETS)
    assert (row.outcome, row.status, row.cost_nano_usd or 0) == ("error", wanted, 0)
    assert 1 <= bad.requests <= 3


@pytest.mark.parametrize("fault", sorted(MIDWAY))
async def test_a_stream_that_fails_midway_ends_with_its_api_s_error_event(tmp_path, fault, dialect):
    async with HostileUpstream(dialect, fault) as bad, HostileUpstream(dialect) as good:
        async with gateway(config(bad.url, good.url, dialect), tmp_path) as gw:
            before = tasks()
            status, _, raw = await ask(gw, dialect, True)
            (row,) = await gw.booked()
            assert tasks() == before
        await asyncio.sleep(0.05)
        assert (bad.open, good.requests) == (0, 0)
    last = json.loads([line for line in raw.splitlines() if line.startswith("data: ")][-1][6:])
    assert status == 200
    assert last["error"]["message"]
    assert (row.outcome, row.deployment, row.usage_estimated) == ("error", "bad/m", True)
    assert row.cost_nano_usd > 0


async def test_a_connection_that_closes_just_as_it_is_reused_is_no_failure(tmp_path, dialect, streaming):
    up = HostileUpstream(dialect, "closed just as it is reused")
    async with up, gateway(config(up.url, dialect=dialect), tmp_path) as gw:
        for _ in range(5):
            assert (await ask(gw, dialect, streaming))[0] == 200
        rows = await gw.booked(5)
    assert {r.outcome for r in rows} == {"ok"}


@pytest.mark.parametrize("with_fallback", [True, False])
@pytest.mark.parametrize("where", ["nobody listens", "no such name", "the wrong name", "expired"])
async def test_no_connection_at_all(tmp_path, monkeypatch, where, with_fallback):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    name = "other.example" if where == "the wrong name" else "127.0.0.1"
    until = datetime.now(UTC) + timedelta(days=-1 if where == "expired" else 1)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=until, not_before=until - timedelta(days=9)).configure_cert(tls)
    async with HostileUpstream("openai-chat", tls=tls) as secure, HostileUpstream("openai-chat") as good:
        urls = {"nobody listens": refused_url(), "no such name": "http://nowhere.invalid"}
        toml = config(urls.get(where, secure.url), good.url if with_fallback else None)
        async with gateway(toml, tmp_path) as gw:
            status, headers, raw = await ask(gw, "openai-chat", False)
            await gw.booked()
    assert secure.requests == 0
    if with_fallback:
        assert (status, headers["x-turnout-model"]) == (200, "good/m")
    else:
        assert (status, json.loads(raw)["error"]["code"]) == (502, "upstream_unreachable")


async def test_the_right_name_and_date_are_believed(tmp_path, monkeypatch):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    async with HostileUpstream("openai-chat", tls=tls) as up, gateway(config(up.url), tmp_path) as gw:
        assert (await ask(gw, "openai-chat", False))[0] == 200


async def test_a_provider_that_repeats_its_key_is_not_quoted_with_it(tmp_path):
    said = answer({"error": {"message": "wrong key: sk-up", "code": "bad"}}, 400)
    async with ScriptedUpstream(said) as up, gateway(config(up.url), tmp_path) as gw:
        status, _, raw = await ask(gw, "openai-chat", False)
    assert (status, "wrong key: ***" in raw, "sk-up" in raw) == (400, True, False)
