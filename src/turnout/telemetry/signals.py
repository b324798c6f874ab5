"""Who is told when a request is over: the sums, and whoever else listens (the log, traces)."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from turnout.context import RequestContext
from turnout.telemetry.logs import JsonLog
from turnout.telemetry.metrics import Metrics

__all__ = ["Braked", "Listener", "Signals"]

Listener = Callable[[RequestContext], None]
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
        self.listeners: tuple[Listener, ...] = ()
        self.on_brake: Callable[[Braked], None] = lambda _: None

    def settled(self, ctx: RequestContext) -> None:
        """A request's books are closed."""
        self.metrics.settled(ctx)
        if self.log is not None:
            self.log.settled(ctx)
        for listener in self.listeners:
            listener(ctx)

    def braked(self, ctx: RequestContext, brake: str, action: str, why: str) -> None:
        """A brake acts on the session of a request."""
        self.metrics.braked(brake, action)
        feature = ctx.tags.get("feature")
        self.on_brake(
            Braked(session=ctx.session.id, key=ctx.key_id, feature=feature, brake=brake, action=action, why=why)
        )
