"""Traces and metrics to an OpenTelemetry collector, by the GenAI conventions: imported where `telemetry.otel` is on.

Spans are made when a request is over, from what is known of it then, so that nothing of OpenTelemetry runs while it is
served; a thread of the SDK sends them. The ids are those that the provider was told (`trace.py`).
https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.span import TraceState
from opentelemetry.trace.status import Status, StatusCode

from turnout.catalog.models import Deployment
from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Message, Usage
from turnout.context import Attempt, RequestContext
from turnout.telemetry.content import messages_as_json, parts_as_json
from turnout.telemetry.metrics import MOST_NAMES
from turnout.telemetry.series import Names
from turnout.telemetry.signals import Said
from turnout.trace import SentCall, Trace

__all__ = ["Otlp", "Spans"]

OPERATIONS = {"gemini": "generate_content", "openai-embeddings": "embeddings", "gemini-embeddings": "embeddings"}
"""Of wire formats whose operation is not `chat`."""

PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The conventions' names of providers, where they differ from ours."""

TOKEN_BOUNDS = tuple(float(4**n) for n in range(14))
SECOND_BOUNDS = tuple(0.01 * 2**n for n in range(14))
"""Both as the conventions ask."""

PATIENCE_S = 4.0
"""Less than what comes between a container's SIGTERM and its SIGKILL; the ledger is closed before."""

MOST_CONTENT = 100_000
"""Characters of one attribute; a longer one is cut, and is then no whole JSON."""

Value = str | bool | int | float | Sequence[str]


class Otlp(Struct, frozen=True, kw_only=True):
    """Where to send: a base URL such as `http://127.0.0.1:4318`, None: as `OTEL_EXPORTER_OTLP_*` say. `every_s` between
    two reports of metrics."""

    version: str
    endpoint: str | None = None
    headers: Mapping[str, str] = {}
    every_s: float = 60.0


