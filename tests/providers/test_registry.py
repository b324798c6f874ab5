"""Rows of hosts: URLs, keys and the headers that go out and come back; what runs on this machine."""

import pytest

from support.upstream import Script, ScriptedUpstream, answer
from turnout.providers.discovery import Discovered, decode_models, discover_local
from turnout.providers.http import HttpTransport
from turnout.providers.registry import PROVIDERS, ProviderRow, api_path, custom_row, returned_headers, upstream_headers


def test_every_row_is_whole():
    for name, row in PROVIDERS.items():
        assert row.name == name
        assert row.base_url.startswith("http://127.0.0.1:" if row.local else "https://")
        assert bool(row.key_env) is not row.local
        assert api_path(row)


@pytest.mark.parametrize(
    ("base", "path"),
    [("https://api.anthropic.com", "/v1/messages"), ("https://proxy.example/v1/", "/messages")],
)
def test_anthropics_base_is_taken_with_and_without_v1(base, path):
    assert api_path(custom_row("x", "anthropic-messages", base)) == path


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
            ProviderRow(name="ollama", dialect="openai-chat", base_url=f"{ollama.url}/v1", local=True),
            ProviderRow(name="mute", dialect="openai-chat", base_url=f"{mute.url}/v1", local=True),
            ProviderRow(name="none", dialect="openai-chat", base_url="http://127.0.0.1:9/v1", local=True),
            ProviderRow(name="far", dialect="openai-chat", base_url="https://models.example/v1", local=True),
        ]
        assert await discover_local(rows, http) == [Discovered("ollama", ("qwen3:8b",))]
        assert ollama.requests[0].path == "/v1/models"
    await http.aclose()
