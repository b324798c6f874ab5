"""Every format of logs that can be read: one row each, asked in this order."""

from collections.abc import Sequence

from turnout.lab.audit.readers.base import Head, Reader
from turnout.lab.audit.readers.claude_code import CLAUDE_CODE
from turnout.lab.audit.readers.codex import CODEX
from turnout.lab.audit.readers.exchanges import EXCHANGES
from turnout.lab.audit.readers.gemini_cli import GEMINI_CLI
from turnout.lab.audit.readers.langfuse import LANGFUSE
from turnout.lab.audit.readers.ledger import LEDGER
from turnout.lab.audit.readers.litellm import LITELLM
from turnout.lab.audit.readers.mini_swe_agent import MINI_SWE_AGENT
from turnout.lab.audit.readers.opencode import OPENCODE
from turnout.lab.audit.readers.openhands import OPENHANDS
from turnout.lab.audit.readers.otel import OTEL
from turnout.lab.audit.readers.swe_agent import SWE_AGENT
from turnout.lab.audit.readers.tau import TAU
from turnout.lab.audit.readers.traces import TRACES

__all__ = ["READERS", "reader_for"]

READERS: Sequence[Reader] = (
    CLAUDE_CODE,
    CODEX,
    TRACES,
    GEMINI_CLI,
    OPENCODE,
    MINI_SWE_AGENT,
    SWE_AGENT,
    OPENHANDS,
    TAU,
    LEDGER,
    LITELLM,
    OTEL,
    LANGFUSE,
    EXCHANGES,
)
"""The more particular come first: what two would take goes to the first."""


def reader_for(head: Head) -> Reader | None:
    """The reader that claims a file; None: nobody knows it."""
    return next((reader for reader in READERS if reader.claims(head)), None)
