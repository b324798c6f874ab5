"""Traces and metrics at a collector: a real OTLP receiver on loopback, its protobuf decoded by OpenTelemetry itself."""

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.calls import CHAT, post
from support.gateway import gateway, lab
from support.upstream import ScriptedUpstream, answer
from turnout.config import TelemetryConfig, parse_config
from turnout.errors import ConfigError
from turnout.spans import open_spans

PATH = "/v1/chat/completions"
BODY = json.dumps(
    {"model": "lab/small", "messages": [{"role": "user", "content": "Capital of France?"}], "max_tokens": 50}
).encode()
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")]


def attributes(told):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in told.attributes}


class Collected:
    """What a collector was sent."""

    def __init__(self, requests):
        self.spans: list[Span] = []
        self.points = {}
        self.resources = []
        for request in requests:
            if request.path == "/v1/traces":
                message = ExportTraceServiceRequest.FromString(request.body)
                for resource in message.resource_spans:
                    self.resources.append(attributes(resource.resource))
                    self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            else:
                assert request.path == "/v1/metrics"
                message = ExportMetricsServiceRequest.FromString(request.body)
                for resource in message.resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            self.points.setdefault(metric.name, []).extend(metric.histogram.data_points)

    def of(self, kind):
        return [span for span in self.spans if span.kind == kind]


@asynccontextmanager
async def traced(folder, *scripts, toml="", **telemetry):
    """A gateway that tells a collector, and the collector, which has everything on leaving."""
    async with ScriptedUpstream(*scripts) as up, ScriptedUpstream(answer({})) as collector:
        spans = open_spans(TelemetryConfig(otel=True, otlp_endpoint=collector.url, **telemetry), {})
        assert spans is not None
        try:
            async with gateway(toml + lab(up.url), folder) as gw:
                gw.engine.state.memory.signals.tracer = spans.settled
                yield gw, up, collector
        finally:
            await asyncio.to_thread(spans.close)


async def test_a_callers_trace_goes_through_to_the_provider(tmp_path):
    async with traced(tmp_path, answer(CHAT)) as (gw, up, collector):
        assert (await post(gw.url, PATH, BODY, CALLER))[0] == 200
    told = Collected(collector.requests)
    (server,), (client,) = told.of(Span.SPAN_KIND_SERVER), told.of(Span.SPAN_KIND_CLIENT)
    assert server.trace_id.hex() == client.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert client.parent_span_id == server.span_id
    assert up.requests[0].headers["traceparent"] == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert up.requests[0].headers["tracestate"] == server.trace_state == "vendor=1"
    assert server.start_time_unix_nano <= client.start_time_unix_nano + 5_000_000
    assert client.start_time_unix_nano < client.end_time_unix_nano
    assert told.resources[0]["service.name"] == "turnout"


async def test_spans_say_what_the_conventions_ask_and_no_word_of_content(tmp_path):
    async with traced(tmp_path, answer(CHAT)) as (gw, _, collector):
        assert (await post(gw.url, PATH, BODY))[0] == 200
    told = Collected(collector.requests)
    (server,), (client,) = told.of(Span.SPAN_KIND_SERVER), told.of(Span.SPAN_KIND_CLIENT)
    assert client.name == "chat small"
    said = attributes(client)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "lab",
        "gen_ai.request.model": "small",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.stream": False,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 400,
    }
    assert {name: said[name] for name in expected} == expected
    assert [v.string_value for v in said["gen_ai.response.finish_reasons"].values] == ["stop"]
    whole = attributes(server)
    assert whole["http.response.status_code"] == 200
    assert whole["turnout.model"] == "lab/small"
    assert whole["turnout.cost_usd"] > 0
    assert "gen_ai.usage.input_tokens" not in whole  # a tool that adds up spans would count it twice
    everything = b"".join(request.body for request in collector.requests)
    assert b"France" not in everything
    assert b"Paris" not in everything
    assert b"sk-lab-secret" not in everything


async def test_metrics_are_the_two_of_the_conventions(tmp_path):
    async with traced(tmp_path, answer(CHAT)) as (gw, _, collector):
        assert (await post(gw.url, PATH, BODY))[0] == 200
    told = Collected(collector.requests)
    tokens = {attributes(point)["gen_ai.token.type"]: point.sum for point in told.points["gen_ai.client.token.usage"]}
    assert tokens == {"input": 1000, "output": 10}
    (duration,) = told.points["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert attributes(duration)["gen_ai.request.model"] == "small"
    assert list(duration.explicit_bounds)[:2] == [0.01, 0.02]


async def test_each_attempt_has_its_span_and_the_failed_one_says_why(tmp_path):
    async with traced(tmp_path, answer({"error": {"message": "x"}}, 500), answer(CHAT)) as (gw, up, collector):
        assert (await post(gw.url, PATH, BODY))[0] == 200
    clients = sorted(Collected(collector.requests).of(Span.SPAN_KIND_CLIENT), key=lambda s: s.start_time_unix_nano)
    assert [attributes(span).get("error.type") for span in clients] == ["server", None]
    sent = [request.headers["traceparent"].split("-")[2] for request in up.requests]
    assert [span.span_id.hex() for span in clients] == sent
    assert len({span.trace_id for span in clients}) == 1


async def test_content_is_sent_where_it_is_asked_for(tmp_path):
    async with traced(tmp_path, answer(CHAT), capture_content=True) as (gw, _, collector):
        assert (await post(gw.url, PATH, BODY))[0] == 200
    (client,) = Collected(collector.requests).of(Span.SPAN_KIND_CLIENT)
    said = attributes(client)
    assert json.loads(said["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Capital of France?"}]}
    ]
    assert json.loads(said["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Paris."}], "finish_reason": "stop"}
    ]


async def test_what_the_caller_does_not_sample_is_passed_on_and_not_told(tmp_path):
    async with traced(tmp_path, answer(CHAT)) as (gw, up, collector):
        assert (await post(gw.url, PATH, BODY, [("traceparent", f"00-{TRACE}-{PARENT}-00")]))[0] == 200
    assert up.requests[0].headers["traceparent"].startswith(f"00-{TRACE}-")
    assert up.requests[0].headers["traceparent"].endswith("-00")
    assert Collected(collector.requests).spans == []


async def test_a_collector_that_is_down_harms_nobody(tmp_path, caplog):
    spans = open_spans(TelemetryConfig(otel=True, otlp_endpoint="http://127.0.0.1:9"), {"PATH": ""})
    assert spans is not None
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        gw.engine.state.memory.signals.tracer = spans.settled
        assert (await post(gw.url, PATH, BODY))[0] == 200
    await asyncio.to_thread(spans.close)


async def test_off_nothing_is_forwarded_and_no_context_is_kept(tmp_path):
    async with ScriptedUpstream(answer(CHAT)) as up, gateway(lab(up.url), tmp_path) as gw:
        assert (await post(gw.url, PATH, BODY, CALLER))[0] == 200
    assert "traceparent" not in up.requests[0].headers


def test_off_nothing_of_opentelemetry_is_loaded():
    code = (
        "import sys, turnout.cli.serve\nfrom turnout.config import Config\nfrom turnout.spans import open_spans\n"
        "assert open_spans(Config().telemetry, {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://x'}) is None\n"
        "print(*(m for m in sys.modules if 'opentelemetry' in m or m == 'turnout.telemetry.otel'))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == ""


def test_on_without_the_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "turnout.telemetry.otel", None)
    with pytest.raises(ConfigError, match=r"pip install 'turnout\[otel\]'"):
        open_spans(parse_config("[telemetry]\notel = true\n", {}).telemetry, {})
