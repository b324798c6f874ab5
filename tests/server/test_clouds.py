"""Bedrock, Vertex and Azure through the gateway: their URLs, keys and bodies over real sockets."""

import json

import openai

from dialects.bedrock_converse.test_stream import STREAM
from support.gateway import gateway
from support.upstream import Script, ScriptedUpstream, answer
from support.wire import says

ASK = [{"role": "user", "content": "Capital of France?"}]
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Paris."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 600, "outputTokens": 10, "totalTokens": 1010, "cacheReadInputTokens": 400},
    "metrics": {"latencyMs": 5},
}


async def test_bedrock_by_its_bearer_token(tmp_path):
    frames = Script(content_type="application/vnd.amazon.eventstream", chunks=[STREAM[:300], STREAM[300:]])
    async with ScriptedUpstream(answer(CONVERSE), frames) as up:
        toml = f'[providers.bedrock]\nbase_url = "{up.url}"\napi_key = "bedrock-key"\n'
        toml += '[models."bedrock/anthropic.claude-v1:0"]\n'
        async with (
            gateway(toml, tmp_path) as gw,
            openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
        ):
            whole = await api.chat.completions.create(model="bedrock/anthropic.claude-v1:0", messages=ASK)
            stream = await api.chat.completions.create(model="bedrock/anthropic.claude-v1:0", messages=ASK, stream=True)
            chunks = [c async for c in stream]
            rows = await gw.booked(2)
    assert whole.choices[0].message.content == "Paris."
    assert [r.path for r in up.requests] == [
        "/model/anthropic.claude-v1:0/converse",
        "/model/anthropic.claude-v1:0/converse-stream",
    ]
    assert up.requests[0].headers["authorization"] == "Bearer bedrock-key"
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Let me see."
    assert whole.model == chunks[0].model == "anthropic.claude-v1:0", "the format names none"
    assert len({whole.id, chunks[0].id, ""}) == 3, "nor itself"
    assert [(r.input_tokens, r.cache_read_tokens, r.output_tokens) for r in rows] == [(1000, 400, 10)] * 2


async def test_claude_on_vertex_has_its_version_in_the_body_and_no_model(tmp_path):
    async with ScriptedUpstream(says("anthropic-messages")) as up:
        base = f"{up.url}/v1/projects/p/locations/l"
        toml = f'[providers.vertex]\nbase_url = "{base}"\napi_key = "token"\n[models."vertex/claude-opus-4-5"]\n'
        async with (
            gateway(toml, tmp_path) as gw,
            openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
        ):
            await api.chat.completions.create(model="vertex/claude-opus-4-5", messages=ASK)
    sent = up.requests[0]
    assert sent.path == "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-5:rawPredict"
    assert sent.headers["authorization"] == "Bearer token"
    assert json.loads(sent.body)["anthropic_version"] == "vertex-2023-10-16"
    assert "model" not in json.loads(sent.body)


async def test_azure_has_its_own_key_header(tmp_path):
    async with ScriptedUpstream(says("openai-chat")) as up:
        toml = f'[providers.azure]\nbase_url = "{up.url}/openai/v1"\napi_key = "azure-key"\n[models."azure/my-gpt"]\n'
        async with (
            gateway(toml, tmp_path) as gw,
            openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
        ):
            await api.chat.completions.create(model="azure/my-gpt", messages=ASK)
    assert up.requests[0].path == "/openai/v1/chat/completions"
    assert up.requests[0].headers["api-key"] == "azure-key"
    assert "authorization" not in up.requests[0].headers


async def test_conversations_with_bedrock_are_told_apart(tmp_path):
    async with ScriptedUpstream(answer(CONVERSE)) as up:
        toml = f'[providers.bedrock]\nbase_url = "{up.url}"\napi_key = "k"\n[models."bedrock/nova"]\n'
        async with (
            gateway(toml, tmp_path) as gw,
            openai.AsyncOpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api,
        ):
            one = await api.responses.create(model="bedrock/nova", input="About France")
            await api.responses.create(model="bedrock/nova", input="About Spain")
            await api.responses.create(model="bedrock/nova", input="Go on", previous_response_id=one.id)
    said = json.dumps(up.requests[2].json())
    assert "About France" in said
    assert "About Spain" not in said
