"""One call of one deployment: the request in the provider's wire format, the answer back in the caller's.

An exchange is open only when the answer has begun, so that whoever opened it may still go elsewhere when opening
fails. How a request and its answer are put in the other's words is `operations.py`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator

from msgspec import Struct

from turnout.catalog.models import Deployment, RateLimits
from turnout.chat import FinishReason, Part, StreamError, Usage
from turnout.dialects.base import Fault
from turnout.errors import UpstreamBroken, UpstreamFailure, UpstreamTimeout
from turnout.providers.apis import url_of
from turnout.providers.faults import failure_of, reason_of
from turnout.providers.limits import limits_of
from turnout.providers.operations import Caller, Prepared
from turnout.providers.pipes import Pipe
from turnout.providers.registry import ProviderRow, returned_headers, upstream_headers
from turnout.providers.signing import Signer
from turnout.providers.splice import text_of
from turnout.providers.transport import Transport, UpstreamRequest, UpstreamResponse

__all__ = ["Exchange", "Provider", "open_exchange"]

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024

_REFUSED = frozenset({"content_filter", "refusal"})


class Provider(Struct, frozen=True, kw_only=True):
    """A provider ready to be called, by one of its accounts: its registry row, key, transport and, where calls are
    signed, its signer. `idle_timeout_s` is how long an answer may pause; for how long it may keep silent before it
    begins is up to whoever calls."""

    row: ProviderRow
    api_key: str | None
    transport: Transport
    signer: Signer | None = None
    idle_timeout_s: float = 120.0


class Exchange:
    """An answer that has begun. `body` holds it whole when the caller did not stream; else `stream()` does.

    The books (`usage`, `finish`, `model`, `error`) are complete once the body or the stream is at its end.
    `bills_on`: the provider writes and bills on though nobody reads. `waited_s` is the time spent waiting for the
    provider before the answer began; `translated` says that it spoke another wire format than the caller; `whole` that
    the answer came to its end, and well.
    """

    body: bytes | None = None
    usage: Usage | None = None
    finish: FinishReason | None = None
    model: str | None = None
    error: StreamError | None = None
    waited_s = 0.0
    whole = False
    _pipe: Pipe | None = None
    _chunks: AsyncIterator[bytes] | None = None
    _first = b""

    def __init__(self, row: ProviderRow, caller: Caller, response: UpstreamResponse, *, translated: bool) -> None:
        self._provider = row.name
        self.bills_on = row.bills_after_cancel
        self._caller = caller
        self._deadline_s = float("inf") if caller.deadline_s is None else caller.deadline_s
        self._response = response
        self.headers = returned_headers(response.headers)
        self.limits: RateLimits | None = limits_of(response.headers)
        self.translated = translated
        self.warnings: list[str] = []

    @property
    def refused(self) -> bool:
        """Whether the answer is whole and says that the model, or a filter before it, would not."""
        return self.body is not None and self.finish is not None and self.finish.unified in _REFUSED

    @property
    def text(self) -> str:
        """What a whole answer says: words, thoughts and arguments of calls."""
        chat = self._caller.operation.chat
        return text_of(chat, self.body) if chat is not None and self.body is not None else ""

    @property
    def parts(self) -> tuple[Part, ...] | None:
        """What a whole answer is made of; None where that is not to be read."""
        chat = self._caller.operation.chat
        if chat is None or self.body is None:
            return None
        try:
            return chat.decode_response(self.body).parts
        except UpstreamFailure:
            return None

    async def read_whole(self, prepared: Prepared) -> None:
        """Take the whole answer in. Raises UpstreamFailure when it is none."""
        told = prepared.answer(await self._response.read(MAX_ANSWER_BYTES))
        self.body, self.usage, self.finish, self.model = told.body, told.usage, told.finish, told.model
        self.warnings.extend(told.warnings)
        self.whole = True

    async def begin_stream(self, pipe: Pipe) -> None:
        """Read until there is an event to forward; comments that keep a connection awake are none. Raises
        UpstreamFailure when the stream fails before."""
        self._pipe, self._chunks = pipe, self._response.chunks()
        async for chunk in self._chunks:
            self._first += pipe.feed(chunk)
            if pipe.error is not None:
                break
            if b"data:" in self._first:
                return
        else:
            self._first += pipe.close()
        if pipe.error is not None:
            raise _failed_start(self._provider, pipe.error)
        if b"data:" not in self._first:
            raise UpstreamBroken("the provider's stream ended before it began")

    async def stream(self) -> AsyncGenerator[bytes]:
        """The answer's bytes for the caller, up to its end or to where it failed (then `farewell` is due)."""
        pipe, chunks = self._pipe, self._chunks
        if pipe is None or chunks is None:
            return
        try:
            yield self._first
            async for chunk in chunks:
                if out := pipe.feed(chunk):
                    yield out
                if pipe.error is not None:
                    break
                if time.monotonic() > self._deadline_s:
                    raise UpstreamTimeout("the answer was not at its end in time")
            else:
                if out := pipe.close():
                    yield out
                self.whole = pipe.error is None
        except UpstreamFailure as failure:
            pipe.fail(StreamError(code=failure.code, message=failure.message, status=failure.status))
        finally:
            self.usage, self.finish, self.model = pipe.usage, pipe.finish, pipe.model
            self.error = pipe.error

    def farewell(self) -> bytes | None:
        """The error event of the caller's API that a failed stream ends with; None where all went well, or where the
        provider's own was handed on."""
        if self.error is None or (self._pipe is not None and self._pipe.error_forwarded):
            return None
        return self._caller.operation.encode_stream_error(
            UpstreamFailure(self.error.message, upstream_code=self.error.code)
        )

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
        headers=[*upstream_headers(row, provider.api_key, caller.headers), *prepared.headers, *caller.trace],
        body=prepared.body,
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
        failure = failure_of(provider.row.name, prepared.fault(body), response.status, response.headers, body)
        if provider.api_key:  # some hosts repeat the key that they refuse
            failure.message = failure.message.replace(provider.api_key, "***")
        raise failure
    exchange = Exchange(provider.row, caller, response, translated=prepared.api.dialect != caller.operation.name)
    if prepared.pipe is not None:
        await exchange.begin_stream(prepared.pipe())
    else:
        await exchange.read_whole(prepared)
    return exchange


def _failed_start(provider: str, error: StreamError) -> UpstreamFailure:
    """What to raise for a stream whose first event is an error: as if it had come with a status."""
    if error.status < 500:
        return failure_of(provider, Fault(code=error.code, message=error.message), error.status, (), b"")
    return UpstreamFailure(
        f"provider {provider}'s stream failed at its start ({error.code}); try again or add a fallback",
        reason=reason_of(error.status, error.code),
        upstream_code=error.code,
        upstream_status=error.status,
        body=error.message.encode("utf-8", "replace"),
    )
