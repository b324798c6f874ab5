"""Who serves models: one row a host, as data. Adding a host that speaks a known wire format is one row.

Base URLs, key variables and header names are from each host's API reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from turnout.providers.apis import (
    CHAT,
    CONVERSE,
    EMBEDDINGS,
    GEMINI,
    GEMINI_EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    Api,
)

__all__ = [
    "PROVIDERS",
    "ProviderRow",
    "base_variables",
    "custom_row",
    "filled_base",
    "returned_headers",
    "upstream_headers",
]

Auth = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key", "sigv4", "google"]

KEY_HEADERS: Mapping[str, tuple[str, str]] = {
    "bearer": ("authorization", "Bearer {key}"),
    "x-api-key": ("x-api-key", "{key}"),
    "x-goog-api-key": ("x-goog-api-key", "{key}"),
    "api-key": ("api-key", "{key}"),
    # With a key these two take it as a bearer token; without one each call is signed (`turnout.providers.signing`).
    "sigv4": ("authorization", "Bearer {key}"),
    "google": ("authorization", "Bearer {key}"),
}

ANTHROPIC_VERSION = "2023-06-01"
"""Sent when the caller named none (docs.anthropic.com/en/api/versioning)."""

RETURNED_PREFIXES = ("anthropic-", "openai-", "x-ratelimit-", "x-recorded-", "x-goog-", "x-amzn-")
RETURNED_NAMES = frozenset({"retry-after", "request-id", "x-request-id", "apim-request-id"})


class ProviderRow(Struct, frozen=True, kw_only=True):
    """One host. `apis`: what it speaks; the first that serves a model is for callers of other formats. `base_url` may
    hold `{VARIABLE}` of the environment. `key_env`: usual variables of its key. `forwarded`: request headers of the
    caller that go on to it (its betas and versions; never a key). `local`: on the user's own machine, not charged by
    the token. `bills_after_cancel`: it goes on writing, and bills it, when nobody reads any more. `models`: what it
    has where neither config nor catalogue says."""

    name: str
    apis: tuple[Api, ...]
    base_url: str
    key_env: tuple[str, ...] = ()
    auth: Auth = "bearer"
    forwarded: tuple[str, ...] = ()
    local: bool = False
    bills_after_cancel: bool = False
    models: tuple[str, ...] = ()

    @property
    def dialect(self) -> str:
        """The wire format in which the host is spoken to unless the caller's own is one of its."""
        return self.apis[0].dialect

    def api(self, dialect: str, model: str) -> Api:
        """The API for `model`: the caller's own format where the host speaks it, else its first of the same kind."""
        able, kind = None, dialect.endswith("-embeddings")
        for api in self.apis:
            if api.serves(model) and api.dialect.endswith("-embeddings") is kind:
                if api.dialect == dialect:
                    return api
                able = able or api
        return able or self.apis[0]


_OPENAI_HEADERS = ("openai-organization", "openai-project", "openai-beta")
_ANTHROPIC_HEADERS = ("anthropic-version", "anthropic-beta")


def _hosted(name: str, base_url: str, *key_env: str, apis: tuple[Api, ...] = (CHAT, EMBEDDINGS)) -> ProviderRow:
    return ProviderRow(name=name, apis=apis, base_url=base_url, key_env=key_env, forwarded=_OPENAI_HEADERS)


def _local(name: str, port: int) -> ProviderRow:
    return ProviderRow(name=name, apis=(CHAT, EMBEDDINGS), base_url=f"http://127.0.0.1:{port}/v1", local=True)


