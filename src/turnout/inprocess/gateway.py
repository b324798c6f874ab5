"""The gateway as a program's own object: asked in the formats of clients, with no server between."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import msgspec

from turnout.dialects.base import Dialect
from turnout.inprocess.answers import Answer, AsyncStream, Made, Stream
from turnout.inprocess.controls import Controls, body_of, headers_of
from turnout.inprocess.core import Core, Told
from turnout.inprocess.home import Home
from turnout.inprocess.transport import AsyncTransport, SyncTransport
from turnout.providers.operations import Operation
from turnout.server.learning import feedback
from turnout.server.paths import FIXED
from turnout.spend.ledger import LedgerRow

__all__ = ["AsyncChat", "AsyncEndpoint", "AsyncGateway", "Chat", "Endpoint", "Gateway"]

Body = Mapping[str, object]
"""A request as its format writes it: what a client would send as JSON."""


class AsyncEndpoint:
    """One format that a gateway is asked in."""

    def __init__(self, core: Core, operation: Operation) -> None:
        self._core = core
        self._operation = operation

    async def __call__(self, body: Body, **controls: Unpack[Controls]) -> Answer:
        """The whole answer. Raises TurnoutError, by its kind: BudgetExhausted, RunPaused, NotFound ..."""
        headers = headers_of(controls)
        request_id, reply = await self._core.run(self._operation, body_of(body, stream=False), headers)
        return Answer(body=reply.body or b"", made=Made.of(request_id, reply), chat=self._operation.chat)


class AsyncChat(AsyncEndpoint):
    """A format of conversations: it streams, too."""

    def __init__(self, core: Core, operation: Operation, chat: Dialect) -> None:
        super().__init__(core, operation)
        self._chat = chat

    def stream(self, body: Body, **controls: Unpack[Controls]) -> AsyncStream:
        """The answer as it comes: `async with gateway.chat.stream(...) as stream`. Nothing is asked before that."""
        raw, headers = body_of(body, stream=True), headers_of(controls)
        return AsyncStream(self._chat, lambda: self._core.run(self._operation, raw, headers), self._core.end)


class AsyncGateway:
    """A gateway on the running event loop; it is built at its first use, or on entering. `config`: a file, its tables
    as a mapping, a Config; None: what is found here, as `turnout serve` without one. `env`: where `env:NAME` values
    are looked up, in place of the process's environment. Raises ConfigError.

    `chat` (OpenAI's Chat Completions), `responses`, `messages` (Anthropic's) and `embeddings` are asked like functions;
    all but the last have `.stream`, too.
    """

    def __init__(self, config: Told = None, *, env: Mapping[str, str] | None = None) -> None:
        self._core = Core(config, env)
        self.chat = self._at("/v1/chat/completions")
        self.responses = self._at("/v1/responses")
        self.messages = self._at("/v1/messages")
        self.embeddings = AsyncEndpoint(self._core, FIXED["/v1/embeddings"])

    def _at(self, path: str) -> AsyncChat:
        operation = FIXED[path]
        if operation.chat is None:
            raise TypeError(f"{path} is no conversation's")
        return AsyncChat(self._core, operation, operation.chat)

    async def __aenter__(self) -> Self:
        await self._core.engine()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def transport(self) -> Any:
        """For `httpx.AsyncClient(transport=...)` or httpx2's: whatever the client asks is answered here, whichever
        host its URL names. Any: each library has a base class of its own, and this serves both."""
        return AsyncTransport(self._core)

    async def models(self) -> list[str]:
        """The names that a request may use, as `GET /v1/models` lists them where no key narrows them."""
        return list((await self._core.engine()).names.listing())

    async def explain(self, body: Body, **controls: Unpack[Controls]) -> dict[str, object]:
        """The decision for a chat request that nobody serves, as `POST /v1/route` tells it. Raises TurnoutError."""
        return await self._core.explain(
            FIXED["/v1/chat/completions"], body_of(body, stream=False), headers_of(controls)
        )

    async def feedback(
        self, request_id: str, score: float, *, label: str | None = None, key: str | None = None
    ) -> None:
        """Say how good an answer was, 0 (no good) to 1. `key`: the one it was asked with. Raises RequestNotFound,
        InvalidRequest."""
        told: dict[str, object] = {"request_id": request_id, "score": score}
        headers = headers_of(Controls() if key is None else Controls(key=key))
        body = told if label is None else {**told, "label": label}
        await feedback(await self._core.engine(), headers, msgspec.json.encode(body))

    async def record(self, request_id: str) -> LedgerRow | None:
        """What is in the ledger of a request, once it is at its end: tokens, cost, who was tried. None where it is
        unknown."""
        return await self._core.record(request_id)

    async def aclose(self) -> None:
        """End what is being answered, stop the providers, write the books. May be called twice."""
        await self._core.aclose()


class Endpoint:
    """One format that a gateway is asked in; blocks."""

    def __init__(self, home: Home, asked: AsyncEndpoint) -> None:
        self._home = home
        self._asked = asked

    def __call__(self, body: Body, **controls: Unpack[Controls]) -> Answer:
        """The whole answer. Raises TurnoutError, by its kind: BudgetExhausted, RunPaused, NotFound ..."""
        return self._home.run(self._asked(body, **controls))


class Chat(Endpoint):
    """A format of conversations: it streams, too."""

    def __init__(self, home: Home, asked: AsyncChat) -> None:
        super().__init__(home, asked)
        self._chat = asked

    def stream(self, body: Body, **controls: Unpack[Controls]) -> Stream:
        """The answer as it comes: `with gateway.chat.stream(...) as stream`. Nothing is asked before that."""
        return Stream(self._home, self._chat.stream(body, **controls))


class Gateway:
    """An AsyncGateway for callers that block: scripts, threads, notebooks. It lives on an event loop in a thread of its
    own, is there once it is made, and may be asked from any thread. Forgotten, it closes itself."""

    def __init__(self, config: Told = None, *, env: Mapping[str, str] | None = None) -> None:
        asked = AsyncGateway(config, env=env)
        self._asked = asked
        self._home = Home(asked.aclose)
        try:
            self._home.run(asked.__aenter__())
        except BaseException:
            self._home.close()
            raise
        self.chat = Chat(self._home, asked.chat)
        self.responses = Chat(self._home, asked.responses)
        self.messages = Chat(self._home, asked.messages)
        self.embeddings = Endpoint(self._home, asked.embeddings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def transport(self) -> Any:
        """For `httpx.Client(transport=...)` or httpx2's, as AsyncGateway's for their AsyncClient."""
        return SyncTransport(self._home, self._asked.transport())

    def models(self) -> list[str]:
        """The names that a request may use."""
        return self._home.run(self._asked.models())

    def explain(self, body: Body, **controls: Unpack[Controls]) -> dict[str, object]:
        """The decision for a chat request that nobody serves."""
        return self._home.run(self._asked.explain(body, **controls))

    def feedback(self, request_id: str, score: float, *, label: str | None = None, key: str | None = None) -> None:
        """Say how good an answer was, 0 (no good) to 1."""
        self._home.run(self._asked.feedback(request_id, score, label=label, key=key))

    def record(self, request_id: str) -> LedgerRow | None:
        """What is in the ledger of a request, once it is at its end."""
        return self._home.run(self._asked.record(request_id))

    def close(self) -> None:
        """End what is being answered, stop the providers, write the books. May be called twice."""
        self._home.close()
