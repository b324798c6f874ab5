"""Who answered, told from a host's name or from a tool's word for a provider. Data."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["provider_at", "provider_called"]

_HOSTS: Mapping[str, str] = {
    "api.openai.com": "openai",
    "chatgpt.com": "openai",
    "api.anthropic.com": "anthropic",
    "openrouter.ai": "openrouter",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    "openai.azure.com": "azure",
    "services.ai.azure.com": "azure",
    "cognitiveservices.azure.com": "azure",
    "amazonaws.com": "aws",
    "api.aws": "aws",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.xyz": "together",
    "api.together.ai": "together",
    "api.fireworks.ai": "fireworks",
    "api.moonshot.ai": "moonshotai",
    "api.moonshot.cn": "moonshotai",
    "api.cerebras.ai": "cerebras",
}
"""Hosts, or the end of their names; providers as the catalogue calls them."""

_WORDS: Mapping[str, str] = {
    "aws.bedrock": "aws",
    "aws_bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "amazon-bedrock": "aws",
    "az.ai.inference": "azure",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshot_ai": "moonshotai",
    "text-completion-openai": "openai",
    "together_ai": "together",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "vertexai": "google",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
"""OpenTelemetry's `gen_ai.provider.name` and the older `gen_ai.system`, LiteLLM's `custom_llm_provider`, and
OpenInference's `llm.provider`, where they are not the catalogue's names already."""


def provider_at(url: str) -> str:
    """The provider behind a URL or a host, "" where nobody knows it."""
    host = url.partition("//")[2] or url
    host = host.partition("/")[0].rpartition("@")[2].partition(":")[0].lower()
    parts = host.split(".")
    return next((found for i in range(len(parts)) if (found := _HOSTS.get(".".join(parts[i:])))), "")


def provider_called(word: str) -> str:
    """A provider by a tool's name for it. The Vercel AI SDK adds the kind of model behind a point (`openai.chat`)."""
    word = word.lower().strip()
    return _WORDS.get(word) or _WORDS.get(word.partition(".")[0]) or word.partition(".")[0]
