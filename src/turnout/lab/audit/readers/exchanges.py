"""Logs of whole requests and answers, one exchange a line: what proxies, callbacks, batch files and recorders write.

The bodies are decoded by the dialects. A request holds its whole conversation, so a step is `whole`, but where the
provider keeps the conversation and the request brings only what is new.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.chat import Json, Message, Part, Usage
from turnout.dialects import DIALECTS
from turnout.lab.audit.readers.base import Head, Reader, Source, seconds_of
from turnout.lab.audit.readers.bodies import Answer, Request, answer_in_body, body_of, fields_of, request_in_body
from turnout.lab.audit.readers.chains import Conversations, Place, asked_by
from turnout.lab.audit.readers.counting import settled
from turnout.lab.audit.readers.envelopes import ANSWERS, PLAIN, REQUESTS, Envelope, envelope_of, headers_of
from turnout.lab.audit.readers.glimpse import keys_of
from turnout.lab.audit.readers.homes import provider_at, provider_called
from turnout.lab.audit.readers.labels import NOT_TALK, answer_name, project_of
from turnout.lab.audit.readers.loose import UNREADABLE, first_count, nano_usd_of, object_in, text_in
from turnout.lab.audit.readers.rows import rows_of
from turnout.lab.audit.records import Event, ReadTally, Step
from turnout.routing.identity import Hints, read_hints

__all__ = ["EXCHANGES"]

TIMES = (
    *("timestamp", "ts", "time", "startTime", "start_time", "startedDateTime", "timestamp_start"),
    *("request_created_at", "created_at", "createdAt", "requested_at", "logged_at", "created"),
)
SESSIONS = ("session_id", "sessionId", "session", "conversation_id", "conversationId", "thread_id")
TRACES = ("trace_id", "traceId")
COSTS = ("response_cost", "cost", "spend", "cost_usd", "costUSD", "total_cost")
SESSION_HEADERS = ("helicone-session-id", "x-portkey-trace-id")
_WEAK = frozenset({"prompt_cache_key", "conversation", "prefix"})

MOST_ANSWERS = 20_000
"""Answers of the Responses API whose conversations are remembered by their ids."""

MOST_CARRIED = 500
"""Such answers that are held whole until a request goes on from them, of this many bytes at most each."""

LONGEST_CARRIED = 64 * 1024

_IN_PATH = re.compile(r"/models?/([^/:]+(?::\d+)?)[:/](?:[a-zA-Z]+)")
_raws = msgspec.json.Decoder(list[Raw])
_NUMBERED = re.compile(r"(.+)_(\d{1,6})\.json")


class _Met(Struct, frozen=True, kw_only=True):
    """One exchange, decoded."""

    envelope: Envelope
    dialect: str
    request: Request | None
    answer: Answer
    headers: dict[str, str]
    url: str
    size: int


class _Kept:
    """Conversations that a provider keeps, by the ids of its answers."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._parts: OrderedDict[str, tuple[Part, ...]] = OrderedDict()

    def put(self, step: Step, place: Place, size: int) -> None:
        if not step.id:
            return
        self._places[step.id] = place
        if len(self._places) > MOST_ANSWERS:
            self._places.popitem(last=False)
        if step.whole and size <= LONGEST_CARRIED:
            self._parts[step.id] = step.out
            if len(self._parts) > MOST_CARRIED:
                self._parts.popitem(last=False)

    def find(self, previous: str) -> Place | None:
        return self._places.get(previous)

    def carried(self, previous: str) -> tuple[Message, ...]:
        """An answer that stood in a whole request's step: the next of its conversation brings it along."""
        parts = self._parts.pop(previous, ())
        return (Message(role="assistant", parts=parts),) if parts else ()


