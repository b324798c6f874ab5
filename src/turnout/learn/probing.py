"""Probes sent to a running gateway: each answer scored, the score handed back to it, and the whole added up."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Usage
from turnout.dialects import DIALECTS
from turnout.errors import NoCapacity, NotFound, Unauthorized, UpstreamFailure, UpstreamUnreachable
from turnout.learn.probes import Probe, judged
from turnout.providers.transport import Transport, UpstreamRequest

__all__ = [
    "Asked",
    "Gateway",
    "Share",
    "Tally",
    "listed_models",
    "run_probes",
    "shares",
    "wilson",
]

AT_ONCE = 4
MOST_BYTES = 8 * 1024 * 1024
PATIENCE_S = 600.0
"""A small model on a small machine may take minutes for a long answer, and three more wait before it."""

Z95 = 1.959963984540054
"""The normal distribution's 97.5 % point: intervals of 95 %."""


class Gateway(Struct, frozen=True, kw_only=True):
    """A running gateway: where it is, the key to present, and the model's name to ask for."""

    url: str
    model: str
    key: str | None = None
    max_tokens: int = 1024


class Asked(Struct, frozen=True, kw_only=True):
    """One probe and what came of it. `why`: the gateway's words where it gave no answer. `told` says whether it took
    the score. `cost_nano_usd` None: unpriced."""

    probe: str
    family: str
    level: int
    passed: bool
    served_by: str = ""
    request_id: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int | None = None
    seconds: float = 0.0
    why: str | None = None
    told: bool = False


class Tally(Struct, frozen=True, kw_only=True):
    """A run: what was asked, in the order of the probes; how many were not because of the cost; and why the gateway did
    not take scores, where it did not."""

    asked: tuple[Asked, ...]
    left_out: int = 0
    feedback: str | None = None

    @property
    def cost_nano_usd(self) -> int:
        return sum(one.cost_nano_usd or 0 for one in self.asked)

    @property
    def unpriced(self) -> int:
        """Answers whose cost is not known."""
        return sum(one.cost_nano_usd is None and one.why is None for one in self.asked)


class Share(Struct, frozen=True, kw_only=True):
    """How many of a group passed, with the interval of 95 % that the true share lies in."""

    group: str
    asked: int
    passed: int
    low: float
    high: float
    input_tokens: int
    output_tokens: int
    cost_nano_usd: int


def wilson(passed: int, asked: int) -> tuple[float, float]:
    """The interval of 95 % of a share (Wilson, JASA 22, 1927); it keeps its promise with few and at the ends, where
    the usual one does not. (0, 1) where nobody was asked."""
    if asked <= 0:
        return 0.0, 1.0
    p, z2 = passed / asked, Z95 * Z95
    middle = p + z2 / (2 * asked)
    spread = Z95 * math.sqrt(p * (1 - p) / asked + z2 / (4 * asked * asked))
    whole = 1 + z2 / asked
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)


def shares(asked: Iterable[Asked], group_of: Callable[[Asked], str]) -> list[Share]:
    """What passed, by group, in the order of the groups' names."""
    groups: dict[str, list[Asked]] = {}
    for one in asked:
        groups.setdefault(group_of(one), []).append(one)
    return [_share(name, groups[name]) for name in sorted(groups)]


def _share(name: str, asked: list[Asked]) -> Share:
    passed = sum(one.passed for one in asked)
    low, high = wilson(passed, len(asked))
    return Share(
        group=name,
        asked=len(asked),
        passed=passed,
        low=low,
        high=high,
        input_tokens=sum(one.input_tokens for one in asked),
        output_tokens=sum(one.output_tokens for one in asked),
        cost_nano_usd=sum(one.cost_nano_usd or 0 for one in asked),
    )


async def run_probes(
    gateway: Gateway,
    probes: Sequence[Probe],
    transport: Transport,
    *,
    most_nano_usd: int,
    on_answer: Callable[[Asked], None] = lambda _: None,
) -> Tally:
    """Ask every probe, four at once, until `most_nano_usd` would be passed if those under way cost as much as the
    dearest so far. An answer that does not come counts as failed. Raises Unauthorized, NotFound (no such model) and
    NoCapacity (no gateway there)."""
    return await _Run(gateway, transport, most_nano_usd, on_answer).all(probes)


async def listed_models(gateway: Gateway, transport: Transport) -> list[str]:
    """The names of the models that a gateway serves. Raises Unauthorized and NoCapacity."""
    status, _, body = await _call(gateway, transport, "GET", "/v1/models")
    if status == 401:
        raise Unauthorized(_words_of(body))
    try:
        return [one.id for one in msgspec.json.decode(body, type=_Listing).data]
    except msgspec.DecodeError:
        raise NoCapacity(f"what answers at {gateway.url} is no gateway; correct --url") from None


