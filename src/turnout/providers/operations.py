"""What a caller may ask of a model, as far as an exchange needs it: the request put in a provider's wire format, and
how its answer becomes the caller's. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.chat import FinishReason, ReasoningConfig, RequestOutline, Usage
from turnout.dialects import DIALECTS
from turnout.dialects.base import Dialect, Fault
from turnout.dialects.tool_shapes import Restorer, as_functions
from turnout.errors import NotTranslatable, TurnoutError
from turnout.providers.apis import Api
from turnout.providers.pipes import Pipe, TappedPipe, TranslatingPipe, fresh_id
from turnout.providers.registry import ProviderRow
from turnout.providers.repair import Repair, repaired_body, repaired_outline

__all__ = ["Answer", "Caller", "ChatOperation", "Named", "Operation", "Prepared"]


class Named(Struct, frozen=True):
    """What some APIs say in the URL and not in the body."""

    model: str
    stream: bool = False


class Answer(Struct, frozen=True, kw_only=True):
    """A whole answer in the caller's format, and what the books need of it."""

    body: bytes
    usage: Usage | None = None
    finish: FinishReason | None = None
    model: str | None = None
    warnings: tuple[str, ...] = ()


class Prepared(Struct, frozen=True, kw_only=True):
    """A request ready for one provider. `answer` raises UpstreamFailure; `pipe` is None where nobody streams."""

    api: Api
    path: str
    body: bytes
    answer: Callable[[bytes], Answer]
    fault: Callable[[bytes], Fault]
    pipe: Callable[[], Pipe] | None = None
    warnings: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()


class Caller(Struct, frozen=True, kw_only=True):
    """What the caller sent, as far as an exchange needs it. `headers` has lower-case names; `deadline_s` is when the
    answer must be at its end, by the monotonic clock; `repair` is what may be put in for the provider's cache; `trace`:
    headers that tell the provider whose trace this call belongs to."""

    operation: Operation
    outline: RequestOutline
    body: bytes
    headers: Mapping[str, str]
    effort: str | None = None
    deadline_s: float | None = None
    repair: Repair | None = None
    trace: tuple[tuple[str, str], ...] = ()


class Operation(Protocol):
    """One kind of request in one wire format. `name` is the format's, for the records."""

    @property
    def name(self) -> str: ...

    @property
    def chat(self) -> Dialect | None:
        """The wire format of a conversation's next turn; None for what does not stream."""
        ...

    def outline(self, body: bytes) -> RequestOutline:
        """Raises InvalidRequest."""
        ...

    def prepare(self, row: ProviderRow, deployment: Deployment, caller: Caller) -> Prepared:
        """Raises InvalidRequest where the request cannot be put in the provider's format."""
        ...

    def encode_error(self, error: TurnoutError) -> bytes: ...

    def encode_stream_error(self, error: TurnoutError) -> bytes: ...


class ChatOperation:
    """A conversation's next turn. An Operation. `named`: for formats whose model stands in the URL."""

    def __init__(self, dialect: Dialect, named: Named | None = None) -> None:
        self.name, self.chat = dialect.name, dialect
        self._named = named

    def outline(self, body: bytes) -> RequestOutline:
        told = self.chat.outline(body)
        if self._named is None:
            return told
        return replace(told, model=self._named.model, stream=self._named.stream)

    def encode_error(self, error: TurnoutError) -> bytes:
        return self.chat.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return self.chat.encode_stream_error(error)

    def prepare(self, row: ProviderRow, deployment: Deployment, caller: Caller) -> Prepared:
        """Same dialect on both sides: the caller's bytes are patched and the provider's handed on, read along for the
        books. Different dialects: through the neutral types."""
        outline = caller.outline
        api = row.api(self.name, deployment.upstream_model)
        path = api.stream if outline.stream and api.stream else api.path
        there = DIALECTS[api.dialect]
        if api.dialect == self.name:
            whole, headers = repaired_outline(caller.repair, api, there, outline, caller.headers)
            patched = there.patch_request(whole, deployment.upstream_model, caller.effort)
            return Prepared(
                api=api,
                path=path,
                body=adapted(api, patched),
                answer=self._summarised,
                fault=there.decode_error,
                pipe=self._tapped(outline) if outline.stream else None,
                headers=headers,
            )
        return self._translated(api, path, deployment, caller)

    def _summarised(self, raw: bytes) -> Answer:
        told = self.chat.summarise(raw)
        return Answer(body=raw, usage=told.usage, finish=told.finish, model=told.model)

    def _tapped(self, outline: RequestOutline) -> Callable[[], Pipe]:
        return lambda: TappedPipe(self.chat.stream_tap(include_usage=outline.include_usage))

    def _translated(self, api: Api, path: str, deployment: Deployment, caller: Caller) -> Prepared:
        ours, there = self.chat, DIALECTS[api.dialect]
        outline = caller.outline
        request = ours.decode_request(caller.body)
        if request.bound:
            field = request.bound[0]
            raise NotTranslatable(
                f"{field} works at the API that keeps it alone, and the chosen model has another; leave it out or "
                "name a model of that API",
                param=field,
            )
        request = replace(request, model=deployment.upstream_model, stream=outline.stream)
        if caller.effort is not None:
            request = replace(request, reasoning=ReasoningConfig(enabled=True, effort=caller.effort))
        encoded = there.encode_request(as_functions(request))
        body, headers = repaired_body(caller.repair, api, there, encoded.body, (outline.roles, caller.headers))

        def answer(raw: bytes) -> Answer:
            decoded = there.decode_response(raw)
            restorer = Restorer(request.tools)
            told = replace(
                decoded,
                id=decoded.id or fresh_id(),
                model=decoded.model or deployment.upstream_model,
                parts=tuple(restorer.part(p) for p in decoded.parts),
            )
            whole = ours.encode_response(told)
            return Answer(
                body=whole.body, usage=told.usage, finish=told.finish, model=told.model, warnings=whole.warnings
            )

        def pipe() -> Pipe:
            encoder = ours.stream_encoder(include_usage=outline.include_usage)
            return TranslatingPipe(
                there.stream_decoder(), encoder, Restorer(request.tools), model=deployment.upstream_model
            )

        return Prepared(
            api=api,
            path=path,
            body=adapted(api, body),
            answer=answer,
            fault=there.decode_error,
            pipe=pipe if outline.stream else None,
            warnings=encoded.warnings,
            headers=headers,
        )


def adapted(api: Api, body: bytes) -> bytes:
    """`body` with the top-level keys that this host wants otherwise."""
    if not api.added and not api.dropped:
        return body
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    kept = {name: value for name, value in fields.items() if name not in api.dropped}
    return msgspec.json.encode({**kept, **dict(api.added)})
