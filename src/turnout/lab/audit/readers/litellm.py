"""LiteLLM's spend logs: the table `LiteLLM_SpendLogs` as lines of JSON, as CSV, or as `/spend/logs` answers it.

A row is one request that the proxy booked. What was cached at the provider stands in `metadata` alone (`usage_object`,
in older versions `additional_usage_values`): the column `cache_hit` tells of LiteLLM's own cache, and a row with it
asked nobody. `prompt_tokens` includes cached tokens as LiteLLM counts now; older versions left Anthropic's out.

Source: litellm/proxy/spend_tracking/spend_tracking_utils.py; BerriAI/litellm issues 8784, 11364, 15056.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.chat import Json, Usage
from turnout.dialects.billing import tier_word
from turnout.lab.audit.readers.base import Head, Reader, Source, head_of, seconds_of
from turnout.lab.audit.readers.bodies import answer_in_body, body_of, fields_of, request_in_body
from turnout.lab.audit.readers.chains import asked_by
from turnout.lab.audit.readers.counting import settled
from turnout.lab.audit.readers.envelopes import holds_talk
from turnout.lab.audit.readers.glimpse import columns_of, keys_of
from turnout.lab.audit.readers.homes import provider_called
from turnout.lab.audit.readers.labels import NOT_TALK, project_of
from turnout.lab.audit.readers.loose import UNREADABLE, count_of, first_count, nano_usd_of, object_in
from turnout.lab.audit.readers.rows import cells_of, rows_of
from turnout.lab.audit.readers.spans import Call, in_order
from turnout.lab.audit.records import Event, ReadTally, Step
from turnout.routing.identity import read_hints

__all__ = ["LITELLM"]

_OURS = frozenset({"request_id", "call_type", "spend", "startTime"})
_HEAVY = frozenset({"metadata", "messages", "response", "proxy_server_request"})


class _Metadata(Struct):
    """Of the metadata what is read; the prices that stand there, too, are passed over."""

    usage_object: Json = None
    additional_usage_values: Json = None
    user_api_key_alias: Json = None
    user_api_key_team_alias: Json = None
    user_api_key_team_id: Json = None
    user_api_key_project_alias: Json = None
    spend_logs_metadata: Json = None
    status: Json = None
    tags: Json = None


class _Row(Struct):
    """A row, as far as it is read. What may be long stays as it is until it is needed."""

    request_id: Json = None
    call_type: Json = None
    spend: Json = None
    total_tokens: Json = None
    prompt_tokens: Json = None
    completion_tokens: Json = None
    startTime: Json = None  # noqa: N815
    model: Json = None
    custom_llm_provider: Json = None
    cache_hit: Json = None
    session_id: Json = None
    end_user: Json = None
    team_id: Json = None
    request_tags: Json = None
    status: Json = None
    metadata: Raw = Raw(b"null")
    messages: Raw = Raw(b"null")
    response: Raw = Raw(b"null")
    proxy_server_request: Raw = Raw(b"null")


_row = msgspec.json.Decoder(_Row)
_metadata = msgspec.json.Decoder(_Metadata)
_text = msgspec.json.Decoder(str)


def _claims(head: Head) -> bool:
    keys = keys_of(head)
    return keys >= _OURS or {f"data.{name}" for name in _OURS} <= keys or columns_of(head) >= _OURS


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        rows = _from_table(path, told) if columns_of(head_of(path)) >= _OURS else _from_json(path, told)
        # The proxy lists the newest first.
        yield from in_order((call for row, size in rows if (call := _call(row, size, told)) is not None), told)


def _from_json(path: Path, told: ReadTally) -> Iterator[tuple[_Row, int]]:
    for row in rows_of(path, told, ("data",)):
        try:
            yield _row.decode(row.raw), len(row.raw)
        except UNREADABLE as error:
            told.broken(row.place, error)


def _from_table(path: Path, told: ReadTally) -> Iterator[tuple[_Row, int]]:
    for _, cells in cells_of(path, told):
        known = {name: cells[name] for name in _Row.__struct_fields__ if cells.get(name)}
        raws = {name: Raw(msgspec.json.encode(known.pop(name))) for name in _HEAVY if name in known}
        yield _Row(**known, **raws), sum(map(len, cells.values()))


def _call(row: _Row, size: int, told: ReadTally) -> Call | None:
    kind = row.call_type if isinstance(row.call_type, str) else ""
    if not _name(row.request_id):
        told.strange("row without a request")
        return None
    if any(word in kind for word in NOT_TALK):
        told.strange(kind)
        return None
    if row.cache_hit is True or str(row.cache_hit).lower() == "true":
        told.strange("answered from LiteLLM's own cache")
        return None
    metadata = _metadata_of(row.metadata)
    step = Step(
        session=_name(row.session_id) or _name(row.request_id),
        project=_project(row, metadata),
        id=_name(row.request_id),
        model=_name(row.model),
        provider=provider_called(_name(row.custom_llm_provider)),
        at=seconds_of(row.startTime),
        usage=_usage(row, metadata),
        cost_nano_usd=nano_usd_of(row.spend),
        failed="failure" in (row.status, metadata.status),
    )
    return _with_bodies(step, row, size)


def _name(value: Json) -> str:
    return value[:300] if isinstance(value, str) else ""


def _metadata_of(raw: Raw) -> _Metadata:
    try:
        text = _text.decode(raw) if bytes(raw)[:1] == b'"' else raw
        return _metadata.decode(text)
    except UNREADABLE:
        return _Metadata()


def _project(row: _Row, metadata: _Metadata) -> str:
    about = {**object_in(metadata.spend_logs_metadata), **msgspec.to_builtins(metadata)}
    line = {"metadata": about, "request_tags": row.request_tags, "team_id": row.team_id, "end_user": row.end_user}
    return project_of(line)


def _usage(row: _Row, metadata: _Metadata) -> Usage | None:
    seen = {**object_in(metadata.additional_usage_values), **object_in(metadata.usage_object)}
    into, out = object_in(seen.get("prompt_tokens_details")), object_in(seen.get("completion_tokens_details"))
    lasting = object_in(into.get("cache_creation_token_details")) or object_in(seen.get("cache_creation"))
    plain, said = count_of(row.prompt_tokens), count_of(row.completion_tokens)
    within = True
    if not plain and "input_tokens" in seen:  # an Anthropic answer that was handed through as it came
        plain, within = first_count(seen, "input_tokens"), False
        said = said or first_count(seen, "output_tokens")
    if not plain and not said:
        return None  # a row that knows what was paid and not for what
    told = Usage(
        input=plain,
        cache_read=first_count(seen, "cache_read_input_tokens") or first_count(into, "cached_tokens"),
        cache_write=first_count(seen, "cache_creation_input_tokens")
        or first_count(into, "cache_creation_tokens", "cache_write_tokens"),
        cache_write_1h=first_count(lasting, "ephemeral_1h_input_tokens"),
        output=said,
        reasoning=first_count(out, "reasoning_tokens"),
        service_tier=tier_word(seen.get("service_tier")),
    )
    # Anthropic's thinking is within its output, whatever the total says.
    return settled(told, count_of(row.total_tokens), within=within)


def _with_bodies(step: Step, row: _Row, size: int) -> Call:
    """With what was asked and answered, where the proxy was told to store it."""
    asked = fields_of(body_of(row.proxy_server_request))
    if not holds_talk(asked):
        messages = body_of(row.messages)
        asked = {"messages": Raw(messages)} if messages[:1] == b"[" else {}
    dialect, answer = answer_in_body(row.response, asked)
    request = request_in_body(asked, dialect) if asked and dialect else None
    if answer is not None:
        step = replace(step, out=answer.parts, usage=step.usage or answer.usage)
    if request is None:
        return Call(step=step, size=size)
    step = replace(
        step,
        new=request.messages,
        whole=not (request.previous or request.kept),
        tools=request.tools,
        effort=request.effort,
        model=step.model or request.model,
    )
    return Call(
        step=step,
        asked=asked_by(request.outline, read_hints({}, request.outline).session or "", step.session),
        size=size,
    )


LITELLM = Reader(name="litellm", title="LiteLLM spend logs", claims=_claims, read=_read)