def _claims(head: Head) -> bool:
    keys = keys_of(head)
    asked = any(f"{a}.{b}" in keys for a in REQUESTS for b in ("messages", "input", "contents", "model", "body", "url"))
    if asked or {"log.entries.request", "log.entries"} <= keys:
        return not {"resourceSpans", "spend"} & keys
    if {"api", "response", "streaming", "licence"} <= keys:
        return True
    answered = any(f"{name}.{inner}" in keys for name in ANSWERS for inner in ("choices", "body", "message", "usage"))
    if "custom_id" in keys and (answered or "body.model" in keys):
        return True
    beside = {"response_cost", "litellm_call_id", "call_type", "model_parameters"} & keys
    plain = any(name in keys for name in PLAIN) and "model" in keys
    return plain and (answered or ("response" in keys and bool(beside))) and "spend" not in keys


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    talks, kept = Conversations(), _Kept()
    for path in source.paths:
        for row in rows_of(path, told, ("data", "entries", "logs")):
            fields = fields_of(row.raw)
            if not fields:
                told.broken(row.place, "no JSON object")
                continue
            for one in _entries(fields):
                met = _meet(one, len(row.raw), told)
                if met is not None:
                    yield _step(met, talks, kept)


def _entries(fields: dict[str, Raw]) -> list[dict[str, Raw]]:
    """Those of a HAR file, which is one document; else the line itself."""
    listed = fields_of(fields["log"]).get("entries") if "log" in fields else None
    try:
        return [fields_of(entry) for entry in _raws.decode(listed)] if listed is not None else [fields]
    except UNREADABLE:
        return [fields]


def _meet(fields: dict[str, Raw], size: int, told: ReadTally) -> _Met | None:
    """The exchange of a line; None, and counted, where it is none of a conversation."""
    envelope = envelope_of(fields)
    line = envelope.line
    call = text_in(line, "call_type")
    if any(word in call for word in NOT_TALK):
        told.strange(call)
        return None
    asked = fields_of(body_of(envelope.asked.body)) if envelope.asked else {}
    beside = {**line, **(envelope.asked.told if envelope.asked else {})}
    url = _url(beside)
    api = text_in(line, "api")
    dialect, answer = "", None
    if envelope.answered is not None:
        dialect, answer = answer_in_body(envelope.answered.body, asked, url)
    dialect = api if api in DIALECTS else dialect
    if not dialect:
        failed = answer is not None and answer.failed
        told.strange("error without its request" if failed else api or _kind(url, fields))
        return None
    answer = _failed(answer, envelope) or _counted(answer, line)
    if answer is None:
        told.strange(f"{api or dialect} without an answer")
        return None
    return _Met(
        envelope=envelope,
        dialect=dialect,
        request=request_in_body(asked, dialect) if asked else None,
        answer=answer,
        headers=headers_of(beside),
        url=url,
        size=size,
    )


def _url(beside: dict[str, Json]) -> str:
    host = text_in(beside, "host", "api_base")
    path = text_in(beside, "url", "path", "request_path", "endpoint", "uri", "pretty_url")
    return path if "//" in path or not host else f"{host}{path}"


def _kind(url: str, fields: dict[str, Raw]) -> str:
    path = url.partition("?")[0].rpartition("//")[2]
    return path or "line of " + ", ".join(list(fields)[:4])


def _failed(answer: Answer | None, envelope: Envelope) -> Answer | None:
    """The answer that an error is."""
    status = envelope.answered.status if envelope.answered is not None else None
    refused = status is not None and status >= 400
    if refused or text_in(envelope.line, "status") in {"failure", "error"}:
        return Answer(failed=True, model=answer.model if answer else "")
    return answer if answer is not None and answer.failed else None


def _counted(answer: Answer | None, line: dict[str, Json]) -> Answer | None:
    """An answer whose usage stands beside it, or that is known by that alone."""
    if answer is not None and answer.usage is not None:
        return answer
    plain, said = first_count(line, "prompt_tokens"), first_count(line, "completion_tokens")
    if plain is None and said is None:
        return answer
    reads = first_count(line, "prompt_cache_read_tokens", "cache_read_input_tokens")
    writes = first_count(line, "prompt_cache_write_tokens", "cache_creation_input_tokens")
    usage = settled(Usage(input=plain, cache_read=reads, cache_write=writes, output=said), within=True)
    return replace(answer or Answer(id=text_in(line, "id")), usage=usage)


# ---- Steps ---------------------------------------------------------------------------------------------------------


