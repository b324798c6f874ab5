"""Embeddings at the gateway: OpenAI's and Gemini's clients, on their own and on each other's hosts."""

import json

import openai
import pytest

from support.calls import post
from support.gateway import gateway, host
from support.upstream import ScriptedUpstream, answer

OPENAI = {
    "object": "list",
    "model": "embed-up",
    "data": [{"object": "embedding", "index": i, "embedding": [0.5, -0.25 * i]} for i in range(2)],
    "usage": {"prompt_tokens": 4, "total_tokens": 4},
}
GEMINI = {"embeddings": [{"values": [0.5, 0.0]}, {"values": [0.5, -0.25]}]}
ANSWERS = {"openai-chat": OPENAI, "gemini": GEMINI}


@pytest.mark.parametrize("dialect", ANSWERS)
async def test_openais_client(dialect, tmp_path):
    async with (
        ScriptedUpstream(answer(ANSWERS[dialect])) as up,
        gateway(host(up.url, dialect, "embed"), tmp_path) as gw,
        openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
    ):
        told = await api.embeddings.create(
            model="up/embed", input=["hello", "world"], dimensions=2, encoding_format="float"
        )
        sent, row = up.requests[0], gw.rows()[0]
    assert [item.embedding for item in told.data] == [[0.5, 0.0], [0.5, -0.25]]
    assert row.dialect == "openai-embeddings"
    if dialect == "gemini":
        assert sent.path == "/v1beta/models/embed:batchEmbedContents"
        assert [r["content"]["parts"][0]["text"] for r in sent.json()["requests"]] == ["hello", "world"]
        assert sent.json()["requests"][0]["outputDimensionality"] == 2
    else:
        assert sent.path == "/embeddings"
        assert sent.json()["model"] == "embed"
        assert (row.input_tokens, row.output_tokens, row.cost_nano_usd) == (4, 0, 20_000)


async def test_vectors_as_base64_for_sdks_that_ask_for_them(tmp_path):
    async with (
        ScriptedUpstream(answer(GEMINI)) as up,
        gateway(host(up.url, "gemini", "embed"), tmp_path) as gw,
        openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
    ):
        told = await api.embeddings.create(model="up/embed", input=["hello", "world"])  # base64 on the wire
    assert [list(item.embedding) for item in told.data] == [[0.5, 0.0], [0.5, -0.25]]


@pytest.mark.parametrize("dialect", ANSWERS)
@pytest.mark.parametrize("single", [False, True])
async def test_geminis_paths(dialect, single, tmp_path):
    ask = {"content": {"parts": [{"text": "hello"}]}, "taskType": "RETRIEVAL_QUERY"}
    verb = "embedContent" if single else "batchEmbedContents"
    body = ask if single else {"requests": [{**ask, "model": "models/up/embed"}] * 2}
    async with (
        ScriptedUpstream(answer(ANSWERS[dialect])) as up,
        gateway(host(up.url, dialect, "embed"), tmp_path) as gw,
    ):
        status, _, raw = await post(gw.url, f"/v1beta/models/up/embed:{verb}", json.dumps(body).encode())
        sent = up.requests[0].json()
    assert status == 200
    told = json.loads(raw)
    assert (told["embedding"] if single else told["embeddings"][0])["values"] == [0.5, 0.0]
    if dialect == "gemini":
        assert sent["requests"][0] == {**ask, "model": "models/embed"}
    else:
        assert sent == {"model": "embed", "input": ["hello"] * (1 if single else 2)}


@pytest.mark.parametrize(
    ("body", "param", "status"),
    [
        ({"model": "up/embed"}, "input", 400),
        ({"model": "up/embed", "input": []}, "input", 400),
        ({"model": "auto", "input": "a"}, "model", 400),
        ({"model": "up/embed", "input": [[1, 2]]}, "input", 400),
        ({"model": "claude/embed", "input": "a"}, "model", 400),
    ],
)
async def test_what_cannot_be_done_names_the_field(body, param, status, tmp_path):
    claude = (
        '[providers.claude]\ndialect = "anthropic-messages"\nbase_url = "http://127.0.0.1:9"\n[models."claude/embed"]\n'
    )
    async with (
        ScriptedUpstream(answer(GEMINI)) as up,
        gateway(host(up.url, "gemini", "embed") + claude, tmp_path) as gw,
    ):
        told, _, raw = await post(gw.url, "/v1/embeddings", json.dumps(body).encode())
        assert up.requests == []
    assert told == status
    assert json.loads(raw)["error"]["param"] == param
