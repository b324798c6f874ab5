"""Wire formats, pure: bytes to and from the neutral types of `turnout.chat`."""

from collections.abc import Mapping

from turnout.dialects.anthropic_messages import AnthropicMessages
from turnout.dialects.base import Dialect
from turnout.dialects.bedrock_converse import BedrockConverse
from turnout.dialects.gemini import Gemini
from turnout.dialects.openai_chat import OpenAIChat
from turnout.dialects.openai_responses import OpenAIResponses

__all__ = ["DIALECTS"]

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect
    for dialect in (OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Gemini(), BedrockConverse())
}
"""Every wire format by its name in the config."""
