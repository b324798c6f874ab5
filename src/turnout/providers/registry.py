"""Who serves models: one row a host, as data. Adding a host that speaks a known wire format is one row.

Base URLs, key variables and header names are from each host's API reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

__all__ = ["PROVIDERS", "ProviderRow", "api_path", "custom_row", "returned_headers", "upstream_headers"]

Auth = Literal["bearer", "x-api-key"]

API_PATHS: Mapping[str, str] = {"openai-chat": "/chat/completions", "anthropic-messages": "/v1/messages"}

ANTHROPIC_VERSION = "2023-06-01"
"""Sent when the caller named none (docs.anthropic.com/en/api/versioning)."""

RETURNED_PREFIXES = ("anthropic-", "openai-", "x-ratelimit-", "x-recorded-")
RETURNED_NAMES = frozenset({"retry-after", "request-id", "x-request-id"})


class ProviderRow(Struct, frozen=True, kw_only=True):
    """One host. `key_env`: usual variables of its key. `forwarded`: request headers of the caller that go on to
    it (its betas and versions; never a key). `local`: on the user's own machine, not charged by the token."""

    name: str
    dialect: str
    base_url: str
    key_env: tuple[str, ...] = ()
    auth: Auth = "bearer"
    forwarded: tuple[str, ...] = ()
    local: bool = False


def _hosted(name: str, base_url: str, *key_env: str) -> ProviderRow:
    return ProviderRow(
        name=name,
        dialect="openai-chat",
        base_url=base_url,
        key_env=key_env,
        forwarded=("openai-organization", "openai-project", "openai-beta"),
    )


def _local(name: str, port: int) -> ProviderRow:
    return ProviderRow(name=name, dialect="openai-chat", base_url=f"http://127.0.0.1:{port}/v1", local=True)


_ROWS = (
    _hosted("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ProviderRow(
        name="anthropic",
        dialect="anthropic-messages",
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY",),
        auth="x-api-key",
        forwarded=("anthropic-version", "anthropic-beta"),
    ),
    # Gemini by its OpenAI-compatible path (ai.google.dev/gemini-api/docs/openai).
    _hosted("google", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "GOOGLE_API_KEY"),
    _hosted("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    _hosted("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _hosted("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    _hosted("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    _hosted("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    _hosted("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    _local("ollama", 11434),
    _local("lmstudio", 1234),
    _local("vllm", 8000),
    _local("llamacpp", 8080),
)

PROVIDERS: Mapping[str, ProviderRow] = {row.name: row for row in _ROWS}


def custom_row(name: str, dialect: str, base_url: str) -> ProviderRow:
    """A host that no row knows: it takes keys and betas as the maker of its wire format does."""
    maker = PROVIDERS["anthropic" if dialect == "anthropic-messages" else "openai"]
    return ProviderRow(name=name, dialect=dialect, base_url=base_url, auth=maker.auth, forwarded=maker.forwarded)


def api_path(row: ProviderRow) -> str:
    """What follows `base_url` for a chat request. Anthropic's base is written with and without `/v1`."""
    path = API_PATHS[row.dialect]
    return path.removeprefix("/v1") if row.base_url.rstrip("/").endswith("/v1") else path


def upstream_headers(row: ProviderRow, api_key: str | None, caller: Mapping[str, str]) -> list[tuple[str, str]]:
    """Request headers for the provider. The caller's key is ours to check and goes no further."""
    headers = [("content-type", "application/json")]
    if api_key:
        headers.append(("x-api-key", api_key) if row.auth == "x-api-key" else ("authorization", f"Bearer {api_key}"))
    headers.extend((name, caller[name]) for name in row.forwarded if name in caller)
    if row.dialect == "anthropic-messages" and "anthropic-version" not in caller:
        headers.append(("anthropic-version", ANTHROPIC_VERSION))
    return headers


def returned_headers(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of a provider's answer, the headers that callers rely on: limits, versions, its request id."""
    return [(n, v) for n, v in headers if n in RETURNED_NAMES or n.startswith(RETURNED_PREFIXES)]
