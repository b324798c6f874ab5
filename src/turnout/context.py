"""Everything known of one request while it lives, typed; every phase of the pipeline reads and adds to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct, field

from turnout.catalog.models import Deployment, Target
from turnout.chat import FinishReason, Message, RequestOutline, Usage
from turnout.keys import Key
from turnout.shared_state import KeyAdmission
from turnout.trace import Trace

__all__ = [
    "CACHE_HIT",
    "MARK",
    "Attempt",
    "CacheState",
    "Candidate",
    "Counted",
    "Decision",
    "Kind",
    "Outcome",
    "Parts",
    "Pressure",
    "RequestContext",
    "Reservation",
    "SessionView",
    "Spender",
    "Visit",
    "Warm",
    "WarmKind",
]


class Visit(Struct, frozen=True, kw_only=True):
    """What a target was last sent of a conversation: so many messages and tokens of it lie in its cache, used last at
    `at_s` (monotonic) and kept for `ttl_s` seconds after that."""

    messages: int
    tokens: int
    at_s: float
    ttl_s: float


WarmKind = Literal["stay", "return", "first"]
"""Of a visit: where the request before was served, where an earlier one was, or where none was."""


class Warm(Struct, frozen=True, kw_only=True):
    """What a deployment has of a request in its cache: `tokens` that are likely read, until `until_s` (monotonic) if
    nobody uses it before. `promised`: what the provider's rule says, before experience is taken into account. `age_s`:
    since the last use."""

    tokens: int = 0
    promised: int = 0
    until_s: float = 0.0
    kind: WarmKind = "first"
    age_s: float = 0.0


class SessionView(Struct, frozen=True, kw_only=True):
    """The session a request belongs to, as it stood when the request came in.

    `id` names the session, `agent` the sub-agent within it (a hash of system and tools), `thread` its conversation,
    `parent` the conversation that it branched off or was rewritten from. `step` counts the requests of the thread from
    0. `source` says how the id was found (a header's name, `prefix`).
    `pinned` is the deployment this thread stays with, `home` the target that served it last
    (its cache is warm there), `idle_s` how long ago that was. `cost_nano_usd` is what the whole session, all its
    agents, has spent. `shared` messages of the request are known; `sent` is how many the thread's last request had,
    where this one goes on from it; `growth` how many tokens its context has gained a step; `results` how many of its
    requests, this one among them, read a tool's result. `visits`: what each target that served it keeps of what is
    shared. `compacted`: a long conversation of this agent was begun anew, much shorter. `volatile`: its system text
    changed under it. `alike`: another conversation is, or may become, the same so far: what is answered will tell them
    apart. `rose_from`: the deployment that it was taken up from, on evidence.
    """

    id: str
    agent: str
    step: int
    source: str
    thread: str = ""
    parent: str | None = None
    pinned: str | None = None
    home: str | None = None
    idle_s: float | None = None
    cost_nano_usd: int = 0
    shared: int = 0
    sent: int | None = None
    growth: float | None = None
    results: int = 0
    visits: Mapping[str, Visit] = {}
    compacted: bool = False
    volatile: bool = False
    alike: bool = False
    rose_from: str | None = None


class Candidate(Struct, frozen=True, kw_only=True):
    """One deployment weighed for a request. `rejected` says in one phrase why it lost or cannot serve;
    None for those that may be tried. `expected_cost_nano_usd`: of this request, with what is `warm` there; None:
    unpriced. `success`: the chance that it solves the task; where the predictor spoke of it, with `bounds`
    that hold it nine times in ten, else its tier's, assumed. `expected_s` None: its pace is not known. Candidates that
    share a `place` are the same model at the same price: any will do. `unhealthy` says why one is tried last."""

    deployment: Deployment
    expected_cost_nano_usd: int | None = None
    warm: Warm = Warm()
    success: float | None = None
    bounds: tuple[float, float] | None = None
    expected_s: float | None = None
    place: int = 0
    unhealthy: str | None = None
    rejected: str | None = None

    @property
    def predicted(self) -> float | None:
        """The chance of success that outcomes are held against: what is assumed of a tier is nobody's prediction."""
        return self.success if self.bounds is not None else None


class Decision(Struct, frozen=True, kw_only=True):
    """Which deployments to try, in order, and why. `reason` is a stable short code (`mode`, `pinned`,
    `explicit`, ...), `explanation` one sentence for people. `rest` works out, for whoever shows it, what the rest of
    the session costs with each candidate that may be tried (nano-dollars by deployment's id, the unpriced left out),
    failures done over by the strongest, for each task that is solved."""

    candidates: tuple[Candidate, ...]
    rejected: tuple[Candidate, ...] = ()
    reason: str
    explanation: str
    mode: str | None = None
    effort: str | None = None
    # False for decisions that say nothing of what the session needs (an explicit model, a mode).
    pins: bool = False
    rest: Callable[[], Mapping[str, int]] = dict


class Attempt(Struct, frozen=True, kw_only=True):
    """One call of one target. Times in seconds; `ttft_s` to the first byte of the answer, `waited_s` before the call.

    `reason` is why it failed. `cost_nano_usd` is what a call cost whose answer nobody got (a hedge that lost, an answer
    that another model had to finish). `reprefill_nano_usd`: what it costs to read the conversation anew here, away from
    the place that has it in its cache.
    """

    deployment: Deployment
    target: str = ""
    status: int | None
    error_code: str | None = None
    reason: str | None = None
    waited_s: float = 0.0
    cost_nano_usd: int | None = None
    usage: Usage | None = None
    reprefill_nano_usd: int | None = None
    duration_s: float = 0.0
    ttft_s: float | None = None


class Parts(Struct, frozen=True, kw_only=True):
    """Tokens of a request's context by what they are; they add up to its input."""

    system: int = 0
    tools: int = 0
    history: int = 0
    tool_results: int = 0
    attachments: int = 0
    reasoning: int = 0

    def scaled(self, total: int) -> Parts:
        """The same shares of `total`."""
        mine = self.system + self.tools + self.history + self.tool_results + self.attachments + self.reasoning
        factor = total / mine if mine else 0.0
        return Parts(
            system=round(self.system * factor),
            tools=round(self.tools * factor),
            history=round(self.history * factor),
            tool_results=round(self.tool_results * factor),
            attachments=round(self.attachments * factor),
            reasoning=round(self.reasoning * factor),
        )


Kind = Literal["system", "history", "tool_results", "reasoning"]
"""What a message is, as far as the use of a context is told by kinds."""


class Counted(Struct, frozen=True):
    """o200k tokens of a request, by what models weigh differently. `text`: system and messages as JSON; `tools`: their
    definitions as JSON; `media`: attachments, by plain figures. `messages`: each by itself, in order, with its
    `digests` and what its beginning says it is (`kinds`); `size`: bytes of all, by which it is seen whether a request
    is still the one that was counted."""

    text: int
    tools: int
    media: int
    messages: tuple[float, ...] = ()
    kinds: tuple[Kind, ...] = ()
    digests: tuple[bytes, ...] = ()
    size: int = 0

    @property
    def total(self) -> int:
        return max(1, self.text + self.tools + self.media)


class Pressure(Struct, frozen=True, kw_only=True):
    """What the strictest of the budgets that cover a request asks of it: `price` is what a dollar weighs in ranking (1:
    a dollar), `smaller` how many tiers lower a new session begins; a new session thinks less (`effort`), what nobody
    waits for is put off (`queue`), new sessions do not begin (`pause`)."""

    budget: str | None = None
    price: float = 1.0
    effort: bool = False
    smaller: int = 0
    queue: bool = False
    pause: bool = False


class Spender(Struct, frozen=True, kw_only=True):
    """Who spends, as far as budgets ask."""

    key: str | None
    team: str | None = None
    tags: Mapping[str, str]
    mode: str | None
    session: str


class Reservation(Struct, frozen=True, kw_only=True):
    """Money held for one request: per budget and start of its period, nano-dollars. `unaffordable` are the deployments
    that it does not pay for."""

    request_id: str
    spender: Spender
    at: datetime
    held: tuple[tuple[str, datetime, int], ...] = ()
    unaffordable: frozenset[str] = frozenset()


Outcome = Literal["open", "ok", "error", "cancelled", "lost"]

CacheState = Literal["hit", "miss", "bypass", "shared", "semantic"]
"""What the response cache had to do with a request: an answer that was kept, none, nothing at all, the answer of an
identical request that was under way, or one to a question that means the same."""

MARK = "turnout"
"""The tag of requests of our own, which belong to no conversation (shadows and their judging: `turnout=shadow`). From
a caller it is not taken."""

CACHE_HIT = "cache_hit"
"""The reason of a decision that asked nobody."""


class RequestContext(Struct, kw_only=True):
    """One request from decode to settle. `volatile_part` is the part of the prefix that is another at every request.
    `baseline_nano_usd`: what the model that savings are reported against would have cost, without a cache and with one.
    `admission`: at the gate that all gateways have in common, which it has to leave.
    `counted`: as it was counted when it came in. `newest`: its newest message, by number, where somebody has read that.
    `look` tells its `features`, of those requests that are learned from. `first` is asked before those that the
    decision names, its answer checked (`cascade.py`).
    `received_at` is UTC; the `*_s` fields are seconds of the
    monotonic clock, relative to `started_s` except `started_s` itself and `deadline_s`, when the answer must be whole.
    """

    request_id: str
    dialect: str
    outline: RequestOutline
    body: bytes
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started_s: float
    key_id: str | None = None
    key: Key | None = None
    admission: KeyAdmission | None = None
    tags: dict[str, str] = {}
    mode: str | None = None
    cache: CacheState = "bypass"
    quality: float | None = None
    latency: Literal["interactive", "batch"] = "interactive"
    max_cost_nano_usd: int | None = None
    begins: bool = False
    pressure: Pressure = Pressure()
    parts: Parts | None = None
    repeated_tokens: int = 0
    volatile_part: Literal["tools", "system"] | None = None
    kept_at: str | None = None
    session: SessionView
    input_tokens_estimate: int = 0
    counted: Counted | None = None
    newest: tuple[int, Message] | None = None
    look: Callable[[], bytes] = bytes
    deadline_s: float | None = None
    decision: Decision | None = None
    first: Candidate | None = None
    reservation: Reservation | None = None
    attempts: list[Attempt] = []
    warnings: list[str] = []
    served_by: Deployment | None = None
    target: Target | None = None
    usage: Usage | None = None
    usage_estimated: bool = False
    finish: FinishReason | None = None
    cost_nano_usd: int | None = None
    baseline_nano_usd: tuple[int, int] | None = None
    outcome: Outcome = "open"
    status: int | None = None
    error_code: str | None = None
    overhead_s: float | None = None
    ttft_s: float | None = None
    duration_s: float | None = None
    trace: Trace | None = None

    @property
    def team(self) -> str | None:
        """Whose money it is, where the caller's key says."""
        return self.key.team if self.key else None

    @property
    def features(self) -> bytes:
        """What a predictor sees of it, packed: hashes and counts, no text; empty where nobody learns from it."""
        return self.look()

    def predicted(self, model: str) -> float | None:
        """The chance that the predictor gave `model` (a deployment's id) here; None where it said nothing."""
        weighed = self.decision.candidates if self.decision else ()
        return next((c.predicted for c in weighed if c.deployment.id == model), None)

    def warn(self, sentence: str) -> None:
        """Note something the caller should know; shown in a header, the log and the request record."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
