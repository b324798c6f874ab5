"""Traces as the config asks for them: off, and then nothing of OpenTelemetry is loaded, or to a collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from turnout import __version__
from turnout.chat import Message
from turnout.config import TelemetryConfig
from turnout.context import RequestContext
from turnout.dialects import DIALECTS
from turnout.errors import ConfigError, TurnoutError

if TYPE_CHECKING:
    from turnout.telemetry.otel import Spans

__all__ = ["open_spans"]

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def open_spans(told: TelemetryConfig, env: Mapping[str, str]) -> Spans | None:
    """Who tells a collector of requests; None where the config does not ask for it. Raises ConfigError where
    OpenTelemetry is not installed."""
    if not told.otel:
        return None
    try:
        from turnout.telemetry.otel import Otlp, Spans
    except ImportError as error:
        raise ConfigError(
            f"telemetry.otel = true needs OpenTelemetry ({error.name} is missing): pip install 'turnout[otel]'",
            param="telemetry.otel",
        ) from None
    headers = {name: value.reveal() for name, value in told.otlp_headers.items()}
    capture = told.capture_content or env.get(CAPTURE, "").strip().lower() == "true"
    to = Otlp(version=__version__, endpoint=told.otlp_endpoint, headers=headers)
    return Spans(to, reads=_said if capture else None)


def _said(ctx: RequestContext) -> Sequence[Message]:
    """What a request says; nothing where it is no conversation."""
    dialect = DIALECTS.get(ctx.dialect)
    if dialect is None:
        return ()
    try:
        return dialect.decode_request(ctx.body).messages
    except TurnoutError:
        return ()
