"""Counting a request's tokens as an operation: forwarded to the provider that has the same API."""

from __future__ import annotations

from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.chat import RequestOutline, Usage
from turnout.dialects import DIALECTS
from turnout.dialects.counting import COUNTING
from turnout.errors import NotTranslatable, TurnoutError
from turnout.providers.operations import Answer, Caller, Named, Prepared
from turnout.providers.registry import ProviderRow

__all__ = ["CountOperation"]


class CountOperation:
    """How many tokens a request would have. An Operation. `named`: for the format whose model stands in the URL."""

    def __init__(self, dialect: str, named: Named | None = None) -> None:
        self._counting = COUNTING[dialect]
        self._dialect = DIALECTS[dialect]
        self._named = named

    chat = None

    @property
    def name(self) -> str:
        return self._counting.name

    def outline(self, body: bytes) -> RequestOutline:
        told = self._counting.outline(body)
        return told if self._named is None else replace(told, model=self._named.model)

    def estimated(self, tokens: int) -> bytes:
        """The answer where no provider counts."""
        return self._counting.encode_count(tokens)

    def encode_error(self, error: TurnoutError) -> bytes:
        return self._dialect.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return self._dialect.encode_stream_error(error)

    def prepare(self, row: ProviderRow, deployment: Deployment, caller: Caller) -> Prepared:
        """Raises NotTranslatable where the provider does not count in this format."""
        api = row.api(self.name, deployment.upstream_model)
        if api.dialect != self.name or api.count is None:
            raise NotTranslatable(f"{row.name} counts no tokens")

        def answer(raw: bytes) -> Answer:
            return Answer(body=raw, usage=Usage(input=self._counting.decode_count(raw), output=0))

        return Prepared(
            api=api,
            path=api.count,
            body=self._counting.patch_request(caller.outline, deployment.upstream_model),
            answer=answer,
            fault=self._dialect.decode_error,
        )
