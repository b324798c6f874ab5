"""Rows and entries of a ledger as bytes for the spool, and back. Pure.

Writing is on the path of every request: what a row holds goes out as it stands, deployments by their ids alone. What is
read makes the same record in the ledger as the row itself would (`spend.ledger.to_record`), also where a Turnout with
other fields wrote it: fields are told by name (`HEAD`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import astuple

from turnout.catalog.models import Deployment
from turnout.catalog.prices import Price
from turnout.context import Attempt, Candidate, Decision
from turnout.spend.ledger import LedgerRow, iso_utc, price_record
from turnout.spend.spent import BudgetEntry

__all__ = ["HEAD", "decode", "encode"]

_ROW = LedgerRow.__struct_fields__
_NAMES: dict[str, tuple[str, ...]] = {
    "row": _ROW,
    "decision": Decision.__struct_fields__,
    "candidate": Candidate.__struct_fields__,
    "attempt": Attempt.__struct_fields__,
    "entry": BudgetEntry.__struct_fields__,
}

HEAD = msgspec.json.encode(_NAMES)
"""What the values of a record are, by name: to stand before those that are written."""

_ENTERED_AT = _NAMES["entry"].index("at")

_FIRST_ENTRY = ("id", "budget", "at", "kind", "amount_nano_usd")
"""What an entry's values are where the head says nothing of entries, as the first did not."""

_PRICE, _DECISION, _ATTEMPTS = (_ROW.index(name) for name in ("price", "decision", "attempt_log"))

_REST = Decision.__struct_fields__.index("rest")
_DEPLOYMENT_OF_ATTEMPT = Attempt.__struct_fields__.index("deployment")
_DEPLOYMENT_OF_CANDIDATE = Candidate.__struct_fields__.index("deployment")

_encode = msgspec.msgpack.Encoder().encode


def encode(item: LedgerRow | BudgetEntry) -> bytes:
    """Raises TypeError, ValueError or OverflowError for what no database would take either."""
    if isinstance(item, BudgetEntry):
        entered: list[Any] = list(astuple(item))
        entered[_ENTERED_AT] = iso_utc(item.at)
        return _encode(("entry", *entered))
    values: list[Any] = list(astuple(item))
    if isinstance(item.price, Price):
        values[_PRICE] = price_record(item.price)
    if isinstance(item.decision, Decision):
        told: list[Any] = list(astuple(item.decision))
        told[_REST] = item.decision.rest()
        values[_DECISION] = [
            [_by_id(v, _DEPLOYMENT_OF_CANDIDATE) for v in t] if isinstance(t, tuple) else t for t in told
        ]
    if item.attempt_log:
        values[_ATTEMPTS] = [
            _by_id(a, _DEPLOYMENT_OF_ATTEMPT) if isinstance(a, Attempt) else a for a in item.attempt_log
        ]
    return _encode(("row", values))


def _by_id(value: Attempt | Candidate, at: int) -> list[Any]:
    told = list(astuple(value))
    told[at] = value.deployment.id
    return told


def decode(record: bytes, head: bytes = HEAD) -> tuple[LedgerRow | BudgetEntry, tuple[str, str] | None]:
    """What `encode` was given, and the price that the row names by its digest. Raises msgspec.MsgspecError."""
    kind, *told = msgspec.msgpack.decode(record, type=list[Any])
    names = msgspec.json.decode(head, type=dict[str, list[str]])
    if kind == "entry":
        return msgspec.convert(dict(zip(names.get("entry", _FIRST_ENTRY), told, strict=True)), BudgetEntry), None
    values: dict[str, Any] = dict(zip(names["row"], told[0], strict=True))
    price = values.get("price")
    if isinstance(price, list):
        values["price"] = price[0]
    if isinstance(decision := values.get("decision"), list):
        values["decision"] = _decision(decision, names)
    log = values.get("attempt_log")
    values["attempt_log"] = None
    row = msgspec.convert(
        {name: value for name, value in values.items() if name in _ROW and name != "decision"}, LedgerRow
    )
    attempts = tuple(_made(a, names["attempt"], Attempt) if isinstance(a, list) else a for a in log) if log else None
    whole = msgspec.structs.replace(row, decision=values.get("decision"), attempt_log=attempts)
    return whole, (price[0], price[1]) if isinstance(price, list) else None


def _decision(values: Sequence[Any], names: Mapping[str, Sequence[str]]) -> Decision:
    told = dict(zip(names["decision"], values, strict=True))
    for name in ("candidates", "rejected"):
        told[name] = [_fields(c, names["candidate"]) for c in told[name]]
    rest = told.pop("rest", None)
    if rest is None:  # an older Turnout's, which told each candidate its own
        weighed = (*told["candidates"], *told["rejected"])  # whom a budget left out had one too
        rest = {c["deployment"]["id"]: cost for c in weighed if (cost := c.get("rest_nano_usd"))}
    return msgspec.structs.replace(msgspec.convert(told, Decision), rest=partial(dict[str, int], rest))


def _fields(values: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    told = dict(zip(names, values, strict=True))
    stub = Deployment(id=told["deployment"], provider="", upstream_model="", dialect="")
    return told | {"deployment": msgspec.to_builtins(stub)}


def _made(values: Sequence[Any], names: Sequence[str], kind: type[Attempt]) -> Attempt:
    return msgspec.convert(_fields(values, names), kind)