_ROWS = (
    _hosted("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", apis=(CHAT, RESPONSES, EMBEDDINGS)),
    ProviderRow(
        name="anthropic",
        apis=(MESSAGES,),
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY",),
        auth="x-api-key",
        forwarded=_ANTHROPIC_HEADERS,
    ),
    ProviderRow(
        name="google",
        apis=(GEMINI, GEMINI_EMBEDDINGS),
        base_url="https://generativelanguage.googleapis.com",
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        auth="x-goog-api-key",
    ),
    # learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, the v1 API: models are deployments' names.
    ProviderRow(
        name="azure",
        apis=(CHAT, RESPONSES, EMBEDDINGS),
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        key_env=("AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
        auth="api-key",
    ),
    # cloud.google.com/vertex-ai/generative-ai/docs: the models of Google and of Anthropic, each at its publisher.
    ProviderRow(
        name="vertex",
        apis=(
            Api(
                dialect="anthropic-messages",
                path="/publishers/anthropic/models/{model}:rawPredict",
                stream="/publishers/anthropic/models/{model}:streamRawPredict",
                models=("claude",),
                added=(("anthropic_version", "vertex-2023-10-16"),),
                dropped=("model",),
                marks=True,
            ),
            Api(
                dialect="gemini",
                path="/publishers/google/models/{model}:generateContent",
                stream="/publishers/google/models/{model}:streamGenerateContent?alt=sse",
                count="/publishers/google/models/{model}:countTokens",
                models=("gemini", "gemma"),
            ),
        ),
        base_url="https://{GOOGLE_CLOUD_LOCATION}-aiplatform.googleapis.com/v1"
        "/projects/{GOOGLE_CLOUD_PROJECT}/locations/{GOOGLE_CLOUD_LOCATION}",
        auth="google",
        forwarded=("anthropic-beta",),
    ),
    # docs.aws.amazon.com/bedrock: Converse is one API for the models of every maker there.
    ProviderRow(
        name="bedrock",
        apis=(CONVERSE,),
        base_url="https://bedrock-runtime.{AWS_REGION}.amazonaws.com",
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        auth="sigv4",
        bills_after_cancel=True,
    ),
    _hosted("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    _hosted("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    _hosted(
        "openrouter",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        apis=(replace(CHAT, marks=True), EMBEDDINGS),  # it hands marks on to models that read them
    ),
    _hosted("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    _hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY", apis=(CHAT, RESPONSES)),
    _local("ollama", 11434),
    _local("lmstudio", 1234),
    _local("vllm", 8000),
    _local("llamacpp", 8080),
)

PROVIDERS: Mapping[str, ProviderRow] = {row.name: row for row in _ROWS}

_MAKERS = {
    "openai-chat": "openai",
    "openai-responses": "openai",
    "anthropic-messages": "anthropic",
    "gemini": "google",
    "bedrock-converse": "bedrock",
}


def base_variables(row: ProviderRow) -> list[str]:
    """The variables of the environment that `row.base_url` is made of."""
    return re.findall(r"{(\w+)}", row.base_url)


def filled_base(row: ProviderRow, env: Mapping[str, str]) -> str:
    """The base URL with the environment's values. Raises KeyError for one that is not set."""
    base = re.sub(r"{(\w+)}", lambda found: env[found[1]].rstrip("/"), row.base_url)
    return base.replace("//global-aiplatform.", "//aiplatform.")  # Vertex's global location has no prefix


def custom_row(name: str, apis: tuple[Api, ...], base_url: str) -> ProviderRow:
    """A host that no row knows: it takes keys and betas as the maker of its first wire format does."""
    maker = PROVIDERS[_MAKERS[apis[0].dialect]]
    return ProviderRow(name=name, apis=apis, base_url=base_url, auth=maker.auth, forwarded=maker.forwarded)


def upstream_headers(row: ProviderRow, api_key: str | None, caller: Mapping[str, str]) -> list[tuple[str, str]]:
    """Request headers for the provider. The caller's key is ours to check and goes no further."""
    headers = [("content-type", "application/json")]
    if api_key:
        name, form = KEY_HEADERS[row.auth]
        headers.append((name, form.format(key=api_key)))
    headers += [(name, caller[name]) for name in row.forwarded if name in caller]
    if "anthropic-version" in row.forwarded and "anthropic-version" not in caller:
        headers.append(("anthropic-version", ANTHROPIC_VERSION))
    return headers


def returned_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a provider's answer, the headers that callers rely on: limits, versions, its request id."""
    return [(n, v) for n, v in headers if n in RETURNED_NAMES or n.startswith(RETURNED_PREFIXES)]
