"""Requests add up, each once; whatever names clients send, the page stays small."""

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from support.requests import SMALL, settled
from turnout.context import MARK, Attempt
from turnout.telemetry.exposition import Page, names_on_the_page, taken
from turnout.telemetry.metrics import Metrics
from turnout.telemetry.readings import BudgetReading, Readings
from turnout.telemetry.series import OTHER, Histogram, Names, Sums
from turnout.telemetry.snapshot import cumulated


def page(metrics: Metrics, readings: Readings | None = None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every series of the page, as Prometheus' own parser reads it."""
    told, kind = Page(lambda: taken(metrics, readings or Readings(version="1"), 0.0)).write("text/plain")
    assert kind.startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(told.decode())
        for sample in family.samples
    }


def value(series, name, **labels):
    return series[name, tuple(sorted(labels.items()))]


def test_a_request_is_counted_with_its_tokens_money_and_times():
    metrics = Metrics()
    metrics.settled(settled(baseline_nano_usd=(9_000_000, 5_000_000), key_id="team-a", tags={"feature": "search"}))
    told = page(metrics)
    labels = {"outcome": "ok", "model": "lab/small", "reason": "simple", "dialect": "openai-chat"}
    assert value(told, "turnout_requests_total", **labels) == 1
    assert value(told, "turnout_decisions_total", reason="simple", tier="small") == 1
    assert value(told, "turnout_attempts_total", model="lab/small", result="ok") == 1
    tokens = {
        kind: value(told, "turnout_tokens_total", model="lab/small", kind=kind) for kind in ("input", "cache_read")
    }
    assert tokens == {"input": 400, "cache_read": 600}  # the kinds do not overlap
    assert value(told, "turnout_tokens_total", model="lab/small", kind="output") == 150
    assert value(told, "turnout_tokens_total", model="lab/small", kind="reasoning") == 50
    assert value(told, "turnout_cost_usd_total", model="lab/small") == 0.0012
    assert value(told, "turnout_key_cost_usd_total", key="team-a") == 0.0012
    assert value(told, "turnout_feature_cost_usd_total", feature="search") == 0.0012
    assert value(told, "turnout_mode_cost_usd_total", mode="none") == 0.0012
    assert value(told, "turnout_compared_cost_usd_total") == 0.0012
    assert value(told, "turnout_baseline_cost_usd_total", cache="without") == 0.009
    assert value(told, "turnout_overhead_seconds_bucket", le="0.001") == 0
    assert value(told, "turnout_overhead_seconds_bucket", le="0.002") == 1
    assert value(told, "turnout_time_to_first_token_seconds_sum", model="lab/small") == 0.3
    assert value(told, "turnout_request_duration_seconds_count", model="lab/small") == 1


def test_every_call_counts_by_what_came_of_it():
    metrics = Metrics()
    failed = Attempt(deployment=SMALL, status=503, error_code="overloaded_error", reason="overloaded")
    metrics.settled(settled(attempts=[failed, Attempt(deployment=SMALL, status=200)]))
    assert metrics.attempts.values == {("lab/small", "overloaded"): 1, ("lab/small", "ok"): 1}


def test_a_request_that_nobody_served_has_no_model_and_no_tokens():
    metrics = Metrics()
    metrics.settled(
        settled(
            decision=None, attempts=[], served_by=None, usage=None, cost_nano_usd=None, outcome="error", ttft_s=None
        )
    )
    assert metrics.requests.values == {("error", "none", "none", "openai-chat"): 1}
    assert metrics.by_model == {}


def test_our_own_requests_say_what_they_were_for():
    metrics = Metrics()
    metrics.settled(settled(tags={MARK: "shadow"}))
    assert list(metrics.requests.values) == [("ok", "lab/small", "shadow", "openai-chat")]


