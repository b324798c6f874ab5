"""What can be looked at over HTTP: health, models, the decision explained, one request's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from turnout import __version__
from turnout.call import Call
from turnout.chat import Json
from turnout.context import Candidate
from turnout.dialects import DIALECTS
from turnout.engine import Engine
from turnout.errors import MethodNotAllowed, PathNotFound
from turnout.headers import usd
from turnout.keys import Key
from turnout.providers.operations import ChatOperation, Operation
from turnout.server.openapi import document

__all__ = ["LOOKS", "described", "explain", "look", "route_operation"]


LOOKS = {
    "/": "what this is",
    "/healthz": "whether the process lives",
    "/readyz": "whether it can serve",
    "/openapi.json": "this API, described",
    "/v1/models": "the names that a request may use",
    "/v1beta/models": "the same, as Gemini lists them",
    "/v1/models/{model}": "one name",
    "/admin/requests": "the newest requests",
    "/admin/requests/{request_id}": "one request's whole story",
    "/admin/requests/{request_id}/texts": "what was said in it, redacted, where that is kept",
    "/admin/models": "the models: health, pace, what was learned, prices",
    "/admin/budgets": "what each budget may spend, has spent and holds",
    "/admin/usage": "token volume, and what would save most",
    "/admin/overview": "totals, savings and their course",
    "/admin/volume": "as /admin/usage, from sums, by whole hours or days",
    "/admin/snowball": "the mean context at each step, by feature and part",
    "/admin/history": "agents of sessions in the ledger, the latest first",
    "/admin/outcomes": "what became of answers, the newest first",
    "/admin/learning": "how each model does against what was predicted, and drift alarms",
    "/admin/keys": "the virtual keys, without their secrets",
    "/admin/sessions": "the sessions in memory, the latest first",
    "/admin/sessions/{session}": "one session step by step",
    "/console": "the page that shows all this",
    "/metrics": "counts and times for Prometheus",
}
"""What can be looked at with GET: each path and what is there."""


def look(
    engine: Engine, method: str, path: str, headers: Mapping[str, str], *, draining: bool = False
) -> tuple[int, object]:
    """Status and JSON value of a GET (or HEAD) path. Raises PathNotFound and MethodNotAllowed."""
    known = path in LOOKS or path.startswith(("/v1/models/", "/admin/requests/"))
    if not known:
        raise PathNotFound(f"nothing is served at {path}; the API is under /v1, its models at /v1/models")
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(f"{path} takes GET, not {method}")
    if path == "/":
        return 200, {"name": "turnout", "version": __version__}
    if path == "/healthz":
        return 200, {"status": "ok"}
    if path == "/readyz":
        return ready(engine, draining=draining)
    if path == "/openapi.json":
        return 200, described()
    key = engine.keyring.caller(headers)
    listing = [name for name in engine.names.listing() if key is None or opened(engine, key, name)]
    if path == "/v1beta/models":
        return 200, {"models": [gemini_card(name) for name in listing]}
    if path == "/v1/models":
        return 200, models(listing, anthropic="anthropic-version" in headers)
    name = path.removeprefix("/v1/models/")
    engine.names.resolve(name)
    return 200, model_card(name)


def described() -> dict[str, Json]:
    """The whole API as OpenAPI 3.1."""
    from turnout.server.admin import CHANGES  # which answers with what is made here

    return document(LOOKS, {told: what for told, (what, _) in CHANGES.items()})


def ready(engine: Engine, *, draining: bool) -> tuple[int, object]:
    """Ready when there is a model to route to and the ledger can be written, until the gateway is told to end."""
    checks = {"models": len(engine.fleet), "ledger": engine.ledger.healthy}
    well = checks["models"] > 0 and engine.ledger.healthy
    if draining:
        return 503, {"status": "draining", **checks}
    return (200 if well else 503), {"status": "ready" if well else "not ready", **checks}


def model_card(name: str) -> dict[str, object]:
    """One model as OpenAI lists it, with the fields of Anthropic's list beside: SDKs read their own."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": name.partition("/")[0] if "/" in name else "turnout",
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }


def gemini_card(name: str) -> dict[str, object]:
    """One model as Gemini lists it (ai.google.dev/api/models)."""
    methods = ["generateContent", "countTokens"]
    return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}


def opened(engine: Engine, key: Key, name: str) -> bool:
    """Whether `key` opens anything that `name` stands for."""
    if name.startswith("mode/") and key.modes and name.removeprefix("mode/") not in key.modes:
        return False
    found = engine.fleet.find(name)
    return not found or any(key.opens(deployment) for deployment in found)


def models(listing: Sequence[str], *, anthropic: bool) -> dict[str, object]:
    cards = [model_card(name) for name in listing]
    if anthropic:
        first, last = (cards[0]["id"], cards[-1]["id"]) if cards else (None, None)
        return {"data": cards, "has_more": False, "first_id": first, "last_id": last}
    return {"object": "list", "data": cards}


def route_operation(headers: Mapping[str, str]) -> Operation:
    """The wire format of an explain call's body: Anthropic's when its version header is there, else OpenAI's."""
    return ChatOperation(DIALECTS["anthropic-messages" if "anthropic-version" in headers else "openai-chat"])


def explain(engine: Engine, call: Call) -> dict[str, object]:
    """The decision for a request that nobody serves."""
    ctx, decision = engine.pipeline.explain(call)
    rest = decision.rest()
    return {
        "model": decision.candidates[0].deployment.id,
        "reason": decision.reason,
        "explanation": decision.explanation,
        "mode": decision.mode,
        "effort": decision.effort,
        "candidates": [candidate_story(c, rest) for c in decision.candidates],
        "rejected": [candidate_story(c, rest) for c in decision.rejected],
        "request": {
            "dialect": ctx.dialect,
            "input_tokens_estimate": ctx.input_tokens_estimate,
            "messages": len(ctx.outline.messages),
            "tools": ctx.outline.tools,
            "session": ctx.session.id,
            "session_source": ctx.session.source,
            "thread": ctx.session.thread,
            "step": ctx.session.step,
        },
        "warnings": ctx.warnings,
    }


def candidate_story(candidate: Candidate, rest: Mapping[str, int]) -> dict[str, object]:
    return {
        "model": candidate.deployment.id,
        "tier": candidate.deployment.tier,
        "expected_cost_usd": usd(candidate.expected_cost_nano_usd),
        "expected_rest_usd_per_solved": usd(rest.get(candidate.deployment.id)),
        "expected_s": candidate.expected_s,
        "unhealthy": candidate.unhealthy,
        **chance_story(candidate),
        "warm_tokens": candidate.warm.tokens,
        "cache": candidate.warm.kind if candidate.warm.tokens else "cold",
        "rejected": candidate.rejected,
    }


def chance_story(candidate: Candidate) -> dict[str, object]:
    """The chance that it does the request well: the predictor's, with bounds that hold it nine times in ten, else what
    is assumed of its tier. None where nobody asked."""
    bounds = candidate.bounds and [round(bound, 4) for bound in candidate.bounds]
    return {
        "success": candidate.success and round(candidate.success, 4),
        "success_bounds": bounds,
        "success_is": None if candidate.success is None else "predicted" if bounds else "assumed",
    }
