"""The makers' own SDKs against the gateway, over real sockets: on a model of their own family and of every other.

Each does what its users do: chat, stream, a tool's round trip, an image, structured output, an error.
"""

import asyncio
import base64
import json

import anthropic
import mistralai.client
import openai
import pydantic
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from support.gateway import gateway, host
from support.upstream import ScriptedUpstream
from support.wire import calls, refuses, says

FAMILIES = pytest.mark.parametrize("family", ["openai-chat", "openai-responses", "anthropic-messages", "gemini"])
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nnot really").decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
JSON = '{"city":"Paris"}'


class City(pydantic.BaseModel):
    city: str


class Steps:
    """What a client does, said by those who speak it. `gw_url` is the gateway's."""

    def __init__(self, gw_url):
        self.url = gw_url


class OpenAIChat(Steps):
    def api(self):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)

    def chat(self, content="Capital of France?", **more):
        with self.api() as api:
            return api.chat.completions.create(model="up/big", messages=[{"role": "user", "content": content}], **more)

    def text(self):
        told = self.chat()
        return told.choices[0].message.content, (told.usage.prompt_tokens, told.usage.completion_tokens)

    def stream(self):
        with self.api() as api:
            chunks = api.chat.completions.create(
                model="up/big",
                messages=[{"role": "user", "content": "Capital?"}],
                stream=True,
                stream_options={"include_usage": True},
            )
            texts, usage = [], None
            for chunk in chunks:
                texts += [c.delta.content or "" for c in chunk.choices]
                usage = chunk.usage or usage
        return "".join(texts), (usage.prompt_tokens, usage.completion_tokens)

    def tool(self):
        tool = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
        ask = {"role": "user", "content": "Weather in Paris?"}
        with self.api() as api:
            first = api.chat.completions.create(model="up/big", messages=[ask], tools=[tool])
            (call,) = first.choices[0].message.tool_calls
            result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
            second = api.chat.completions.create(
                model="up/big", messages=[ask, first.choices[0].message, result], tools=[tool]
            )
        return call.function.name, json.loads(call.function.arguments), second.choices[0].message.content

    def image(self):
        self.chat(
            [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ]
        )

    def structured(self):
        with self.api() as api:
            told = api.chat.completions.parse(
                model="up/big", messages=[{"role": "user", "content": "Where?"}], response_format=City
            )
        return told.choices[0].message.parsed.city

    def error(self):
        with pytest.raises(openai.BadRequestError) as caught:
            self.chat()
        return caught.value.message


class OpenAIResponses(Steps):
    def api(self):
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)

    def create(self, said="Capital of France?", **more):
        with self.api() as api:
            return api.responses.create(model="up/big", input=said, **more)

    def text(self):
        told = self.create()
        return told.output_text, (told.usage.input_tokens, told.usage.output_tokens)

    def stream(self):
        with self.api() as api, api.responses.stream(model="up/big", input="Capital?") as events:
            text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            usage = events.get_final_response().usage
        return text, (usage.input_tokens, usage.output_tokens)

    def tool(self):
        tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
        ask = {"role": "user", "content": "Weather in Paris?"}
        first = self.create([ask], tools=[tool], store=False)
        (call,) = [item for item in first.output if item.type == "function_call"]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        second = self.create([ask, *first.output, result], tools=[tool], store=False)
        return call.name, json.loads(call.arguments), second.output_text

    def image(self):
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}
        self.create([{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, image]}])

    def structured(self):
        with self.api() as api:
            return api.responses.parse(model="up/big", input="Where?", text_format=City).output_parsed.city

    def error(self):
        with pytest.raises(openai.BadRequestError) as caught:
            self.create()
        return caught.value.message


