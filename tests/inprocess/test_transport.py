"""The official SDKs and both HTTP libraries on a gateway in the same process: streams stream, cancellation arrives."""

import asyncio

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import types
from langchain_openai import ChatOpenAI
from mistralai.client import Mistral
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from support.gateway import host
from support.threaded import upstream_in_thread
from support.upstream import ScriptedUpstream, answer, stream
from support.wire import says
from turnout import AsyncGateway, Gateway
from turnout.config import parse_config

ASK = [{"role": "user", "content": "Capital of France?"}]
LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
STREAMED = {"model": "up/big", "messages": ASK, "stream": True}
URL = "http://gateway/v1/chat/completions"


@pytest.fixture
def told(tmp_path):
    def make(url, dialect="openai-chat", more=""):
        return parse_config(f'store.ledger = "sqlite:///{tmp_path}/ledger.db"\n' + host(url, dialect) + more, {})

    return make


@LIBRARIES
def test_openai_sdk(told, library):
    with (
        upstream_in_thread(says("openai-chat"), says("openai-chat", streaming=True)) as up,
        Gateway(told(up.url)) as gateway,
        openai.OpenAI(api_key="any", http_client=library.Client(transport=gateway.transport())) as client,
    ):
        told_whole = client.chat.completions.with_raw_response.create(model="up/big", messages=ASK)
        assert told_whole.parse().choices[0].message.content == "Paris."
        assert told_whole.headers["x-turnout-model"] == "up/big"
        chunks = client.chat.completions.create(model="up/big", messages=ASK, stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Paris."
        assert "up/big" in [model.id for model in client.models.list()]


def test_anthropic_sdk(told):
    with (
        upstream_in_thread(says("anthropic-messages"), says("anthropic-messages", streaming=True)) as up,
        Gateway(told(up.url, "anthropic-messages")) as gateway,
        anthropic.Anthropic(api_key="any", http_client=httpx2.Client(transport=gateway.transport())) as client,
    ):
        whole = client.messages.create(model="up/big", max_tokens=9, messages=ASK)
        assert whole.content[0].text == "Paris."
        with client.messages.stream(model="up/big", max_tokens=9, messages=ASK) as streamed:
            assert "".join(streamed.text_stream) == "Paris."


async def test_async_sdks(told):
    async with (
        ScriptedUpstream(says("openai-responses"), says("openai-responses", streaming=True)) as up,
        AsyncGateway(told(up.url, "openai-responses")) as gateway,
        openai.AsyncOpenAI(api_key="any", http_client=httpx2.AsyncClient(transport=gateway.transport())) as client,
    ):
        assert (await client.responses.create(model="up/big", input="Capital?")).output_text == "Paris."
        async with client.responses.stream(model="up/big", input="Capital?") as streamed:
            assert (await streamed.get_final_response()).output_text == "Paris."


def test_google_sdk(told):
    with (
        upstream_in_thread(says("gemini")) as up,
        Gateway(told(up.url, "gemini")) as gateway,
        httpx2.Client(transport=gateway.transport()) as http,
        genai.Client(api_key="any", http_options=types.HttpOptions(httpx_client=http)) as client,
    ):
        assert client.models.generate_content(model="up/big", contents="Capital?").text == "Paris."


@LIBRARIES
async def test_a_stream_streams(told, library):
    """The first piece is there while the provider has not sent its last."""
    first, *_ = says("openai-chat", streaming=True).chunks
    async with (
        ScriptedUpstream(stream(first, stall=True)) as up,
        AsyncGateway(told(up.url)) as gateway,
        library.AsyncClient(transport=gateway.transport()) as client,
    ):
        async with client.stream("POST", URL, json=STREAMED) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert (await anext(response.aiter_raw())).startswith(b"data:")
            assert not up.gone.is_set()
        await asyncio.wait_for(up.gone.wait(), 5)


@LIBRARIES
def test_a_blocking_client_that_leaves_stops_the_provider(told, library):
    first, *_ = says("openai-chat", streaming=True).chunks
    with (
        upstream_in_thread(stream(first, stall=True)) as up,
        Gateway(told(up.url)) as gateway,
        library.Client(transport=gateway.transport()) as client,
    ):
        with client.stream("POST", URL, json=STREAMED) as response:
            assert next(response.iter_raw()).startswith(b"data:")
        up.wait_gone()


@LIBRARIES
async def test_a_cancelled_request_stops_the_provider(told, library):
    async with (
        ScriptedUpstream(answer({}, hang=True)) as up,
        AsyncGateway(told(up.url)) as gateway,
        library.AsyncClient(transport=gateway.transport()) as client,
    ):
        asking = asyncio.create_task(client.post(URL, json={**STREAMED, "stream": False}))
        while not up.requests:  # noqa: ASYNC110 (the provider has no event for it)
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await asyncio.wait_for(up.gone.wait(), 5)


@LIBRARIES
def test_a_clients_own_patience_ends_and_stops_the_provider(told, library):
    with (
        upstream_in_thread(answer({}, hang=True)) as up,
        Gateway(told(up.url)) as gateway,
        library.Client(transport=gateway.transport(), timeout=0.2) as client,
    ):
        with pytest.raises(library.ReadTimeout, match=r"nothing to say for 0\.2 s"):
            client.post(URL, json={**STREAMED, "stream": False})
        up.wait_gone()


def test_errors_have_the_callers_shape_and_sdks_make_them_their_own(told):
    with upstream_in_thread(says("openai-chat")) as up, Gateway(told(up.url)) as gateway:
        sdk = openai.OpenAI(api_key="any", http_client=httpx2.Client(transport=gateway.transport()), max_retries=0)
        with sdk, pytest.raises(openai.NotFoundError, match="up/big"):
            sdk.chat.completions.create(model="op/big", messages=ASK)
        with httpx.Client(transport=gateway.transport()) as client:
            found = client.get("http://gateway/v1/chat/completions")
            assert (found.status_code, found.json()["error"]["code"]) == (405, "method_not_allowed")
            found = client.get("http://gateway/admin/usage")
            assert (found.status_code, found.json()["error"]["code"]) == (404, "not_found")
            assert found.headers["x-should-retry"] == "false"


def test_decisions_and_feedback_at_their_usual_paths(told):
    with (
        upstream_in_thread(says("openai-chat")) as up,
        Gateway(told(up.url)) as gateway,
        httpx.Client(transport=gateway.transport(), base_url="http://gateway") as client,
    ):
        whole = {**STREAMED, "stream": False}
        assert client.post("/v1/route", json=whole).json()["model"] == "up/big"
        asked = client.post("/v1/chat/completions", json=whole).headers["x-turnout-request-id"]
        assert client.post("/v1/feedback", json={"request_id": asked, "score": 1}).json()["recorded"] is True


def test_a_key_opens_as_on_a_server(told):
    with (
        upstream_in_thread(says("openai-chat")) as up,
        Gateway(told(up.url, more='[keys.core]\nkey = "sk-core"\n')) as gateway,
    ):
        for key, error in (("sk-core", None), ("sk-other", openai.AuthenticationError)):
            with openai.OpenAI(api_key=key, http_client=httpx2.Client(transport=gateway.transport())) as client:
                if error is None:
                    assert client.chat.completions.create(model="up/big", messages=ASK).choices
                else:
                    with pytest.raises(error, match="not known here"):
                        client.chat.completions.create(model="up/big", messages=ASK)


def test_frameworks_that_stand_on_the_sdks(told):
    with (
        upstream_in_thread(says("openai-chat")) as up,
        Gateway(told(up.url)) as gateway,
        httpx2.Client(transport=gateway.transport()) as http,
    ):
        model = ChatOpenAI(model="up/big", api_key="any", http_client=http)
        assert model.invoke("Capital?").content == "Paris."
        mistral = Mistral(api_key="any", client=http)
        assert mistral.chat.complete(model="up/big", messages=ASK).choices[0].message.content == "Paris."


async def test_pydantic_ai(told):
    async with (
        ScriptedUpstream(says("openai-chat")) as up,
        AsyncGateway(told(up.url)) as gateway,
        httpx2.AsyncClient(transport=gateway.transport()) as http,
    ):
        model = OpenAIChatModel("up/big", provider=OpenAIProvider(api_key="any", http_client=http))
        assert (await Agent(model).run("Capital?")).output == "Paris."
