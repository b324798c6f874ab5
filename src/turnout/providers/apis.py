"""The wire formats that hosts speak, and at which paths: one row an API, as data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from msgspec import Struct

from turnout.errors import InvalidRequest

__all__ = [
    "APIS",
    "CHAT",
    "CONVERSE",
    "EMBEDDINGS",
    "GEMINI",
    "GEMINI_EMBEDDINGS",
    "MESSAGES",
    "RESPONSES",
    "Api",
    "url_of",
]


class Api(Struct, frozen=True, kw_only=True):
    """One API of a host. `dialect` names the wire format. In paths `{model}` stands for the model's name.

    `stream` None: streams come from `path`. `count` None: the host counts no tokens. `models`: how the names of the
    models begin that it serves, all where it is empty. `added` and `dropped`: top-level keys that the host wants
    otherwise than the format's maker does. `marks`: it takes marks of where to cache.
    """

    dialect: str
    path: str
    stream: str | None = None
    count: str | None = None
    models: tuple[str, ...] = ()
    added: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    marks: bool = False

    def serves(self, model: str) -> bool:
        return not self.models or model.startswith(self.models)


CHAT = Api(dialect="openai-chat", path="/chat/completions")
RESPONSES = Api(dialect="openai-responses", path="/responses")
EMBEDDINGS = Api(dialect="openai-embeddings", path="/embeddings")
MESSAGES = Api(dialect="anthropic-messages", path="/v1/messages", count="/v1/messages/count_tokens", marks=True)
GEMINI = Api(
    dialect="gemini",
    path="/v1beta/models/{model}:generateContent",
    stream="/v1beta/models/{model}:streamGenerateContent?alt=sse",
    count="/v1beta/models/{model}:countTokens",
)
GEMINI_EMBEDDINGS = Api(dialect="gemini-embeddings", path="/v1beta/models/{model}:batchEmbedContents")
CONVERSE = Api(
    dialect="bedrock-converse", path="/model/{model}/converse", stream="/model/{model}/converse-stream", marks=True
)

APIS: Mapping[str, tuple[Api, ...]] = {
    "openai-chat": (CHAT, EMBEDDINGS),
    "openai-responses": (RESPONSES, EMBEDDINGS),
    "anthropic-messages": (MESSAGES,),
    "gemini": (GEMINI, GEMINI_EMBEDDINGS),
    "bedrock-converse": (CONVERSE,),
}
"""What a host offers that speaks a format as its maker does."""


@lru_cache(maxsize=4096)  # callers choose model names
def url_of(base_url: str, path: str, model: str) -> str:
    """The URL of an API. A base is written with and without the path's first segment (`/v1`): both are meant.

    Raises InvalidRequest for a model's name that would lead elsewhere on the host: callers choose names, and the call
    bears our key.
    """
    if not {".", ".."}.isdisjoint(unquote(model).split("/")):
        raise InvalidRequest(f"model {model!r} is no name: it holds a path segment of dots", param="model")
    base = base_url.rstrip("/")
    first, _, rest = path.removeprefix("/").partition("/")
    if rest and base.endswith(f"/{first}"):
        path = f"/{rest}"
    # A colon is part of Bedrock's names and of Gemini's verbs; a slash belongs to the path only in tuned models.
    return base + path.replace("{model}", quote(model, safe="/:@"))
