"""The demo's clients: recorded agents that speak through the official SDKs, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json
from turnout.engine import Engine
from turnout.errors import ConfigError
from turnout.lab.sessions import RecordedRequest, Session, anthropic_request, requests_of
from turnout.spend.ledger import LedgerRow

__all__ = ["Clients", "Step", "drive_session", "live_prompt"]


class Step(Struct, frozen=True, kw_only=True):
    """One answered request: its row in the ledger, the answer's text, whether it equals the recording
    (None: nothing was recorded), and which recording goes on from here."""

    row: LedgerRow
    text: str
    as_recorded: bool | None
    followed: str


class Answer(Struct, frozen=True, kw_only=True):
    request_id: str
    text: str
    calls: tuple[tuple[str, Json], ...]


class Clients:
    """The official SDKs, pointed at the gateway by their base URL alone."""

    def __init__(self, openai: Any, anthropic: Any) -> None:  # two SDKs' classes, imported only for the demo
        self.openai = openai
        self.anthropic = anthropic

    @staticmethod
    def to(url: str) -> Clients:
        """Raises ConfigError when the SDKs are not installed."""
        try:
            from anthropic import AsyncAnthropic
            from openai import AsyncOpenAI
        except ImportError:
            raise ConfigError("the demo drives the official SDKs; pip install 'turnout[demo]'") from None
        return Clients(
            AsyncOpenAI(base_url=f"{url}/v1", api_key="none-needed", max_retries=0),
            AsyncAnthropic(base_url=url, api_key="none-needed", max_retries=0),
        )

    async def chat(self, recorded: RecordedRequest, headers: Mapping[str, str]) -> Answer:
        """One chat completion, as an agent on the openai SDK asks for it."""
        more = {"tools": recorded.tools} if recorded.tools else {}
        raw = await self.openai.chat.completions.with_raw_response.create(
            model="auto", messages=recorded.messages, extra_headers=dict(headers), **more
        )
        message = raw.parse().choices[0].message
        calls = tuple((c.function.name, _value(c.function.arguments)) for c in message.tool_calls or ())
        return Answer(request_id=raw.headers["x-turnout-request-id"], text=message.content or "", calls=calls)

    async def message(self, recorded: RecordedRequest, headers: Mapping[str, str]) -> Answer:
        """One streamed message, as an agent on the anthropic SDK asks for it."""
        request = anthropic_request(recorded, model="claude-auto", max_tokens=4096)
        async with self.anthropic.messages.stream(**request, extra_headers=dict(headers)) as stream:
            final = await stream.get_final_message()
            request_id = stream.response.headers["x-turnout-request-id"]
        text = "".join(block.text for block in final.content if block.type == "text")
        calls = tuple((block.name, block.input) for block in final.content if block.type == "tool_use")
        return Answer(request_id=request_id, text=text, calls=calls)

    async def explain(self, prompt: str) -> dict[str, Any]:
        """The decision for a prompt, from POST /v1/route."""
        body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
        return await self.openai.post("/route", cast_to=dict[str, Any], body=body)

    async def aclose(self) -> None:
        await self.openai.close()
        await self.anthropic.close()


async def drive_session(
    task: str,
    recordings: Mapping[str, Session],
    clients: Clients,
    engine: Engine,
    *,
    mode: str | None,
    sdk: str,
) -> AsyncIterator[Step]:
    """Replay a task's agent against the gateway. Which recording is followed after the first step is the
    gateway's choice: that of the model it routed the session to."""
    headers = {"x-turnout-session": f"demo-{task}", "x-turnout-tags": f"feature={task.partition('/')[0]}"}
    headers |= {"x-turnout-mode": mode} if mode else {}
    ask = clients.message if sdk == "anthropic" else clients.chat
    followed = "small" if mode and "small" in recordings else "frontier"
    number = 0
    while number < len(recordings[followed].steps):
        recorded = list(requests_of(recordings[followed]))[number]
        answer = await ask(recorded, headers)
        row = settled_row(engine, answer.request_id)
        chosen = (row.deployment or "").removeprefix("recorded/")
        if number == 0 and chosen in recordings and chosen != followed:
            followed = chosen
            recorded = next(requests_of(recordings[followed]))
        yield Step(row=row, text=answer.text, as_recorded=_same(answer, recorded), followed=followed)
        number += 1


async def live_prompt(clients: Clients, engine: Engine, prompt: str, mode: str | None) -> Step:
    """One question to whatever `auto` or a mode picks."""
    headers = {"x-turnout-mode": mode} if mode else {}
    raw = await clients.openai.chat.completions.with_raw_response.create(
        model="auto",
        messages=[{"role": "user", "content": prompt}],
        max_tokens=40,
        temperature=0,
        extra_headers=headers,
    )
    row = settled_row(engine, raw.headers["x-turnout-request-id"])
    text = raw.parse().choices[0].message.content or ""
    return Step(row=row, text=text, as_recorded=None, followed="")


def settled_row(engine: Engine, request_id: str) -> LedgerRow:
    """The ledger's row of a request that has just ended."""
    engine.ledger.flush()
    row = engine.ledger.get(request_id)
    if row is None:
        raise ConfigError(f"request {request_id} is not in the ledger")
    return row


def _same(answer: Answer, recorded: RecordedRequest) -> bool:
    calls = tuple(
        (c["function"]["name"], _value(c["function"]["arguments"])) for c in recorded.out.get("tool_calls") or ()
    )
    return answer.calls == calls and answer.text.strip() == (recorded.out.get("content") or "").strip()


def _value(arguments: str) -> Json:
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return arguments