def _step(met: _Met, talks: Conversations, kept: _Kept) -> Step:
    line, request, answer = met.envelope.line, met.request, met.answer
    hints = read_hints(met.headers, request.outline) if request is not None else Hints()
    before = kept.find(request.previous) if request is not None and request.previous else None
    place = before or _place(met, hints, talks)
    stateful = request is not None and bool(request.previous or request.kept)
    new = request.messages if request is not None else ()
    if request is not None and request.previous:
        new = kept.carried(request.previous) + new
    step = Step(
        session=place.session,
        agent=place.agent,
        project=hints.tags.get("feature") or project_of(line) or _source(line),
        id=answer_name(answer.id, answer.created),
        model=answer.model or (request.model if request else "") or _model(met),
        provider=_provider(met),
        at=_at(met),
        usage=_usage(answer, batch=met.envelope.batch),
        cost_nano_usd=next((c for n in COSTS if (c := nano_usd_of(line.get(n))) is not None), answer.cost_nano_usd),
        new=new,
        out=answer.parts,
        whole=request is not None and not stateful,
        tools=None if request is None else request.tools,
        effort=None if request is None else request.effort,
        failed=answer.failed,
    )
    if met.dialect == "openai-responses":
        kept.put(step, place, met.size)
    return step


def _place(met: _Met, hints: Hints, talks: Conversations) -> Place:
    line = met.envelope.line
    session = hints.session or ""
    if hints.session_source in _WEAK:
        session = _named(line, met.headers) or session
    trace = text_in(line, *TRACES) or text_in(object_in(line.get("metadata")), *TRACES)
    if met.request is None:
        own = text_in(line, "custom_id") or met.answer.id or "no request"
        return Place(session=session or trace or own, agent="", fresh=False)
    return talks.place(asked_by(met.request.outline, session, trace))


def _named(line: dict[str, Json], headers: dict[str, str]) -> str:
    """The session that a tool wrote beside the exchange."""
    found = text_in(line, *SESSIONS) or text_in(object_in(line.get("metadata")), *SESSIONS)
    properties = {k.lower(): v for k, v in object_in(line.get("request_properties")).items()}
    found = (
        found
        or text_in(properties, *SESSION_HEADERS)
        or next((headers[h] for h in SESSION_HEADERS if h in headers), "")
    )
    if found or "sequence" not in line:
        return found
    return text_in(line, "id").rpartition("/")[0]  # recordings: one conversation but for the last part of the id


def _source(line: dict[str, Json]) -> str:
    return text_in(line, "source").partition("@")[0].partition(":")[0] if "licence" in line else ""


def _model(met: _Met) -> str:
    named = text_in(met.envelope.line, "model", "response_model", "request_model")
    found = None if named else _IN_PATH.search(met.url)
    return unquote(found[1]) if found else named


def _provider(met: _Met) -> str:
    word = text_in(met.envelope.line, "custom_llm_provider", "provider")
    return provider_called(word) if word else provider_at(met.url)


def _at(met: _Met) -> float | None:
    envelope = met.envelope
    places = (envelope.asked.told if envelope.asked else {}, envelope.line)
    for told in places:
        at = next((at for name in TIMES if (at := seconds_of(told.get(name))) is not None), None)
        if at is not None:
            return at
    return float(met.answer.created) if met.answer.created else None


def _usage(answer: Answer, *, batch: bool) -> Usage | None:
    usage = answer.usage
    if usage is None or not batch or usage.service_tier not in {None, "standard"}:
        return usage
    return replace(usage, service_tier="batch")


def _group(paths: Sequence[Path]) -> list[Source]:
    """Files that are one exchange each and numbered (`name_0.json`, `name_1.json`) are one conversation."""
    found: dict[Path, list[tuple[int, Path]]] = {}
    for path in paths:
        numbered = _NUMBERED.fullmatch(path.name)
        key = path.with_name(numbered[1]) if numbered else path
        found.setdefault(key, []).append((int(numbered[2]) if numbered else 0, path))
    return [Source(paths=tuple(path for _, path in sorted(files))) for files in found.values()]


EXCHANGES = Reader(
    name="exchanges",
    title="requests and answers (OpenAI, Anthropic and their kin)",
    claims=_claims,
    read=_read,
    group=_group,
    places=(".contextio/captures/*.json",),
)
