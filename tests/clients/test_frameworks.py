"""Frameworks that agents are built with against the gateway, on a model of their own family and of the others.

Each is imported where it is used: it takes seconds, and every process of the tests reads every file of them.
"""

import asyncio
import json

import pydantic
import pytest

from support.gateway import gateway, host
from support.upstream import ScriptedUpstream
from support.wire import calls, refuses, says

# The frameworks keep their HTTP clients beyond a test's event loop; nothing of ours is left open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
FAMILIES = pytest.mark.parametrize("family", ["openai-chat", "anthropic-messages", "gemini"])
PNG = "iVBORw0KGgo="
JSON = '{"city":"Paris"}'


class City(pydantic.BaseModel):
    city: str


def langchain_openai(url, **more):
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="up/big", base_url=f"{url}/v1", api_key="any", max_retries=0, **more)


def langchain_responses(url, **more):
    return langchain_openai(url, use_responses_api=True, **more)


def langchain_anthropic(url, **more):
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model="up/big", base_url=url, api_key="any", max_retries=0, max_tokens=100, **more)


LANGCHAIN = pytest.mark.parametrize("make", [langchain_openai, langchain_responses, langchain_anthropic])


def blocks_text(content):
    return content if isinstance(content, str) else "".join(b.get("text", "") for b in content)


@LANGCHAIN
@FAMILIES
async def test_langchain_chat_and_stream(make, family, tmp_path):
    scripts = says(family), says(family, streaming=True)
    async with ScriptedUpstream(*scripts) as up, gateway(host(up.url, family), tmp_path) as gw:
        model = make(gw.url)
        whole = await model.ainvoke("Capital?")
        pieces = [piece async for piece in model.astream("Capital?")]
    assert whole.text == "Paris."
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (1000, 10)
    assert "".join(blocks_text(p.content) for p in pieces) == "Paris."


@LANGCHAIN
@FAMILIES
@pytest.mark.parametrize("streaming", [False, True])
async def test_langchain_tools(make, family, streaming, tmp_path):
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_core.tools import tool

    @tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    scripts = calls(family, streaming=streaming), says(family, "Sunny.", streaming=streaming)
    async with ScriptedUpstream(*scripts) as up, gateway(host(up.url, family), tmp_path) as gw:
        model = make(gw.url, streaming=streaming).bind_tools([get_weather])
        talk = [HumanMessage("Weather in Paris?")]
        talk.append(await model.ainvoke(talk))
        (call,) = talk[-1].tool_calls
        talk.append(ToolMessage(await get_weather.ainvoke(call["args"]), tool_call_id=call["id"]))
        told = await model.ainvoke(talk)
        sent = up.requests[1].body
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Paris"})
    assert told.text == "Sunny."
    assert b"sunny in Paris" in sent


@LANGCHAIN
@FAMILIES
async def test_langchain_image_and_error(make, family, tmp_path):
    from langchain_core.messages import HumanMessage

    async with ScriptedUpstream(says(family), refuses(family)) as up, gateway(host(up.url, family), tmp_path) as gw:
        image = {"type": "image", "base64": PNG, "mime_type": "image/png"}
        await make(gw.url).ainvoke([HumanMessage([{"type": "text", "text": "What is it?"}, image])])
        assert PNG.encode() in up.requests[0].body
        with pytest.raises(Exception, match="max_tokens is too large"):
            await make(gw.url).ainvoke("Hi")


@LANGCHAIN
@FAMILIES
async def test_langchain_structured_output(make, family, tmp_path):
    async with ScriptedUpstream(says(family, JSON)) as up, gateway(host(up.url, family), tmp_path) as gw:
        model = make(gw.url).with_structured_output(City, method="json_schema")
        assert await model.ainvoke("Where?") == City(city="Paris")
        assert b"city" in up.requests[0].body


def agent_openai(url):
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIChatModel("up/big", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


def agent_responses(url):
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    return OpenAIResponsesModel("up/big", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))


def agent_anthropic(url):
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return AnthropicModel("up/big", provider=AnthropicProvider(base_url=url, api_key="any"))


def agent_google(url):
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return GoogleModel("up/big", provider=GoogleProvider(base_url=url, api_key="any"))


PYDANTIC_AI = pytest.mark.parametrize("make", [agent_openai, agent_responses, agent_anthropic, agent_google])


@PYDANTIC_AI
@FAMILIES
@pytest.mark.parametrize("streaming", [False, True])
async def test_pydantic_ai_runs_its_tools(make, family, streaming, tmp_path):
    from pydantic_ai import Agent

    scripts = calls(family, streaming=streaming), says(family, "Sunny.", streaming=streaming)
    async with ScriptedUpstream(*scripts) as up, gateway(host(up.url, family), tmp_path) as gw:
        agent = Agent(make(gw.url), instructions="Be brief.")
        asked = []

        @agent.tool_plain
        def get_weather(city: str) -> str:
            asked.append(city)
            return "sunny"

        if streaming:
            async with agent.run_stream("Weather in Paris?") as running:
                output = await running.get_output()
                usage = running.usage
        else:
            told = await agent.run("Weather in Paris?")
            output, usage = told.output, told.usage
        usage = usage() if callable(usage) else usage
    assert asked == ["Paris"]
    assert output == "Sunny."
    assert (usage.input_tokens, usage.output_tokens) == (2000, 20)


@PYDANTIC_AI
@FAMILIES
async def test_pydantic_ai_tells_errors(make, family, tmp_path):
    from pydantic_ai import Agent

    async with ScriptedUpstream(refuses(family)) as up, gateway(host(up.url, family), tmp_path) as gw:
        with pytest.raises(Exception, match="max_tokens is too large"):
            await Agent(make(gw.url)).run("Hi")


@FAMILIES
@pytest.mark.parametrize("mode", ["JSON_SCHEMA", "TOOLS"])
async def test_instructor(family, mode, tmp_path):
    import instructor
    import openai

    script = calls(family) if mode == "TOOLS" else says(family, JSON)
    async with ScriptedUpstream(script) as up, gateway(host(up.url, family), tmp_path) as gw:

        def ask():
            with openai.OpenAI(base_url=f"{gw.url}/v1", api_key="any", max_retries=0) as api:
                client = instructor.from_openai(api, mode=instructor.Mode[mode])
                return client.chat.completions.create(
                    model="up/big",
                    messages=[{"role": "user", "content": "Where?"}],
                    response_model=Weather if mode == "TOOLS" else City,
                    max_retries=0,
                )

        told = await asyncio.to_thread(ask)
        assert "city" in json.dumps(up.requests[0].json())
    assert told.city == "Paris"


class Weather(City):
    model_config = pydantic.ConfigDict(title="get_weather")
