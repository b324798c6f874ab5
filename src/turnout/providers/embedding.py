"""Embeddings as an operation: a request put in a provider's wire format, and its vectors in the caller's."""

from __future__ import annotations

from msgspec.structs import replace

from turnout.catalog.models import Deployment
from turnout.chat import RequestOutline
from turnout.dialects.embeddings import EMBEDDINGS, EmbeddingsDialect
from turnout.errors import InvalidRequest, TurnoutError
from turnout.providers.operations import Answer, Caller, Prepared
from turnout.providers.registry import ProviderRow

__all__ = ["EmbeddingOperation"]

_CHOOSERS = ("auto", "tier/", "mode/")


class EmbeddingOperation:
    """Texts to vectors. An Operation. `model`: for the format whose model stands in the URL."""

    def __init__(self, dialect: EmbeddingsDialect, model: str | None = None) -> None:
        self._dialect = dialect
        self._model = model

    chat = None

    @property
    def name(self) -> str:
        return self._dialect.name

    def outline(self, body: bytes) -> RequestOutline:
        told = self._dialect.outline(body)
        told = told if self._model is None else replace(told, model=self._model)
        if told.model.startswith(_CHOOSERS):
            raise InvalidRequest(
                f"{told.model} chooses among models that talk, and vectors of two models cannot be compared; "
                "name the one that embeds",
                param="model",
            )
        return told

    def encode_error(self, error: TurnoutError) -> bytes:
        return self._dialect.encode_error(error)

    def encode_stream_error(self, error: TurnoutError) -> bytes:
        return self._dialect.encode_error(error)

    def prepare(self, row: ProviderRow, deployment: Deployment, caller: Caller) -> Prepared:
        api = row.api(self.name, deployment.upstream_model)
        there = EMBEDDINGS.get(api.dialect)
        if there is None:
            raise InvalidRequest(f"provider {row.name} has no embeddings; name another model", param="model")
        if api.dialect == self.name:
            body = there.patch_request(caller.outline, deployment.upstream_model)

            def handed_on(raw: bytes) -> Answer:
                told = there.summarise(raw)
                return Answer(body=there.handed_on(raw, caller.outline), usage=told.usage, model=told.model)

            return Prepared(api=api, path=api.path, body=body, answer=handed_on, fault=there.decode_error)
        request = replace(self._dialect.decode_request(caller.body), model=deployment.upstream_model)
        encoded = there.encode_request(request)

        def answer(raw: bytes) -> Answer:
            told = there.decode_response(raw)
            named = told if told.model else replace(told, model=deployment.upstream_model)
            return Answer(body=self._dialect.encode_response(named, request), usage=told.usage, model=named.model)

        return Prepared(
            api=api,
            path=api.path,
            body=encoded.body,
            answer=answer,
            fault=there.decode_error,
            warnings=encoded.warnings,
        )
