"""One question to each provider, only when asked for (`--online`): its list of models, which costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Struct

from turnout.catalog.models import Deployment
from turnout.errors import TurnoutError
from turnout.newcomer.doctor.findings import Finding, fail, ok, warn
from turnout.providers.apis import url_of
from turnout.providers.discovery import decode_models
from turnout.providers.exchange import Provider
from turnout.providers.http import HttpTransport
from turnout.providers.registry import ProviderRow, upstream_headers
from turnout.providers.transport import Transport, UpstreamRequest

__all__ = ["Reply", "ask_all", "judged"]

PATIENCE_S = 10.0
MAX_BYTES = 8 * 1024 * 1024
ASTRAY_S = 60.0
"""How far clocks may be apart: signed calls are refused after five minutes, budgets end by the second."""

QUESTIONS: Mapping[str, str] = {
    "openai-chat": "/models",
    "openai-responses": "/models",
    "anthropic-messages": "/v1/models?limit=1000",
    "gemini": "/v1beta/models?pageSize=1000",
}
"""Wire format -> where its makers list models (platform.openai.com/docs/api-reference/models,
docs.anthropic.com/en/api/models-list, ai.google.dev/api/models)."""

OTHER_QUESTIONS: Mapping[str, str] = {"openrouter": "/key"}
"""Where the list is public, so that it says nothing of the key (openrouter.ai/docs/api-reference/limits)."""

NAMES_DIFFER = frozenset({"azure"})
"""Where calls name deployments, and the list has models."""


class Reply(Struct, frozen=True, kw_only=True):
    """What a place answered. `error`: why it did not. `date`: its clock."""

    status: int = 0
    body: bytes = b""
    date: datetime | None = None
    error: str | None = None


class _Named(Struct):
    name: str = ""


class _GeminiList(Struct):
    models: list[_Named] = []


async def ask_all(places: Mapping[str, Provider], fleet: Sequence[Deployment]) -> list[Finding]:
    """Every place at once, each once."""
    transport = HttpTransport()
    try:
        told = await asyncio.gather(*(_ask(name, place, fleet, transport) for name, place in places.items()))
    finally:
        await transport.aclose()
    return [finding for findings in told for finding in findings]


async def _ask(name: str, place: Provider, fleet: Sequence[Deployment], transport: Transport) -> list[Finding]:
    path = question_of(place.row)
    if path is None or place.signer is not None or not isinstance(place.transport, HttpTransport):
        told = "not asked: there is no question that costs nothing; the first call will show"
        return [warn(f"online {name}", told, "turnout serve, and a short request to one of its models")]
    request = UpstreamRequest(
        method="GET",
        url=url_of(place.row.base_url, path, ""),
        headers=upstream_headers(place.row, place.api_key, {}),
        first_byte_timeout_s=PATIENCE_S,
        idle_timeout_s=PATIENCE_S,
    )
    try:
        response = await transport.send(request)
        try:
            body = await response.read(MAX_BYTES)
        finally:
            await response.aclose()
    except TurnoutError as error:
        reply = Reply(error=error.message)
    else:
        reply = Reply(status=response.status, body=body, date=_date(response.headers))
    models = [d.upstream_model for d in fleet if d.provider == place.row.name]
    return list(judged(name, place.row, reply, models, datetime.now(UTC)))


def question_of(row: ProviderRow) -> str | None:
    """The path of what is asked of a host; None where nothing is known that costs nothing."""
    return OTHER_QUESTIONS.get(row.name) or next((p for a in row.apis if (p := QUESTIONS.get(a.dialect))), None)


def judged(name: str, row: ProviderRow, reply: Reply, models: Sequence[str], now: datetime) -> Iterator[Finding]:
    """What an answer means. `models`: what the gateway would ask this place for."""
    check = f"online {name}"
    yield _status(check, row, reply)
    if reply.date is not None and abs((now - reply.date).total_seconds()) > ASTRAY_S:
        apart = abs((now - reply.date).total_seconds())
        yield fail("clock", f"{apart:,.0f} s apart from {name}'s", "set it by the network: timedatectl set-ntp true")
    listed = _listed(reply.body) if reply.status == 200 and row.name not in NAMES_DIFFER else frozenset[str]()
    if strange := [model for model in models if listed and model not in listed]:
        told = f"not in its list of {len(listed):,} models: {', '.join(strange[:4])}"
        yield warn(check, told, "an alias may be missing there and work; else correct its name")


def _status(check: str, row: ProviderRow, reply: Reply) -> Finding:
    usual = f"make a new one and export {row.key_env[0]}" if row.key_env else f"correct providers.{row.name}.api_key"
    if reply.error is not None:
        cause, _, then = reply.error.partition("; ")
        return fail(check, cause, then or "see whether it is up, and whether a proxy or firewall is between")
    match reply.status:
        case 200:
            return ok(check, "answers, and takes the key" if row.key_env else "answers")
        case 401 | 403:
            return fail(check, f"refuses the key ({reply.status})", usual)
        case 404 | 405:
            return warn(
                check, "answers, but has no list of models where its API has one", "see whether base_url is right"
            )
        case 402 | 429:
            return warn(
                check, f"answers {reply.status}: no money or no more requests now", "look at the account's limits"
            )
        case status:
            return warn(check, f"answers with status {status}", "look at its status page, and try again")


def _listed(body: bytes) -> frozenset[str]:
    """Names of models, however the host lists them; empty for anything else."""
    if names := decode_models(body):
        return frozenset(names)
    try:
        found = msgspec.json.decode(body, type=_GeminiList).models
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    return frozenset(one.name.removeprefix("models/") for one in found)


def _date(headers: Sequence[tuple[str, str]]) -> datetime | None:
    told = next((value for name, value in headers if name == "date"), None)
    try:
        return parsedate_to_datetime(told) if told else None
    except ValueError:
        return None
