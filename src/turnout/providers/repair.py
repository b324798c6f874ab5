"""What is put into a request, beside the caller's own words, so that a provider's prompt cache is read: marks of where
to cache, and to which session it belongs. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from turnout.catalog.affinity_hints import AffinityHint
from turnout.chat import RequestOutline
from turnout.dialects.base import Dialect
from turnout.dialects.billing import asked_cache
from turnout.dialects.fields import decode_fields, encode, join_fields
from turnout.dialects.marks import Ends, Marks, answers_ago, marked
from turnout.providers.apis import Api

__all__ = ["Repair", "Session", "repaired_body", "repaired_outline"]


class Session(Struct, frozen=True, kw_only=True):
    """`value` names the session to a provider, in the way that `hint` says."""

    hint: AffinityHint
    value: str

    def told(self, api: Api, fields: Mapping[str, Raw], headers: Mapping[str, str]) -> tuple[Headers, dict[str, Raw]]:
        """The header or the top-level value that says it. The caller's own goes on as it is, and is not added to."""
        key, header = self.hint.keys.get(api.dialect), self.hint.header
        if key is not None:
            return (), {} if key in fields else {key: Raw(encode(self.value))}
        if header is None:
            return (), {}
        if header in headers:
            return ((header, headers[header]),), {}
        return () if any(name in fields for name in self.hint.own) else ((header, self.value),), {}


Headers = tuple[tuple[str, str], ...]


class Repair(Struct, frozen=True, kw_only=True):
    """What to put in, for one model. None: nothing."""

    marks: Marks | None = None
    session: Session | None = None


class _Head(Struct):
    role: str = ""


_raws = msgspec.json.Decoder(list[Raw])
_head = msgspec.json.Decoder(_Head)


def repaired_outline(
    repair: Repair | None, api: Api, dialect: Dialect, told: RequestOutline, headers: Mapping[str, str]
) -> tuple[RequestOutline, Headers]:
    """A request in the provider's own format with what is put in, and the headers for it. `headers`: the caller's."""
    if repair is None:
        return told, ()
    fields, messages = dict(told.fields), told.messages
    if repair.marks is not None and api.marks and dialect.marks is not None:
        ends = Ends(fields, messages, told.roles, told.caches is not None)
        done = marked(dialect.marks, ends, repair.marks)
        fields |= {name: Raw(value) for name, value in done.fields.items()}
        if done.messages:
            messages = tuple(Raw(done.messages[i]) if i in done.messages else raw for i, raw in enumerate(messages))
    more, added = repair.session.told(api, told.fields, headers) if repair.session else ((), {})
    return replace(told, fields=fields | added, messages=messages), more


def repaired_body(
    repair: Repair | None, api: Api, dialect: Dialect, body: bytes, caller: tuple[Sequence[str], Mapping[str, str]]
) -> tuple[bytes, Headers]:
    """The same for a body that was translated; `caller`: the roles of the request it was translated from, and its
    headers. Messages were regrouped on the way: where the previous request ended is found by counting answers."""
    if repair is None:
        return body, ()
    roles, headers = caller
    marks = repair.marks if api.marks and dialect.marks is not None else None
    if marks is None and repair.session is None:
        return body, ()
    fields = decode_fields(body)
    more, added = repair.session.told(api, fields, headers) if repair.session else ((), {})
    changed: dict[str, Raw | bytes] = {**fields, **added}
    if marks is not None and dialect.marks is not None:
        messages = _raws.decode(fields["messages"])
        there = [_head.decode(raw).role for raw in messages]
        marks = replace(marks, before=answers_ago(roles, marks.before, there))
        ends = Ends(fields, messages, there, asked_cache(body) is not None)
        changed.update(marked(dialect.marks, ends, marks).fields)
    return join_fields(changed), more