class Anthropic(Steps):
    def api(self):
        return anthropic.Anthropic(base_url=self.url, api_key="any", max_retries=0)

    def create(self, content="Capital of France?", **more):
        with self.api() as api:
            return api.messages.create(
                model="up/big", max_tokens=100, messages=[{"role": "user", "content": content}], **more
            )

    def text(self):
        told = self.create()
        usage = told.usage
        return told.content[0].text, (usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens)

    def stream(self):
        ask = [{"role": "user", "content": "Capital?"}]
        with self.api() as api, api.messages.stream(model="up/big", max_tokens=100, messages=ask) as events:
            text = "".join(events.text_stream)
            usage = events.get_final_message().usage
        return text, (usage.input_tokens + usage.cache_read_input_tokens, usage.output_tokens)

    def tool(self):
        tool = {"name": "get_weather", "input_schema": SCHEMA}
        ask = {"role": "user", "content": "Weather in Paris?"}
        with self.api() as api:
            first = api.messages.create(model="up/big", max_tokens=100, messages=[ask], tools=[tool])
            (call,) = [block for block in first.content if block.type == "tool_use"]
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
            turns = [ask, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
            second = api.messages.create(model="up/big", max_tokens=100, messages=turns, tools=[tool])
        return call.name, call.input, second.content[0].text

    def image(self):
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        self.create([{"type": "text", "text": "What is it?"}, {"type": "image", "source": source}])

    def structured(self):
        schema = {"type": "json_schema", "schema": SCHEMA}
        told = self.create("Where?", output_config={"format": schema})
        return json.loads(told.content[0].text)["city"]

    def error(self):
        with pytest.raises(anthropic.BadRequestError) as caught:
            self.create()
        return caught.value.message


class Gemini(Steps):
    def api(self):
        return genai.Client(api_key="any", http_options=types.HttpOptions(base_url=self.url))

    def generate(self, contents="Capital of France?", **config):
        with self.api() as api:
            return api.models.generate_content(
                model="up/big", contents=contents, config=types.GenerateContentConfig(**config)
            )

    def text(self):
        told = self.generate()
        return told.text, (told.usage_metadata.prompt_token_count, told.usage_metadata.candidates_token_count)

    def stream(self):
        with self.api() as api:
            texts, usage = [], None
            for chunk in api.models.generate_content_stream(model="up/big", contents="Capital?"):
                texts.append(chunk.text or "")
                usage = chunk.usage_metadata or usage
        return "".join(texts), (usage.prompt_token_count, usage.candidates_token_count)

    def tool(self):
        function = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
        tools = [types.Tool(function_declarations=[function])]
        ask = types.Content(role="user", parts=[types.Part(text="Weather in Paris?")])
        first = self.generate([ask], tools=tools)
        (call,) = first.function_calls
        part = types.Part.from_function_response(name=call.name, response={"result": "sunny"})
        turns = [ask, first.candidates[0].content, types.Content(role="user", parts=[part])]
        return call.name, call.args, self.generate(turns, tools=tools).text

    def image(self):
        data = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
        self.generate([data, "What is it?"])

    def structured(self):
        told = self.generate("Where?", response_mime_type="application/json", response_schema=City)
        return told.parsed.city

    def error(self):
        with pytest.raises(genai_errors.ClientError) as caught:
            self.generate()
        return caught.value.message


class Mistral(Steps):
    def api(self):
        return mistralai.client.Mistral(api_key="any", server_url=self.url)

    def complete(self, messages=None, **more):
        ask = [{"role": "user", "content": "Capital of France?"}]
        with self.api() as api:
            return api.chat.complete(model="up/big", messages=messages or ask, **more)

    def text(self):
        told = self.complete()
        return told.choices[0].message.content, (told.usage.prompt_tokens, told.usage.completion_tokens)

    def stream(self):
        with self.api() as api:
            texts, usage = [], None
            for event in api.chat.stream(model="up/big", messages=[{"role": "user", "content": "Capital?"}]):
                texts += [c.delta.content or "" for c in event.data.choices]
                usage = event.data.usage or usage
        return "".join(texts), usage and (usage.prompt_tokens, usage.completion_tokens)

    def tool(self):
        tool = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
        ask = {"role": "user", "content": "Weather in Paris?"}
        first = self.complete([ask], tools=[tool])
        (call,) = first.choices[0].message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "name": call.function.name, "content": "sunny"}
        second = self.complete([ask, first.choices[0].message, result], tools=[tool])
        return call.function.name, json.loads(call.function.arguments), second.choices[0].message.content

    def image(self):
        image = {"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}
        self.complete([{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}])

    def structured(self):
        schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
        return json.loads(self.complete(response_format=schema).choices[0].message.content)["city"]

    def error(self):
        with pytest.raises(mistralai.client.errors.SDKError) as caught:
            self.complete()
        return caught.value.body


CLIENTS = pytest.mark.parametrize(
    "client", [OpenAIChat, OpenAIResponses, Anthropic, Gemini, Mistral], ids=lambda c: c.__name__
)


async def run(step, family, folder, *scripts):
    """Does one step of a client in a thread, as the SDKs' plain variants are used; gives its result and what the
    provider got."""
    async with ScriptedUpstream(*scripts) as up, gateway(host(up.url, family), folder) as gw:
        client, name = step
        result = await asyncio.to_thread(getattr(client(gw.url), name))
        return result, up.requests


@CLIENTS
@FAMILIES
async def test_chat(client, family, tmp_path):
    told, _ = await run((client, "text"), family, tmp_path, says(family))
    assert told == ("Paris.", (1000, 10))


@CLIENTS
@FAMILIES
async def test_stream(client, family, tmp_path):
    (text, usage), _ = await run((client, "stream"), family, tmp_path, says(family, streaming=True))
    assert text == "Paris."
    assert usage in {(1000, 10), None}, "Mistral's client does not ask for usage"


@CLIENTS
@FAMILIES
async def test_a_tools_round_trip(client, family, tmp_path):
    told, requests = await run((client, "tool"), family, tmp_path, calls(family), says(family, "Sunny."))
    assert told == ("get_weather", {"city": "Paris"}, "Sunny.")
    assert b"sunny" in requests[1].body


@CLIENTS
@FAMILIES
async def test_an_image(client, family, tmp_path):
    _, requests = await run((client, "image"), family, tmp_path, says(family))
    assert PNG.encode() in requests[0].body


@CLIENTS
@FAMILIES
async def test_structured_output(client, family, tmp_path):
    told, requests = await run((client, "structured"), family, tmp_path, says(family, JSON))
    assert told == "Paris"
    assert b"city" in requests[0].body, "the schema reached the provider"


@CLIENTS
@FAMILIES
async def test_an_error(client, family, tmp_path):
    told, _ = await run((client, "error"), family, tmp_path, refuses(family))
    assert "max_tokens is too large" in told
