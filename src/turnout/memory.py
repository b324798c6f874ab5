"""What requests leave behind and later ones find: sessions, money, runs, counts. It outlives a change of config."""

from __future__ import annotations

from msgspec import Struct, field

from turnout.background import Background
from turnout.contexts import Contexts
from turnout.conversations import Conversations
from turnout.learning import Learner
from turnout.leasing import Leasing
from turnout.peers import Peers
from turnout.routing.affinity import SessionTable
from turnout.routing.calibration import TokenEstimator
from turnout.routing.outlook import Foresight
from turnout.routing.volatile import PrefixWatch
from turnout.shadow import AT_ONCE
from turnout.sharing import AnswerCache
from turnout.spend.budgets import Budgets
from turnout.spend.journal import Journal
from turnout.spend.ledger import Ledger
from turnout.spend.pacing import Pacing
from turnout.spend.rates import Gates
from turnout.spend.runs import Runs
from turnout.streams import Drains
from turnout.telemetry.signals import Signals

__all__ = ["Memory"]


class Memory(Struct, frozen=True, kw_only=True):
    """Everything that is shared by the requests of a gateway. `gateway`: its name, `leasing` its lease of budgets'
    money, and `peers` what it asks of the others and tells them, where several share their state."""

    sessions: SessionTable
    foresight: Foresight
    ledger: Ledger
    runs: Runs
    pacing: Pacing
    gates: Gates
    budgets: Budgets
    journal: Journal
    conversations: Conversations
    tokens: TokenEstimator
    drains: Drains
    prefixes: PrefixWatch
    answers: AnswerCache
    background: Background = field(default_factory=lambda: Background(at_once=AT_ONCE))
    contexts: Contexts = field(default_factory=Contexts)
    learner: Learner = field(default_factory=Learner)
    signals: Signals = field(default_factory=Signals)
    gateway: str | None = None
    leasing: Leasing | None = None
    peers: Peers | None = None
