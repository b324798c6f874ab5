"""Who is told when a request is over: the sums, and whoever else listens (the log, traces)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from turnout.chat import Part
from turnout.context import RequestContext
from turnout.telemetry.logs import JsonLog
from turnout.telemetry.metrics import Metrics
from turnout.trace import Trace, trace_of

__all__ = ["Braked", "Listener", "Said", "Signals"]

Said = Callable[[], tuple[Part, ...] | None]
"""Gives what was answered; None where that is not known whole."""

Listener = Callable[[RequestContext, Said], None]
"""Called once a request, when its books are closed, on the path of every request: it takes note and never raises."""


class Braked(Struct, frozen=True, kw_only=True):
    """A brake acted on a session; `why` is its sentence."""

    session: str
    key: str | None
    feature: str | None
    brake: str
    action: str
    why: str


class Signals:
    """What a gateway tells of itself. It outlives a change of the config; one event loop owns it."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.log: JsonLog | None = None
        self.tracer: Listener | None = None
        self.on_brake: Callable[[Braked], None] = lambda _: None

    def trace(self, headers: Mapping[str, str]) -> Trace | None:
        """The trace that a request belongs to; None while nobody traces."""
        return None if self.tracer is None else trace_of(headers)

    def settled(self, ctx: RequestContext, said: Said) -> None:
        """A request's books are closed."""
        self.metrics.settled(ctx)
        if self.log is not None:
            self.log.settled(ctx)
        if self.tracer is not None:
            self.tracer(ctx, said)

    def braked(self, ctx: RequestContext, brake: str, action: str, why: str) -> None:
        """A brake acts on the session of a request."""
        self.metrics.braked(brake, action)
        feature = ctx.tags.get("feature")
        self.on_brake(
            Braked(session=ctx.session.id, key=ctx.key_id, feature=feature, brake=brake, action=action, why=why)
        )
