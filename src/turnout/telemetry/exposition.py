"""The metrics page, as Prometheus reads it: every metric's name, and where its values come from.

prometheus_client writes it; it is imported at the first scrape, for it takes longer to load than the gateway itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from turnout.catalog.prices import NANO_PER_USD
from turnout.telemetry.metrics import FIRST_TOKEN_S, OVERHEAD_S, WHOLE_S, Metrics
from turnout.telemetry.readings import Readings
from turnout.telemetry.series import Histogram, Sums
from turnout.telemetry.snapshot import Among, Series, Snapshot, Times, cumulated

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["AMONG", "FAMILIES", "Family", "Page", "names_on_the_page", "taken"]

STATES = {"closed": 0, "half_open": 1, "open": 2}

Rows = Iterable[tuple[tuple[str, ...], float]]
"""Values by their labels."""

Buckets = Iterable[tuple[tuple[str, ...], Histogram]]


class Family(Struct, frozen=True, kw_only=True):
    """A counter or a gauge: its name without `_total`, what it says, its labels, and its values now. `among`: what a
    gauge of several workers is. `of`: its values by those of all, in place of `rows`."""

    name: str
    says: str
    labels: tuple[str, ...] = ()
    rows: Callable[[Metrics, Readings], Rows] = lambda _, __: ()
    gauge: bool = False
    among: Among = "max"
    of: Callable[[Series], Rows] | None = None


class Timing(Struct, frozen=True, kw_only=True):
    """A histogram of seconds."""

    name: str
    says: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...]
    rows: Callable[[Metrics], Buckets]


def _sums(pick: Callable[[Metrics], Sums], per: int = 1) -> Callable[[Metrics, Readings], Rows]:
    def rows(metrics: Metrics, _: Readings) -> Rows:
        # Counts stay whole numbers; money is told in dollars.
        return ((labels, value if per == 1 else value / per) for labels, value in pick(metrics).values.items())

    return rows


def _tokens(metrics: Metrics, _: Readings) -> Rows:
    kinds = ("input", "cache_read", "cache_write", "output", "reasoning")
    return (((model, kind), getattr(sums, kind)) for model, sums in metrics.by_model.items() for kind in kinds)


def _baseline(metrics: Metrics, _: Readings) -> Rows:
    return (
        (("without",), metrics.uncached_nano_usd / NANO_PER_USD),
        (("with",), metrics.cached_nano_usd / NANO_PER_USD),
    )


def _breakers(metrics: Metrics, readings: Readings) -> Rows:
    """The worst of those that share a name."""
    worst: dict[str, int] = {}
    for target, state in readings.breakers.items():
        name = metrics.models[target]
        worst[name] = max(worst.get(name, 0), STATES[state])
    return (((name,), state) for name, state in worst.items())


def _budget(pick: Callable[[object], float | None], field: str, per: int = 1) -> Callable[[Metrics, Readings], Rows]:
    def rows(_: Metrics, readings: Readings) -> Rows:
        told = ((budget.name, pick(getattr(budget, field))) for budget in readings.budgets)
        return (((name,), value if per == 1 else value / per) for name, value in told if value is not None)

    return rows


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _used(told: Series) -> Rows:
    """Spent and held: what a new request finds gone. A budget of nothing is used up."""
    spent, held = told["turnout_budget_spent_usd"], told["turnout_budget_held_usd"]
    for labels, amount in told["turnout_budget_amount_usd"].items():
        yield labels, (spent[labels] + held[labels]) / amount if amount > 0 else 1.0


def _alarms(metrics: Metrics, readings: Readings) -> Rows:
    counts: dict[tuple[str, ...], int] = {}
    for model, kind in readings.alarms:
        labels = metrics.models[model], kind
        counts[labels] = counts.get(labels, 0) + 1
    return counts.items()


def _shared(_: Metrics, readings: Readings) -> Rows:
    return () if readings.shared_healthy is None else (((), int(readings.shared_healthy)),)


def _one(read: Callable[[Metrics, Readings], float]) -> Callable[[Metrics, Readings], Rows]:
    return lambda metrics, readings: (((), read(metrics, readings)),)


FAMILIES: tuple[Family, ...] = (
    Family(
        name="turnout_requests",
        says="Requests whose books are closed",
        labels=("outcome", "model", "reason", "dialect"),
        rows=_sums(lambda m: m.requests),
    ),
    Family(
        name="turnout_decisions",
        says="Decisions of the router, by reason and by the tier put first",
        labels=("reason", "tier"),
        rows=_sums(lambda m: m.decisions),
    ),
    Family(
        name="turnout_attempts",
        says="Calls of models, by what came of them: ok, or why they failed",
        labels=("model", "result"),
        rows=_sums(lambda m: m.attempts),
    ),
    Family(
        name="turnout_errors",
        says="Errors that callers were told of, also before a request was opened",
        labels=("code",),
        rows=_sums(lambda m: m.errors),
    ),
    Family(
        name="turnout_tokens",
        says="Tokens; the kinds do not overlap: input is what no cache had and none took",
        labels=("model", "kind"),
        rows=_tokens,
    ),
    Family(
        name="turnout_cost_usd",
        says="US dollars at the prices known when each request was served",
        labels=("model",),
        rows=lambda m, _: (((model,), sums.cost_nano_usd / NANO_PER_USD) for model, sums in m.by_model.items()),
    ),
    Family(
        name="turnout_unpriced_requests",
        says="Requests that used tokens and have no known price",
        labels=("model",),
        rows=lambda m, _: (((model,), sums.unpriced) for model, sums in m.by_model.items()),
    ),
    Family(
        name="turnout_key_cost_usd",
        says="The same dollars by virtual key",
        labels=("key",),
        rows=_sums(lambda m: m.key_cost, NANO_PER_USD),
    ),
    Family(
        name="turnout_feature_cost_usd",
        says="The same dollars by the tag feature",
        labels=("feature",),
        rows=_sums(lambda m: m.feature_cost, NANO_PER_USD),
    ),
    Family(
        name="turnout_mode_cost_usd",
        says="The same dollars by mode",
        labels=("mode",),
        rows=_sums(lambda m: m.mode_cost, NANO_PER_USD),
    ),
    Family(
        name="turnout_compared_cost_usd",
        says="Dollars of the requests that are compared with the baseline",
        rows=_one(lambda m, _: m.compared_nano_usd / NANO_PER_USD),
    ),
    Family(
        name="turnout_baseline_cost_usd",
        says="What the baseline model would have cost for the compared requests, without and with a prompt cache",
        labels=("cache",),
        rows=_baseline,
    ),
    Family(
        name="turnout_response_cache",
        says="Requests by what the response cache had for them",
        labels=("state",),
        rows=_sums(lambda m: m.caches),
    ),
    Family(
        name="turnout_brakes",
        says="Times a brake acted on a session",
        labels=("brake", "action"),
        rows=_sums(lambda m: m.brakes),
    ),
    Family(
        name="turnout_webhooks",
        says="Messages to webhooks by what became of them",
        labels=("result",),
        rows=lambda _, r: (((result,), count) for result, count in r.webhooks.items()),
    ),
    Family(
        name="turnout_ledger_rows_dropped",
        says="Rows of requests that the ledger lost",
        rows=_one(lambda _, r: r.ledger_dropped),
    ),
    Family(
        name="turnout_log_lines_dropped",
        says="Log lines that the output did not take in time",
        rows=_one(lambda _, r: r.log_lines_dropped),
    ),
    Family(
        name="turnout_ledger_rows_waiting",
        says="Rows that wait to be written",
        rows=_one(lambda _, r: r.ledger_waiting),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_ledger_healthy",
        says="1 while the ledger can be written",
        rows=_one(lambda _, r: int(r.ledger_healthy)),
        gauge=True,
        among="min",
    ),
    Family(
        name="turnout_shared_state_healthy",
        says="1 while what gateways have in common can be reached; none where there is one gateway",
        rows=_shared,
        gauge=True,
        among="min",
    ),
    Family(
        name="turnout_peers",
        says="Of other gateways: conversations asked for and found; records and news told, what failed, and "
        "requests that budgets let pass uncovered while the engine was away",
        labels=("result",),
        rows=lambda _, r: (((result,), count) for result, count in r.peers.items()),
    ),
    Family(
        name="turnout_breaker_state",
        says="Of a model's place or a provider's account: 0 closed, 1 half-open, 2 open",
        labels=("target",),
        rows=_breakers,
        gauge=True,
    ),
    Family(
        name="turnout_budget_amount_usd",
        says="What a budget may spend in its current period",
        labels=("budget",),
        rows=_budget(_number, "amount_nano_usd", NANO_PER_USD),
        gauge=True,
    ),
    Family(
        name="turnout_budget_spent_usd",
        says="What a budget has spent in its current period",
        labels=("budget",),
        rows=_budget(_number, "spent_nano_usd", NANO_PER_USD),
        gauge=True,
    ),
    Family(
        name="turnout_budget_held_usd",
        says="What is held for requests that are open",
        labels=("budget",),
        rows=_budget(_number, "held_nano_usd", NANO_PER_USD),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_budget_used_ratio",
        says="Share of a budget that is spent or held",
        labels=("budget",),
        of=_used,
        gauge=True,
    ),
    Family(
        name="turnout_budget_elapsed_ratio",
        says="Share of a budget's period that is over",
        labels=("budget",),
        rows=_budget(_number, "elapsed"),
        gauge=True,
    ),
    Family(
        name="turnout_budget_pace_price",
        says="What a dollar of a budget weighs in routing: above 1 where the money would not last",
        labels=("budget",),
        rows=_budget(_number, "price"),
        gauge=True,
    ),
    Family(
        name="turnout_budget_pace_rung",
        says="How a budget saves: 0 not, 1 less effort, 2 smaller models, 3 batch work put off, 4 no new sessions",
        labels=("budget",),
        rows=_budget(_number, "rung"),
        gauge=True,
    ),
    Family(
        name="turnout_requests_in_flight",
        says="Requests that are being served",
        rows=_one(lambda _, r: r.in_flight),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_requests_queued",
        says="Requests that wait for a place",
        rows=_one(lambda _, r: r.queued),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_concurrency_limit",
        says="How many requests are served at once, as far as the event loop keeps up",
        rows=_one(lambda _, r: r.concurrency_limit),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_workers",
        says="Processes that serve here and are alive; what else is on the page is of all of them",
        rows=_one(lambda _, __: 1),
        gauge=True,
        among="sum",
    ),
    Family(
        name="turnout_learning_alarms",
        says="Drift alarms of the last day: what was learned of a model does not hold any more",
        labels=("model", "kind"),
        rows=_alarms,
        gauge=True,
    ),
    Family(
        name="turnout_build_info",
        says="1, with the version",
        labels=("version",),
        rows=lambda _, r: (((r.version,), 1),),
        gauge=True,
    ),
)

TIMINGS: tuple[Timing, ...] = (
    Timing(
        name="turnout_overhead_seconds",
        says="What the gateway itself added before the answer began",
        bounds=OVERHEAD_S,
        rows=lambda m: (((), m.overhead),),
    ),
    Timing(
        name="turnout_time_to_first_token_seconds",
        says="Until a streamed answer began",
        labels=("model",),
        bounds=FIRST_TOKEN_S,
        rows=lambda m: (((model,), sums.first_token) for model, sums in m.by_model.items()),
    ),
    Timing(
        name="turnout_request_duration_seconds",
        says="Until the books of a request that was served were closed",
        labels=("model",),
        bounds=WHOLE_S,
        rows=lambda m: (((model,), sums.whole) for model, sums in m.by_model.items()),
    ),
)


AMONG: Mapping[str, Among] = {family.name: family.among for family in FAMILIES if family.gauge}
"""Of each gauge, what it is of several workers."""


def names_on_the_page() -> Mapping[str, frozenset[str]]:
    """The labels of every series that may be on the page, by its name."""
    told = {f.name if f.gauge else f"{f.name}_total": frozenset(f.labels) for f in FAMILIES}
    for timing in TIMINGS:
        labels = frozenset(timing.labels)
        told |= {f"{timing.name}_bucket": labels | {"le"}, f"{timing.name}_sum": labels, f"{timing.name}_count": labels}
    return told


def taken(metrics: Metrics, readings: Readings, at_s: float) -> Snapshot:
    """All series of this process as they stand."""
    counters, gauges, timings = Series(), Series(), Times()
    for family in FAMILIES:
        if family.of is None:
            (gauges if family.gauge else counters)[family.name] = dict(family.rows(metrics, readings))
    for timing in TIMINGS:
        timings[timing.name] = {labels: (list(found.counts), found.sum) for labels, found in timing.rows(metrics)}
    return Snapshot(at_s=at_s, counters=counters, gauges=gauges, timings=timings)


class Page:
    """Writes the page. `read` gives what is so now, of this process or of all workers (`several`): then nothing is told
    of one process's own memory and time. Called on the event loop that owns the sums."""

    def __init__(self, read: Callable[[], Snapshot], *, several: bool = False) -> None:
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._read = read
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        if not several:
            ProcessCollector(registry=self._registry)

    def write(self, accept: str) -> tuple[bytes, str]:
        """The page and its content type, in the form that `accept` (a header) asks for."""
        from prometheus_client.exposition import choose_encoder

        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        """A prometheus_client Collector."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        now = self._read()
        for told in FAMILIES:
            kind, values = (GaugeMetricFamily, now.gauges) if told.gauge else (CounterMetricFamily, now.counters)
            family = kind(told.name, told.says, labels=told.labels)
            for labels, value in told.of(now.gauges) if told.of else values.get(told.name, {}).items():
                family.add_metric(labels, value)
            yield family
        for timing in TIMINGS:
            histogram = HistogramMetricFamily(timing.name, timing.says, labels=timing.labels)
            for labels, (counts, total) in now.timings.get(timing.name, {}).items():
                histogram.add_metric(labels, cumulated(timing.bounds, counts), total)
            yield histogram
