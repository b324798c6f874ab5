"""Wire formats, pure: bytes to and from the neutral types of `turnout.chat`."""

from collections.abc import Mapping

from turnout.dialects.anthropic_messages import ANTHROPIC_MESSAGES
from turnout.dialects.base import Dialect
from turnout.dialects.bedrock_converse import BEDROCK_CONVERSE
from turnout.dialects.gemini import GEMINI
from turnout.dialects.openai_chat import OPENAI_CHAT
from turnout.dialects.openai_responses import OPENAI_RESPONSES

__all__ = ["DIALECTS"]

DIALECTS: Mapping[str, Dialect] = {
    dialect.name: dialect for dialect in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES, GEMINI, BEDROCK_CONVERSE)
}
"""Every wire format by its name in the config."""
