"""What telemetry adds to a request's CPU: PYTHONPATH=src:tests python bench/telemetry.py

Metrics, the log and traces are told of the same request, each by itself; and, to compare, the same counts are kept by
prometheus_client's own metrics: through `labels()`, and through children that were looked up before.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram

from support.requests import settled
from turnout.context import RequestContext
from turnout.telemetry.exposition import Page, taken
from turnout.telemetry.logs import JsonLog, line_of
from turnout.telemetry.metrics import FIRST_TOKEN_S, OVERHEAD_S, WHOLE_S, Metrics
from turnout.telemetry.otel import Otlp, Spans
from turnout.telemetry.readings import Readings
from turnout.trace import trace_of

ROUNDS, REPEATS = 20_000, 7
FEW = 500


def cpu_us(work: Callable[[RequestContext], object], *, rounds: int = ROUNDS) -> float:
    """Microseconds of CPU of this thread a call, the best of some repeats."""
    ctx = settled(key_id="team", tags={"feature": "search"}, baseline_nano_usd=(9, 5))
    best = float("inf")
    for _ in range(REPEATS):
        begun = time.thread_time()
        for _ in range(rounds):
            work(ctx)
        best = min(best, time.thread_time() - begun)
    return best / rounds * 1e6


def theirs(*, bound: bool) -> Callable[[RequestContext], None]:
    """The same counts in prometheus_client."""
    registry = CollectorRegistry()
    counters = [
        (Counter("requests", "", ("a", "b", "c", "d"), registry=registry), ("ok", "lab/small", "simple", "chat")),
        (Counter("decisions", "", ("a", "b"), registry=registry), ("simple", "small")),
        (Counter("attempts", "", ("a", "b"), registry=registry), ("lab/small", "ok")),
        *(
            (Counter(f"tokens_{kind}", "", ("a",), registry=registry), ("lab/small",))
            for kind in ("input", "read", "written", "output", "reasoning", "cost", "key", "feature", "mode", "cache")
        ),
    ]
    histograms = [
        (Histogram(f"h{n}", "", ("a",), registry=registry, buckets=bounds), ("lab/small",))
        for n, bounds in enumerate((OVERHEAD_S, FIRST_TOKEN_S, WHOLE_S))
    ]
    children = [counter.labels(*labels) for counter, labels in counters]
    timers = [histogram.labels(*labels) for histogram, labels in histograms]

    def by_labels(_: RequestContext) -> None:
        for counter, labels in counters:
            counter.labels(*labels).inc()
        for histogram, labels in histograms:
            histogram.labels(*labels).observe(0.3)

    def by_children(_: RequestContext) -> None:
        for child in children:
            child.inc()
        for timer in timers:
            timer.observe(0.3)

    return by_children if bound else by_labels


class _Sink(BaseHTTPRequestHandler):
    """A collector that takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Nobody reads it."""


def _collect(port: Connection) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Sink)
    port.send(server.server_port)
    server.serve_forever()


def traced_us() -> tuple[float, float]:
    """Microseconds of CPU a request with one call: of its own thread, and of all threads until a collector (another
    process) has its two spans and the metrics. Few enough at a time that no span is dropped."""
    mine, theirs = Pipe()
    collector = Process(target=_collect, args=(theirs,), daemon=True)
    collector.start()
    spans = Spans(Otlp(version="1", endpoint=f"http://127.0.0.1:{mine.recv()}"))
    model = settled().served_by
    own, whole = [], []
    for _ in range(REPEATS + 1):  # the first loads the exporter
        begun, begun_all = time.thread_time(), time.process_time()
        for _ in range(FEW):
            trace = trace_of({})
            ctx = settled(key_id="team", trace=trace)
            trace.sends(model.id if model else "")
            spans.settled(ctx, lambda: None)
        own.append(time.thread_time() - begun)
        spans._spans.force_flush()  # pyright: ignore[reportPrivateUsage] - only a measurement waits
        whole.append(time.process_time() - begun_all)
    spans.close()
    collector.terminate()
    making = cpu_us(lambda _: settled(key_id="team", trace=trace_of({})), rounds=1_000)
    return min(own[1:]) / FEW * 1e6 - making, min(whole[1:]) / FEW * 1e6 - making


def main() -> int:
    metrics = Metrics()
    print(f"metrics                          {cpu_us(metrics.settled):6.2f} us a request")
    print(f"prometheus_client, bound         {cpu_us(theirs(bound=True)):6.2f} us")
    print(f"prometheus_client, labels()      {cpu_us(theirs(bound=False)):6.2f} us")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        log = JsonLog(nowhere)
        print(f"the log as JSON, in the request  {cpu_us(lambda ctx: log.put(line_of(ctx)), rounds=1_000):6.2f} us")
        log.close()
    own, whole = traced_us()
    print(f"traces, in the request           {own:6.2f} us")
    print(f"traces, with their exporter      {whole:6.2f} us")
    page = Page(lambda: taken(metrics, Readings(version="1"), 0.0))
    begun = time.process_time()
    for _ in range(100):
        page.write("")
    print(f"a scrape of {len(page.write('')[0]):,} bytes  {(time.process_time() - begun) * 10:6.2f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
