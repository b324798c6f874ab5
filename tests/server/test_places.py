"""Several keys and regions of one provider, over real sockets; what the record says of a move; budgets of two calls."""

import json

from support.calls import CHAT, post
from support.gateway import gateway, host
from support.upstream import ScriptedUpstream, answer

ASK = {"model": "up/big", "max_tokens": 100, "messages": [{"role": "user", "content": "hi " * 2_000}]}
LIMITED = answer({"error": {"message": "slow down"}}, 429, headers={"retry-after": "60"})


async def ask(gw, *, session="s1", latency="interactive"):
    headers = [("x-turnout-session", session), ("x-turnout-latency", latency)]
    return await post(gw.url, "/v1/chat/completions", json.dumps(ASK).encode(), headers)


def used(up):
    return [r.headers["authorization"].removeprefix("Bearer ") for r in up.requests]


async def test_a_session_keeps_its_key_and_sessions_are_spread_over_all(tmp_path):
    toml_of = lambda url: host(url, "openai-chat").replace('"sk-up"', '"sk-up"\napi_keys = ["sk-2", "sk-3"]', 1)  # noqa: E731
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(toml_of(up.url), tmp_path) as gw:
        for number in range(30):
            await ask(gw, session=f"s{number}")
        keys = used(up)
        for number in range(30):
            await ask(gw, session=f"s{number}")
    assert set(keys) == {"sk-up", "sk-2", "sk-3"}
    assert used(up)[30:] == keys


async def test_a_key_that_is_limited_hands_over_to_the_next_and_the_price_of_the_move_is_told(tmp_path):
    toml_of = lambda url: host(url, "openai-chat").replace('"sk-up"', '"sk-up"\napi_keys = ["sk-2"]', 1)  # noqa: E731
    async with ScriptedUpstream(answer(CHAT), LIMITED, answer(CHAT)) as up, gateway(toml_of(up.url), tmp_path) as gw:
        await ask(gw)
        status, headers, _ = await ask(gw)
        assert (status, headers["x-turnout-attempts"]) == (200, "2")
        assert (await ask(gw))[1]["x-turnout-attempts"] == "1"
        rows = await gw.booked(3)
    first, limited, moved = used(up)[:3]
    assert first == limited != moved
    assert used(up)[3] == moved, "the session stays where it went"
    story = rows[1].attempt_log
    assert story[0]["reason"] == "rate_limited"
    assert {a.get("target", "up/big") for a in story} == {"up/big", "up/big@key2"}


async def test_a_region_of_its_own(tmp_path):
    async with ScriptedUpstream(answer({}, 503)) as first, ScriptedUpstream(answer(CHAT)) as second:
        toml = (
            host(first.url, "openai-chat")
            + f'[providers.up.endpoints.eu]\nbase_url = "{second.url}"\napi_key = "sk-eu"\n'
        )
        async with gateway(toml, tmp_path) as gw:
            for number in range(8):
                assert (await ask(gw, session=f"s{number}"))[0] == 200
    assert set(used(second)) == {"sk-eu"}
    assert set(used(first)) <= {"sk-up"}


async def test_limits_that_a_provider_told_are_kept_before_it_says_429(tmp_path):
    told = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "30s"}
    toml_of = lambda a, b: (  # noqa: E731
        host(a, "openai-chat")
        + host(b, "openai-chat").replace("providers.up", "providers.two").replace("up/big", "two/big")
        + '[fallbacks]\n"up/big" = ["two/big"]\n'
    )
    one, two = ScriptedUpstream(answer(CHAT, headers=told)), ScriptedUpstream(answer(CHAT))
    async with one, two, gateway(toml_of(one.url, two.url), tmp_path) as gw:
        models = [(await ask(gw))[1]["x-turnout-model"] for _ in range(3)]
        _, _, raw = await post(gw.url, "/v1/route", json.dumps(ASK).encode())
    assert models == ["up/big", "two/big", "two/big"]
    assert len(one.requests) == 1
    assert json.loads(raw)["model"] == "two/big"


async def test_a_fallback_that_leads_nowhere_is_told_of_at_the_start(tmp_path, caplog):
    toml = host("http://127.0.0.1:9", "openai-chat") + '[fallbacks]\n"up/big" = ["lab/bigg", "up/other"]\n'
    async with gateway(toml, tmp_path):
        pass
    (told,) = [r.getMessage() for r in caplog.records]
    assert told.startswith('fallbacks."up/big": there is no model lab/bigg here')


async def test_a_request_that_may_be_called_twice_reserves_twice(tmp_path):
    """100 tokens out at 25 USD a million and some 2,000 in at 5: 0.0125 USD at worst, twice that with a rival."""
    budget = "[budgets.all]\namount_usd = 0.02\n"
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with ScriptedUpstream(answer(CHAT)) as up:
        async with gateway(host(up.url, "openai-chat") + budget, tmp_path / "a") as gw:
            assert (await ask(gw))[0] == 200
        async with gateway(host(up.url, "openai-chat") + budget + "[delivery]\nhedge = true\n", tmp_path / "b") as gw:
            assert (await ask(gw))[0] == 402
            assert (await ask(gw, latency="batch"))[0] == 200