def test_ten_thousand_hostile_names_make_a_small_page():
    metrics = Metrics()
    metrics.models.expect(["lab/small"])
    for n in range(10_000):
        name = f'"\n\\{n}\ud800' if n % 2 else "x" * 10_000 + str(n)
        model = replace(SMALL, id=f"lab/{name}")
        failed = Attempt(deployment=model, status=400, reason=f"reason {n}")
        metrics.settled(settled(model, tags={"feature": name}, mode=name, key_id=name, attempts=[failed]))
        metrics.refused(f"code {n}")
    metrics.settled(settled(tags={"feature": "search"}))
    told = page(metrics)
    by_name: dict[str, int] = {}
    for name, _ in told:
        by_name[name] = by_name.get(name, 0) + 1
    # 100 names of each kind, the one that the config knows, and `other`.
    assert by_name["turnout_feature_cost_usd_total"] <= 102
    assert by_name["turnout_cost_usd_total"] <= 102
    assert len(told) < 5_000
    assert value(told, "turnout_cost_usd_total", model="lab/small") == 0.0012  # not crowded out
    # Nothing is lost: what has no name of its own is counted under `other`.
    assert sum(v for (name, _), v in told.items() if name == "turnout_requests_total") == 10_001
    assert round(sum(v for (name, _), v in told.items() if name == "turnout_cost_usd_total"), 6) == 12.0012


def test_combinations_are_bounded_too():
    sums = Sums(most=3)
    for n in range(10):
        sums.add((str(n), "x"))
    assert len(sums.values) == 4
    assert sums.values[OTHER, OTHER] == 7


def test_names_that_are_expected_later_get_a_series_of_their_own():
    names = Names(1)
    assert [names["a"], names["b"], names[""]] == ["a", OTHER, "none"]
    names.expect(["b"])
    assert names["b"] == "b"


def test_a_histogram_counts_what_is_at_most_each_bound():
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(seconds)
    assert cumulated(histogram.bounds, histogram.counts) == [("1.0", 2), ("2.0", 3), ("+Inf", 4)]


def test_states_are_read_at_the_scrape():
    told = page(
        Metrics(),
        Readings(
            version="1.2",
            breakers={"lab/small": "open", "lab": "half_open"},
            budgets=(
                BudgetReading(
                    name="company",
                    amount_nano_usd=100 * 10**9,
                    spent_nano_usd=40 * 10**9,
                    held_nano_usd=10 * 10**9,
                    elapsed=0.25,
                    price=1.5,
                    rung=1,
                ),
                BudgetReading(name="ever", amount_nano_usd=0, spent_nano_usd=0, held_nano_usd=0),
            ),
            queued=3,
            ledger_healthy=False,
            ledger_waiting=7,
            alarms=(("lab/small", "calibration"),),
        ),
    )
    assert value(told, "turnout_breaker_state", target="lab/small") == 2
    assert value(told, "turnout_breaker_state", target="lab") == 1
    assert value(told, "turnout_budget_used_ratio", budget="company") == 0.5
    assert value(told, "turnout_budget_elapsed_ratio", budget="company") == 0.25
    assert value(told, "turnout_budget_pace_price", budget="company") == 1.5
    assert value(told, "turnout_budget_used_ratio", budget="ever") == 1
    assert value(told, "turnout_requests_queued") == 3
    assert value(told, "turnout_ledger_healthy") == 0
    assert value(told, "turnout_ledger_rows_waiting") == 7
    assert value(told, "turnout_learning_alarms", model="lab/small", kind="calibration") == 1
    assert value(told, "turnout_build_info", version="1.2") == 1


def test_the_list_of_names_is_what_the_page_has():
    metrics = Metrics()
    metrics.settled(settled())
    metrics.refused("not_found")
    metrics.braked("cycle", "pause")
    budget = BudgetReading(
        name="b", amount_nano_usd=1, spent_nano_usd=0, held_nano_usd=0, elapsed=0.1, price=1.0, rung=0
    )
    readings = Readings(
        version="1",
        breakers={"lab": "open"},
        budgets=(budget,),
        alarms=(("m", "success"),),
        webhooks={"failed": 1},
        shared_healthy=True,
        peers={"asked": 1},
    )
    seen: dict[str, set[str]] = {}
    for name, labels in page(metrics, readings):
        if name.startswith("turnout_"):
            seen.setdefault(name, set()).update(label for label, _ in labels)
    assert seen == {name: set(labels) for name, labels in names_on_the_page().items()}
