"""One call of one deployment: the request in the provider's wire format, the answer back in the caller's.

An exchange is open only when the answer has begun, so that whoever opened it may still go elsewhere when opening
fails. How a request and its answer are put in the other's words is `operations.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator

from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.chat import FinishReason, StreamError, Usage
from turnout.errors import UpstreamFailure
from turnout.providers.apis import url_of
from turnout.providers.faults import failure_of
from turnout.providers.operations import Caller, Prepared
from turnout.providers.pipes import Pipe
from turnout.providers.registry import ProviderRow, returned_headers, upstream_headers
from turnout.providers.signing import Signer
from turnout.providers.transport import Transport, UpstreamRequest, UpstreamResponse

__all__ = ["Exchange", "Provider", "open_exchange"]

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024


class Provider(Struct, frozen=True, kw_only=True):
    """A provider ready to be called: its registry row, key, transport and, where calls are signed, its signer.
    Timeouts in seconds."""

    row: ProviderRow
    api_key: str | None
    transport: Transport
    signer: Signer | None = None
    first_byte_timeout_s: float = 300.0
    idle_timeout_s: float = 120.0


class Exchange:
    """An answer that has begun. `body` holds it whole when the caller did not stream; else `stream()` does.

    The books (`usage`, `finish`, `model`, `error`) are complete once the body or the stream is at its end.
    `waited_s` is the time spent waiting for the provider before the answer began; `translated` says that the provider
    spoke another wire format than the caller.
    """

    def __init__(self, caller: Caller, response: UpstreamResponse, *, translated: bool) -> None:
        self._caller = caller
        self._response = response
        self._pipe: Pipe | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._first = b""
        self.headers = returned_headers(response.headers)
        self.translated = translated
        self.warnings: list[str] = []
        self.body: bytes | None = None
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self.model: str | None = None
        self.error: StreamError | None = None
        self.streamed_events = 0
        self.waited_s = 0.0

    async def read_whole(self, prepared: Prepared) -> None:
        """Take the whole answer in. Raises UpstreamFailure when it is none."""
        told = prepared.answer(await self._response.read(MAX_ANSWER_BYTES))
        self.body, self.usage, self.finish, self.model = told.body, told.usage, told.finish, told.model
        self.warnings.extend(told.warnings)

    async def begin_stream(self, pipe: Pipe) -> None:
        """Read until there is something to forward. Raises UpstreamFailure when the stream fails before."""
        self._pipe, self._chunks = pipe, self._response.chunks()
        async for chunk in self._chunks:
            self._first = pipe.feed(chunk)
            if pipe.error is not None:
                break
            if self._first:
                return
        else:
            self._first = pipe.close()
        if pipe.error is not None:
            raise UpstreamFailure(
                f"the provider's stream failed at its start: {pipe.error.message}",
                upstream_code=pipe.error.code,
                upstream_status=pipe.error.status,
            )
        if not self._first:
            raise UpstreamFailure("the provider's stream ended before it began")

    async def stream(self) -> AsyncGenerator[bytes]:
        """The answer's bytes for the caller. A stream that fails ends with the caller's API's error event."""
        pipe, chunks = self._pipe, self._chunks
        if pipe is None or chunks is None:
            return
        try:
            yield self._first
            async for chunk in chunks:
                self.streamed_events += chunk.count(b"data:")
                if out := pipe.feed(chunk):
                    yield out
                if pipe.error is not None:
                    break
            else:
                if out := pipe.close():
                    yield out
        except UpstreamFailure as failure:
            pipe.fail(StreamError(code=failure.code, message=failure.message, status=failure.status))
        finally:
            self.usage, self.finish, self.model = pipe.usage, pipe.finish, pipe.model
            self.error = pipe.error
        if self.error is not None and not pipe.error_forwarded:
            failure = UpstreamFailure(self.error.message, upstream_code=self.error.code)
            yield self._caller.operation.encode_stream_error(failure)

    async def aclose(self) -> None:
        """End the call, whether or not it is at its end: the provider stops generating."""
        await self._response.aclose()


async def open_exchange(provider: Provider, deployment: Deployment, caller: Caller) -> Exchange:
    """Call `deployment` for `caller` and wait until its answer has begun.

    Raises InvalidRequest where the request cannot be put in the provider's format, else UpstreamFailure.
    """
    row = provider.row
    prepared = caller.operation.prepare(row, deployment, caller)
    request = UpstreamRequest(
        method="POST",
        url=url_of(row.base_url, prepared.path, deployment.upstream_model),
        headers=upstream_headers(row, provider.api_key, caller.headers),
        body=prepared.body,
        first_byte_timeout_s=provider.first_byte_timeout_s,
        idle_timeout_s=provider.idle_timeout_s,
    )
    if provider.signer is not None:
        request = await provider.signer.sign(request)
    begun = time.monotonic()
    response = await provider.transport.send(request)
    try:
        exchange = await _begin(provider, caller, prepared, response)
    except BaseException:  # whatever ends this call early, the provider must stop generating
        await response.aclose()
        raise
    exchange.warnings.extend(prepared.warnings)
    exchange.waited_s = time.monotonic() - begun
    return exchange


async def _begin(provider: Provider, caller: Caller, prepared: Prepared, response: UpstreamResponse) -> Exchange:
    """The answer, begun. Raises UpstreamFailure when it is an error or no answer at all."""
    if response.status >= 400:
        body = await response.read(MAX_ERROR_BYTES)
        raise failure_of(provider.row.name, prepared.fault(body), response.status, response.headers, body)
    exchange = Exchange(caller, response, translated=prepared.api.dialect != caller.operation.name)
    if prepared.pipe is not None:
        await exchange.begin_stream(prepared.pipe())
    else:
        await exchange.read_whole(prepared)
    return exchange
