"""Rows of hosts: URLs, keys and the headers that go out and come back; what runs on this machine."""

import pytest

from support.upstream import Script, ScriptedUpstream, answer
from turnout.providers.apis import APIS, CHAT, url_of
from turnout.providers.discovery import Discovered, decode_models, discover_local
from turnout.providers.http import HttpTransport
from turnout.providers.registry import (
    PROVIDERS,
    ProviderRow,
    custom_row,
    filled_base,
    returned_headers,
    upstream_headers,
)

ENV = {
    "AZURE_OPENAI_ENDPOINT": "https://unit.openai.azure.com/",
    "GOOGLE_CLOUD_PROJECT": "p1",
    "GOOGLE_CLOUD_LOCATION": "global",
    "AWS_REGION": "eu-central-1",
}


def test_every_row_is_whole():
    for name, row in PROVIDERS.items():
        assert row.name == name
        assert filled_base(row, ENV).startswith("http://127.0.0.1:" if row.local else "https://")
        assert "{" not in filled_base(row, ENV)
        assert bool(row.key_env) is not (row.local or name == "vertex")
        assert row.api("", "m").path


@pytest.mark.parametrize(
    ("provider", "model", "url"),
    [
        ("azure", "my-gpt", "https://unit.openai.azure.com/openai/v1/chat/completions"),
        (
            "vertex",
            "gemini-3-pro",
            "https://aiplatform.googleapis.com/v1/projects/p1/locations/global/publishers/google/models/gemini-3-pro:generateContent",
        ),
        (
            "vertex",
            "claude-opus-4-5@20251101",
            "https://aiplatform.googleapis.com/v1/projects/p1/locations/global/publishers/anthropic/models/claude-opus-4-5@20251101:rawPredict",
        ),
        (
            "bedrock",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/us.anthropic.claude-sonnet-4-5-20250929-v1:0/converse",
        ),
        (
            "google",
            "gemini-3-pro",
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro:generateContent",
        ),
    ],
)
def test_clouds_have_their_models_in_the_url(provider, model, url):
    row = PROVIDERS[provider]
    assert url_of(filled_base(row, ENV), row.api("", model).path, model) == url


def test_a_host_is_spoken_to_in_the_callers_own_format_where_it_can():
    openai = PROVIDERS["openai"]
    assert openai.api("openai-responses", "gpt-5.5").path == "/responses"
    assert openai.api("anthropic-messages", "gpt-5.5").path == "/chat/completions"
    assert openai.api("openai-embeddings", "e").path == "/embeddings"
    assert openai.api("gemini-embeddings", "e").path == "/embeddings"
    assert PROVIDERS["vertex"].api("gemini", "claude-opus-4-5").dialect == "anthropic-messages"


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://proxy.example/v1/", "https://proxy.example/v1/messages"),
    ],
)
def test_anthropics_base_is_taken_with_and_without_v1(base, url):
    row = custom_row("x", APIS["anthropic-messages"], base)
    assert url_of(row.base_url, row.apis[0].path, "m") == url
    assert row.auth == "x-api-key"


def test_the_callers_key_never_goes_upstream_and_its_betas_do():
    caller = {"authorization": "Bearer theirs", "x-api-key": "theirs", "anthropic-beta": "b1", "cookie": "c"}
    sent = dict(upstream_headers(PROVIDERS["anthropic"], "ours", caller))
    assert sent == {
        "content-type": "application/json",
        "x-api-key": "ours",
        "anthropic-beta": "b1",
        "anthropic-version": "2023-06-01",
    }
    assert dict(upstream_headers(PROVIDERS["openai"], "ours", caller))["authorization"] == "Bearer ours"


def test_limits_and_request_ids_come_back_and_the_rest_stays():
    told = [("anthropic-ratelimit-tokens-remaining", "5"), ("retry-after", "3"), ("set-cookie", "s"), ("server", "x")]
    assert returned_headers(told) == told[:2]


def test_only_a_list_of_models_counts():
    assert decode_models(b'{"data":[{"id":"a"},{"id":"b","object":"model"}]}') == ("a", "b")
    for body in (b"", b"<html>", b"[]", b'{"data":{}}', b'{"data":[{"name":"x"}]}', b"\xff", b'{"x":' + b"[" * 200_000):
        assert decode_models(body) == ()


async def test_local_servers_are_found_and_others_never_asked():
    http = HttpTransport()
    models = answer({"object": "list", "data": [{"id": "qwen3:8b"}]})
    async with ScriptedUpstream(models) as ollama, ScriptedUpstream(Script(hang=True)) as mute:
        rows = [
            ProviderRow(name="ollama", apis=(CHAT,), base_url=f"{ollama.url}/v1", local=True),
            ProviderRow(name="mute", apis=(CHAT,), base_url=f"{mute.url}/v1", local=True),
            ProviderRow(name="none", apis=(CHAT,), base_url="http://127.0.0.1:9/v1", local=True),
            ProviderRow(name="far", apis=(CHAT,), base_url="https://models.example/v1", local=True),
        ]
        assert await discover_local(rows, http) == [Discovered("ollama", ("qwen3:8b",))]
        assert ollama.requests[0].path == "/v1/models"
    await http.aclose()
