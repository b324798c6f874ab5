"""One question to each provider: what is asked, with which key, and what an answer means."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from support.upstream import Script, ScriptedUpstream, answer
from turnout.config import parse_config
from turnout.newcomer.doctor.offer import examine
from turnout.newcomer.doctor.online import Reply, ask_all, judged, question_of
from turnout.providers.registry import PROVIDERS

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OPENAI = {"data": [{"id": "big"}, {"id": "small"}]}
GEMINI = {"models": [{"name": "models/big"}]}


async def asked(dialect, *scripts, model="big"):
    async with ScriptedUpstream(*scripts) as up:
        config = parse_config(
            f'[providers.up]\ndialect = "{dialect}"\nbase_url = "{up.url}"\napi_key = "sk-up"\n[models."up/{model}"]\n',
            {},
        )
        places, fleet, _ = await examine(config, {}, discover=False)
        return await ask_all(places, fleet), up.requests


@pytest.mark.parametrize(
    ("dialect", "path", "header", "listed"),
    [
        ("openai-chat", "/models", ("authorization", "Bearer sk-up"), OPENAI),
        ("anthropic-messages", "/v1/models?limit=1000", ("x-api-key", "sk-up"), OPENAI),
        ("gemini", "/v1beta/models?pageSize=1000", ("x-goog-api-key", "sk-up"), GEMINI),
    ],
)
async def test_each_kind_of_host_is_asked_once_for_its_models(dialect, path, header, listed):
    (found,), (request,) = await asked(dialect, answer(listed))
    assert found.state == "ok"
    assert (request.method, request.path, request.headers[header[0]]) == ("GET", path, header[1])


@pytest.mark.parametrize(
    ("status", "state"), [(401, "fail"), (403, "fail"), (404, "warn"), (429, "warn"), (500, "warn")]
)
async def test_what_a_status_means(status, state):
    (found,), _ = await asked("openai-chat", answer({}, status))
    assert found.state == state
    assert "sk-up" not in f"{found.told}{found.next}"


async def test_a_host_that_is_not_there():
    config = parse_config('[providers.up]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:1/v1"\n', {})
    places, _, _ = await examine(config, {}, discover=False)
    (found,) = await ask_all(places, ())
    assert found.state == "fail"


@pytest.mark.parametrize(
    "script", [Script(drop=True), Script(body=b"\xff{", status=200), answer([1]), answer({"data": 1})]
)
async def test_a_host_that_answers_nonsense_is_no_crash(script):
    findings, _ = await asked("openai-chat", script)
    assert findings


async def test_a_model_that_the_host_does_not_list():
    (_, found), _ = await asked("openai-chat", answer(OPENAI), model="gone")
    assert found.state == "warn"
    assert "gone" in found.told


async def test_a_clock_that_is_off():
    late = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    (_, found), _ = await asked("openai-chat", answer(OPENAI, headers={"date": late}))
    assert (found.check, found.state) == ("clock", "fail")


async def test_who_is_not_reached_over_our_network_is_not_asked():
    places, fleet, _ = await examine(parse_config("[providers.embedded]\n", {}), {}, discover=False)
    (found,) = await ask_all(places, fleet)
    assert (found.state, "not asked" in found.told) == ("warn", True)


def test_azure_lists_models_and_not_deployments():
    reply = Reply(status=200, body=b'{"data":[{"id":"gpt-4.1"}]}')
    assert [one.state for one in judged("azure", PROVIDERS["azure"], reply, ["my-deployment"], NOW)] == ["ok"]


def test_what_is_asked_of_whom():
    assert question_of(PROVIDERS["openrouter"]) == "/key", "its list is public"
    assert question_of(PROVIDERS["bedrock"]) is None
    assert {name for name, row in PROVIDERS.items() if question_of(row) is None} == {"bedrock"}
