"""LiteLLM's names of providers and what they are here: one row each, as data.

Prefixes and key variables are from docs.litellm.ai/docs/providers, base URLs from each host's own API reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

__all__ = ["HOSTS", "NOT_HERE", "Host"]


class Host(Struct, frozen=True, kw_only=True):
    """`provider`: a row of our registry. None: any host that speaks OpenAI's chat API, at `base_url` where that is
    known. `key`: the variable that LiteLLM takes the key from when none is told. `suffix`: what our base URL has at its
    end and LiteLLM's has not. `catalogue`: whose list prices hold. `dropped`: what a model's name may begin with there
    and has not here."""

    provider: str | None = None
    base_url: str | None = None
    key: str | None = None
    suffix: str = ""
    catalogue: str | None = None
    dropped: tuple[str, ...] = ()


def _known(provider: str, key: str | None = None, *, suffix: str = "", dropped: tuple[str, ...] = ()) -> Host:
    return Host(provider=provider, key=key, catalogue=provider, suffix=suffix, dropped=dropped)


def _at(base_url: str, key: str, catalogue: str | None = None) -> Host:
    return Host(base_url=base_url, key=key, catalogue=catalogue)


HOSTS: Mapping[str, Host] = {
    "openai": _known("openai", "OPENAI_API_KEY"),
    "anthropic": _known("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": _known("google", "GEMINI_API_KEY"),
    "vertex_ai": _known("vertex"),
    "azure": _known("azure", "AZURE_API_KEY", suffix="/openai/v1"),
    "bedrock": _known("bedrock", dropped=("converse/", "converse_like/", "invoke/")),
    "mistral": _known("mistral", "MISTRAL_API_KEY"),
    "groq": _known("groq", "GROQ_API_KEY"),
    "deepseek": _known("deepseek", "DEEPSEEK_API_KEY"),
    "openrouter": _known("openrouter", "OPENROUTER_API_KEY"),
    "together_ai": _known("together", "TOGETHERAI_API_KEY"),
    "xai": _known("xai", "XAI_API_KEY"),
    "ollama": _known("ollama", suffix="/v1"),
    "ollama_chat": _known("ollama", suffix="/v1"),
    "lm_studio": _known("lmstudio"),
    "hosted_vllm": _known("vllm"),
    "vllm": _known("vllm"),
    "custom_openai": Host(),
    "openai_like": Host(),
    "litellm_proxy": Host(key="LITELLM_PROXY_API_KEY"),
    "fireworks_ai": _at("https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY", "fireworks-ai"),
    "perplexity": _at("https://api.perplexity.ai", "PERPLEXITYAI_API_KEY", "perplexity"),
    "cerebras": _at("https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", "cerebras"),
    "sambanova": _at("https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY", "sambanova"),
    "nvidia_nim": _at("https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    "deepinfra": _at("https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY", "deepinfra"),
    "moonshot": _at("https://api.moonshot.ai/v1", "MOONSHOT_API_KEY", "moonshot"),
    "dashscope": _at("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
}
"""The prefix of `litellm_params.model`, or its `custom_llm_provider`."""

NOT_HERE: Mapping[str, str] = {
    "auto_router": "ask for `auto` instead: it needs no routes",
    "azure_ai": 'name its v1 endpoint as a provider: dialect = "openai-chat", base_url = "https://.../openai/v1"',
    "text-completion-openai": "the completions API is not served; name a chat model",
}
"""Prefixes with an answer of their own; any other that is no row has no wire format here."""
