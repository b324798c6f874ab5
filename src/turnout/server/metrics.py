"""`GET /metrics`: what Prometheus reads, from the sums of all requests and from the state of things now."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec.structs import asdict

from turnout import __version__
from turnout.engine import Engine
from turnout.errors import MethodNotAllowed
from turnout.memory import Memory
from turnout.server.admission import Admission
from turnout.server.siblings import Siblings
from turnout.spend.budgets import BudgetState
from turnout.spend.pacing import Pacing
from turnout.telemetry.exposition import Page, taken
from turnout.telemetry.readings import BudgetReading, Readings
from turnout.telemetry.snapshot import Snapshot

__all__ = ["METRICS", "Scrapes", "budget_reading"]

METRICS = "/metrics"


class Scrapes:
    """Writes the page for whoever may read it; `siblings`: of all of them."""

    def __init__(self, engine: Engine, admission: Admission, siblings: Siblings | None = None) -> None:
        self._admission = admission
        self._siblings = siblings
        self._page: Page | None = None
        self.follow(engine)

    def follow(self, engine: Engine) -> None:
        """Read `engine` from now on. What its config names always has a series of its own; the sums stay."""
        self._engine = engine
        metrics = engine.state.memory.signals.metrics
        accounts = engine.state.board.accounts
        metrics.models.expect(d.id for d in engine.fleet)
        metrics.models.expect(name for names in accounts.values() for name in names)
        metrics.models.expect(t.id for d in engine.fleet for t in engine.state.board.targets(d))
        metrics.keys.expect(stored.key.name for stored, _ in engine.keyring.listing())
        metrics.modes.expect(n.removeprefix("mode/") for n in engine.names.listing() if n.startswith("mode/"))

    def page(self, method: str, headers: Mapping[str, str]) -> tuple[bytes, str]:
        """The page and its content type. Raises MethodNotAllowed."""
        if method not in {"GET", "HEAD"}:
            raise MethodNotAllowed(f"{METRICS} takes GET, not {method}")
        if self._page is None:
            self._page = Page(self._together, several=self._siblings is not None)
        return self._page.write(headers.get("accept", ""))

    async def tell(self) -> None:
        """Let the other workers know how things stand here."""
        if self._siblings is not None:
            self._siblings.tell(self._own())

    def _together(self) -> Snapshot:
        own = self._own()
        return own if self._siblings is None else self._siblings.together(own)

    def _own(self) -> Snapshot:
        return taken(self._engine.state.memory.signals.metrics, self._read(), time.monotonic())

    def _read(self) -> Readings:
        state, admission, now = self._engine.state, self._admission, datetime.now(UTC)
        memory = state.memory
        return Readings(
            version=__version__,
            breakers=state.board.standings(),
            budgets=tuple(budget_reading(budget, memory.pacing, now) for budget in memory.budgets.states()),
            in_flight=admission.in_flight,
            queued=admission.waiting,
            concurrency_limit=int(admission.limit),
            ledger_healthy=memory.ledger.healthy,
            ledger_dropped=memory.ledger.dropped,
            ledger_waiting=memory.ledger.waiting,
            alarms=tuple((a.model, a.kind) for told in memory.learner.drift.standings(now) for a in told.alarms),
            webhooks=state.alerts.counts,
            log_lines_dropped=memory.signals.log.dropped if memory.signals.log else 0,
            shared_healthy=memory.peers.healthy if memory.peers else None,
            peers=_peers(memory),
        )


def budget_reading(state: BudgetState, pacing: Pacing, now: datetime) -> BudgetReading:
    """A budget as the page shows it."""
    name, elapsed = state.rule.name, None
    if state.end is not None:
        elapsed = min(1.0, max(0.0, (now - state.start) / (state.end - state.start)))
    pacer = pacing[name] if name in pacing.names and state.end is not None else None
    return BudgetReading(
        name=name,
        amount_nano_usd=state.amount_nano_usd,
        spent_nano_usd=state.spent_nano_usd,
        held_nano_usd=state.held_nano_usd,
        elapsed=elapsed,
        price=pacer.price if pacer else None,
        rung=int(pacer.rung) if pacer else None,
    )


def _peers(memory: Memory) -> dict[str, int]:
    """What other gateways were asked and told; `uncovered`: requests that passed beyond their lease of a budget."""
    told = asdict(memory.peers.counts) if memory.peers else {}
    return {**told, "uncovered": memory.leasing.passed_uncovered} if memory.leasing else told
