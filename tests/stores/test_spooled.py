"""Rows as bytes for the spool: what comes back makes the same record."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from support.random_rows import rows
from turnout.spend.ledger import LedgerRow, attempts_to_records, price_record, to_record
from turnout.spend.spent import BudgetEntry
from turnout.stores.spooled import HEAD, decode, encode


@pytest.mark.parametrize("row", rows(3, 60), ids=lambda row: row.request_id)
def test_a_row_makes_the_same_record_when_it_comes_back(row: LedgerRow) -> None:
    back, price = decode(encode(row))
    assert isinstance(back, LedgerRow)
    assert price == price_record(row.price)  # type: ignore[arg-type]
    assert to_record(back) == to_record(row)
    assert attempts_to_records(back) == attempts_to_records(row)


def test_a_row_that_was_read_goes_as_well() -> None:
    row = LedgerRow(
        request_id="r",
        received_at="2026-11-23T12:00:00.000Z",
        decision={"reason": "default"},
        price="a digest",
        attempt_log=[{"deployment": "lab/a", "status": 200}],
    )
    back, price = decode(encode(row))
    assert isinstance(back, LedgerRow)
    assert (to_record(back), attempts_to_records(back), price) == (to_record(row), attempts_to_records(row), None)


def test_an_entry_comes_back() -> None:
    at = datetime(2026, 11, 23, 12, 30, 1, 5_000, tzinfo=UTC)
    entry = BudgetEntry(id="e", budget="company", at=at, kind="added", amount_nano_usd=-5)
    assert decode(encode(entry)) == (entry, None)


def test_an_entrys_values_are_told_by_their_names_too() -> None:
    entry = BudgetEntry(id="e", budget="company", at=datetime(2026, 11, 23, tzinfo=UTC), kind="lost", amount_nano_usd=5)
    _, *values = msgspec.msgpack.decode(encode(entry))
    names = msgspec.json.decode(HEAD)
    first = {name: told for name, told in names.items() if name != "entry"}
    assert decode(encode(entry), msgspec.json.encode(first)) == (entry, None)
    names["entry"] = ["new_field", *reversed(names["entry"])]
    later = msgspec.msgpack.encode(["entry", "?", *reversed(values)])
    assert decode(later, msgspec.json.encode(names)) == (entry, None)


def test_another_turnouts_fields_are_told_by_their_names() -> None:
    row = rows(4, 1)[0]
    names = msgspec.json.decode(HEAD)
    values = msgspec.msgpack.decode(encode(row))[1]
    # A later one has a field more, and others in another order; an older one lacks some.
    names["row"] = ["new_field", *reversed(names["row"])]
    later = msgspec.msgpack.encode(["row", ["?", *reversed(values)]])
    back, _ = decode(later, msgspec.json.encode(names))
    assert isinstance(back, LedgerRow)
    assert to_record(back) == to_record(row)


def test_an_older_turnouts_candidates_had_the_cost_of_the_rest_themselves() -> None:
    row = rows(4, 1)[0]
    names = msgspec.json.decode(HEAD)
    values = msgspec.msgpack.decode(encode(row))[1]
    decision = values[names["row"].index("decision")]
    rest = decision.pop(names["decision"].index("rest"))
    names["decision"].remove("rest")
    names["candidate"].append("rest_nano_usd")
    for name in ("candidates", "rejected"):
        for candidate in decision[names["decision"].index(name)]:
            candidate.append(rest.get(candidate[names["candidate"].index("deployment")]))
    back, _ = decode(msgspec.msgpack.encode(["row", values]), msgspec.json.encode(names))
    assert isinstance(back, LedgerRow)
    assert to_record(back) == to_record(row)
    assert b'"rest_nano_usd":700' in b"".join(str(cell).encode() for cell in to_record(back))
    decision[names["decision"].index("rejected")][0][-1] = 900  # a budget left it out
    back, _ = decode(msgspec.msgpack.encode(["row", values]), msgspec.json.encode(names))
    assert isinstance(back, LedgerRow)
    assert b'"rest_nano_usd":900' in b"".join(str(cell).encode() for cell in to_record(back))


def test_what_is_no_record_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(b"\xc1")