async def _call(
    gateway: Gateway, transport: Transport, method: str, path: str, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer. Raises NoCapacity where nobody listens, else UpstreamFailure."""
    request = UpstreamRequest(
        method=method,
        url=f"{gateway.url}{path}",
        headers=_headers(gateway),
        body=body,
        first_byte_timeout_s=PATIENCE_S,
        idle_timeout_s=PATIENCE_S,
    )
    try:
        response = await transport.send(request)
    except UpstreamUnreachable:
        raise NoCapacity(f"no gateway answers at {gateway.url}; start one with turnout serve, or give --url") from None
    try:
        return response.status, dict(response.headers), await response.read(MOST_BYTES)
    finally:
        await response.aclose()


class _Card(Struct):
    id: str


class _Listing(Struct):
    data: list[_Card]


class _Run:
    """One run: what it has cost so far, and whether the gateway takes scores."""

    def __init__(self, gateway: Gateway, transport: Transport, most: int, on_answer: Callable[[Asked], None]) -> None:
        self._gateway = gateway
        self._transport = transport
        self._most = most
        self._on_answer = on_answer
        self._spent = 0
        self._dearest = 0
        self._open = 0
        self._feedback: str | None = None
        self._fatal: Unauthorized | NotFound | NoCapacity | None = None

    async def all(self, probes: Sequence[Probe]) -> Tally:
        waiting = list(enumerate(probes))[::-1]
        done: dict[int, Asked] = {}

        async def work() -> None:
            while waiting and self._fatal is None and self._affordable():
                number, probe = waiting.pop()
                self._open += 1
                try:
                    asked = await self._one(probe)
                except (Unauthorized, NotFound, NoCapacity) as error:
                    self._fatal = self._fatal or error
                    return
                finally:
                    self._open -= 1
                done[number] = asked
                self._on_answer(asked)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        if self._fatal is not None:
            raise self._fatal
        return Tally(asked=tuple(done[i] for i in sorted(done)), left_out=len(waiting), feedback=self._feedback)

    def _affordable(self) -> bool:
        return self._spent + (self._open + 1) * self._dearest <= self._most

    async def _one(self, probe: Probe) -> Asked:
        begun = time.monotonic()
        try:
            asked = self._read(probe, *await self._post("/v1/chat/completions", question(self._gateway, probe)))
        except UpstreamFailure as error:
            asked = Asked(probe=probe.id, family=probe.family, level=probe.level, passed=False, why=error.message)
        asked = msgspec.structs.replace(asked, seconds=time.monotonic() - begun)
        cost = asked.cost_nano_usd or 0
        self._spent += cost
        self._dearest = max(self._dearest, cost)
        if asked.why is None and self._feedback is None:
            asked = msgspec.structs.replace(asked, told=await self._tell(asked))
        return asked

    def _read(self, probe: Probe, status: int, headers: dict[str, str], body: bytes) -> Asked:
        told = Asked(
            probe=probe.id,
            family=probe.family,
            level=probe.level,
            passed=False,
            served_by=headers.get("x-turnout-model", ""),
            request_id=headers.get("x-turnout-request-id", ""),
        )
        if status == 401:
            raise Unauthorized(_words_of(body))
        if status == 404:
            raise NotFound(_words_of(body))
        if status != 200:
            return msgspec.structs.replace(told, why=f"{status}: {_words_of(body)}")
        try:
            answer = DIALECTS["openai-chat"].decode_response(body)
        except UpstreamFailure as error:
            return msgspec.structs.replace(told, why=error.message)
        usage = answer.usage or Usage()
        return msgspec.structs.replace(
            told,
            passed=judged(probe, answer),
            input_tokens=usage.input or 0,
            output_tokens=usage.output or 0,
            cost_nano_usd=_nano(headers.get("x-turnout-cost-usd", "")),
        )

    async def _tell(self, asked: Asked) -> bool:
        """Hand the score to the gateway. A gateway that takes none is not asked again."""
        score = {"request_id": asked.request_id, "score": float(asked.passed), "label": "probe"}
        try:
            status, _, body = await self._post("/v1/feedback", msgspec.json.encode(score))
        except UpstreamFailure as error:
            self._feedback = error.message
            return False
        if status >= 400:
            self._feedback = (
                "it has no POST /v1/feedback" if status in {404, 405} else f"it answers {status}: {_words_of(body)}"
            )
        return status < 400

    async def _post(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        return await _call(self._gateway, self._transport, "POST", path, body)


def question(gateway: Gateway, probe: Probe) -> bytes:
    """The request of one probe. Without a temperature: there are models that refuse one."""
    told: dict[str, object] = {
        "model": gateway.model,
        "messages": [{"role": m.role, "content": m.content} for m in probe.messages],
        "max_completion_tokens": gateway.max_tokens,
    }
    if probe.tools:
        told["tools"] = [{"type": "function", "function": msgspec.structs.asdict(t)} for t in probe.tools]
    return msgspec.json.encode(told)


def _headers(gateway: Gateway) -> list[tuple[str, str]]:
    headers = [
        ("content-type", "application/json"),
        ("x-turnout-tags", "feature=probe"),
        ("x-turnout-cache", "off"),  # what is kept of another day says nothing of the model
    ]
    return headers if gateway.key is None else [*headers, ("authorization", f"Bearer {gateway.key}")]


class _Error(Struct, frozen=True):
    message: str = ""


class _Fault(Struct, frozen=True):
    error: _Error = _Error()


def _words_of(body: bytes) -> str:
    """What an error's body says, shortly."""
    try:
        return msgspec.json.decode(body, type=_Fault).error.message[:300] or "no message"
    except msgspec.DecodeError:
        return "an answer that is no gateway's"


def _nano(text: str) -> int | None:
    """Nano-dollars of `x-turnout-cost-usd`; None for `unpriced`, and where there is none."""
    try:
        return int(Decimal(text) * NANO_PER_USD)
    except InvalidOperation:
        return None