class Spans:
    """Tells a collector of settled requests. `reads` decodes what a request says: None where content is not sent.
    Whoever makes one closes it."""

    def __init__(self, to: Otlp, *, reads: Callable[[RequestContext], Sequence[Message]] | None = None) -> None:
        named: dict[str, str] = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "turnout"}
        self._resource = Resource.create({**named, "service.version": to.version})
        self._scope = InstrumentationScope("turnout", to.version)
        self._reads = reads
        self._models = Names(MOST_NAMES)
        base, headers = (to.endpoint or "").rstrip("/"), dict(to.headers) or None
        self._spans = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{base}/v1/traces" if base else None, headers=headers)
        )
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{base}/v1/metrics" if base else None, headers=headers),
            export_interval_millis=to.every_s * 1000,
        )
        self._meters = MeterProvider([reader], resource=self._resource, shutdown_on_exit=False)
        meter = self._meters.get_meter("turnout", to.version)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage", "{token}", explicit_bucket_boundaries_advisory=TOKEN_BOUNDS
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", explicit_bucket_boundaries_advisory=SECOND_BOUNDS
        )

    def settled(self, ctx: RequestContext, said: Said) -> None:
        """A request's books are closed: a span for it, and one for each call of a provider."""
        if (trace := ctx.trace) is None:
            return
        end_ns = int(ctx.received_at.timestamp() * 1e9) + int((ctx.duration_s or 0.0) * 1e9)
        for call, attempt in _matched(trace.calls, ctx.attempts):
            answered = attempt is not None and attempt is ctx.attempts[-1] and ctx.served_by is not None
            self._call(ctx, trace, (call, attempt), said=said if answered else None, end_ns=end_ns)
        if trace.sampled:
            self._spans.on_end(self._server(ctx, trace, end_ns))

    def close(self) -> None:
        """Send what waits, and end the threads. Blocks, for `PATIENCE_S` where the collector does not answer: what it
        has not taken then is lost, and the process may end."""
        ending = threading.Thread(target=self._end, name="turnout-otel-end", daemon=True)
        ending.start()
        ending.join(PATIENCE_S)

    def _end(self) -> None:
        self._spans.shutdown()
        self._meters.shutdown()

    def _server(self, ctx: RequestContext, trace: Trace, end_ns: int) -> ReadableSpan:
        decision, served = ctx.decision, ctx.served_by
        told: dict[str, Value | None] = {
            "gen_ai.conversation.id": ctx.session.id,
            "http.request.method": "POST",
            "http.response.status_code": ctx.status,
            "error.type": ctx.error_code or (str(ctx.status) if ctx.outcome == "error" else None),
            "turnout.request_id": ctx.request_id,
            "turnout.dialect": ctx.dialect,
            "turnout.outcome": ctx.outcome,
            "turnout.requested_model": ctx.outline.model,
            "turnout.model": served.id if served else None,
            "turnout.reason": decision.reason if decision else None,
            "turnout.mode": decision.mode if decision else None,
            "turnout.key": ctx.key_id,
            "turnout.cache": ctx.cache,
            "turnout.step": ctx.session.step,
            "turnout.cost_usd": None if ctx.cost_nano_usd is None else ctx.cost_nano_usd / NANO_PER_USD,
            "turnout.overhead_s": ctx.overhead_s,
        }
        return self._span(
            trace,
            trace.span_id,
            trace.parent_id,
            name=f"turnout {_operation(ctx)}",
            kind=SpanKind.SERVER,
            told=told,
            times=(int(ctx.received_at.timestamp() * 1e9), end_ns),
            failed=ctx.outcome == "error",
        )

    def _call(
        self,
        ctx: RequestContext,
        trace: Trace,
        sent: tuple[SentCall, Attempt | None],
        *,
        said: Said | None,
        end_ns: int,
    ) -> None:
        """The span and the figures of one call. `said` is there for the one that answered; an attempt that is not
        there was called off."""
        call, attempt = sent
        deployment = attempt.deployment if attempt is not None else _of(ctx, call)
        if said is None and attempt is not None:
            end_ns = call.begun_ns + int(attempt.duration_s * 1e9)
        error = "cancelled" if attempt is None else attempt.reason or attempt.error_code
        usage = ctx.usage if said is not None else attempt.usage if attempt is not None else None
        common: dict[str, Value] = {
            "gen_ai.operation.name": _operation(ctx),
            "gen_ai.provider.name": PROVIDERS.get(deployment.provider, deployment.provider),
        }
        bounded = {**common, "gen_ai.request.model": self._models[deployment.upstream_model]}
        self._count(bounded, usage, max(0, end_ns - call.begun_ns) / 1e9, error)
        if not trace.sampled:
            return
        told: dict[str, Value | None] = {
            **common,
            "gen_ai.request.model": deployment.upstream_model,
            "gen_ai.request.max_tokens": ctx.outline.max_output_tokens,
            "gen_ai.request.stream": ctx.outline.stream,
            "gen_ai.conversation.id": ctx.session.id,
            "error.type": error,
            "turnout.target": call.target,
            **_used(usage),
            **(self._answer(ctx, attempt, said) if said is not None else {}),
        }
        span = self._span(
            trace,
            call.span_id,
            trace.span_id,
            name=f"{common['gen_ai.operation.name']} {deployment.upstream_model}",
            kind=SpanKind.CLIENT,
            told=told,
            times=(call.begun_ns, max(call.begun_ns, end_ns)),
            failed=error is not None,
        )
        self._spans.on_end(span)

    def _answer(self, ctx: RequestContext, attempt: Attempt | None, said: Said) -> dict[str, Value | None]:
        """What is told of the call that answered, and what was said where that is asked for."""
        finish = ctx.finish.unified if ctx.finish else None
        told: dict[str, Value | None] = {
            "gen_ai.response.finish_reasons": (finish,) if finish else None,
            "gen_ai.response.time_to_first_chunk": attempt.ttft_s if attempt and ctx.outline.stream else None,
        }
        if self._reads is not None:
            told["gen_ai.input.messages"] = messages_as_json(self._reads(ctx))[:MOST_CONTENT]
            parts = said()
            told["gen_ai.output.messages"] = parts_as_json(parts, finish)[:MOST_CONTENT] if parts else None
        return told

    def _count(self, labels: dict[str, Value], usage: Usage | None, seconds: float, error: str | None) -> None:
        self._seconds.record(seconds, {**labels, "error.type": error} if error else labels)
        if usage is not None:
            for kind, tokens in (("input", usage.input), ("output", usage.output)):
                if tokens is not None:
                    self._tokens.record(tokens, {**labels, "gen_ai.token.type": kind})

    def _span(
        self,
        trace: Trace,
        span_id: str,
        parent_id: str | None,
        *,
        name: str,
        kind: SpanKind,
        told: Mapping[str, Value | None],
        times: tuple[int, int],
        failed: bool,
    ) -> ReadableSpan:
        def context(own: str, *, remote: bool) -> SpanContext:
            flags = TraceFlags(TraceFlags.SAMPLED)
            return SpanContext(
                int(trace.trace_id, 16), int(own, 16), remote, flags, TraceState.from_header([trace.state])
            )

        return ReadableSpan(
            name=name,
            context=context(span_id, remote=False),
            parent=context(parent_id, remote=parent_id == trace.parent_id) if parent_id else None,
            resource=self._resource,
            attributes={key: value for key, value in told.items() if value is not None},
            kind=kind,
            instrumentation_scope=self._scope,
            status=Status(StatusCode.ERROR if failed else StatusCode.UNSET),
            start_time=times[0],
            end_time=times[1],
        )


def _operation(ctx: RequestContext) -> str:
    return OPERATIONS.get(ctx.dialect, "chat")


def _used(usage: Usage | None) -> dict[str, Value | None]:
    if usage is None:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input,
        "gen_ai.usage.output_tokens": usage.output,
        "gen_ai.usage.cache_read.input_tokens": usage.cache_read,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning,
    }


def _matched(calls: Sequence[SentCall], attempts: Sequence[Attempt]) -> list[tuple[SentCall, Attempt | None]]:
    """Each call with what is recorded of it: of one target both are in order."""
    left = list(attempts)
    told: list[tuple[SentCall, Attempt | None]] = []
    for call in calls:
        found = next((a for a in left if call.target in {a.target, a.deployment.id}), None)
        if found is not None:
            left.remove(found)
        told.append((call, found))
    return told


def _of(ctx: RequestContext, call: SentCall) -> Deployment:
    """The deployment of a call that left no record."""
    name = call.target.partition("@")[0]
    weighed = ctx.decision.candidates if ctx.decision else ()
    known = next((c.deployment for c in weighed if c.deployment.id == name), None)
    provider, _, model = name.partition("/")
    return known or Deployment(id=name, provider=provider, upstream_model=model, dialect=ctx.dialect, tier=None)
