"""Rows and attempts as lines of PostgreSQL's COPY in its text format. Pure.

A row is nearly always short and plain, and then made by one formatting of all its cells and a few looks at the whole
(`_quick_lines`): some 20 microseconds in the process that serves. What is not plain (a text that must be escaped or
shortened, an integer that is too big) is done cell by cell from the row's record (`exact_lines`); both say the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from turnout.catalog.prices import Price
from turnout.context import CACHE_HIT, Attempt
from turnout.spend.ledger import (
    ATTEMPT_COLUMNS,
    COLUMNS,
    JSON_COLUMNS,
    MAX_TEXT,
    LedgerRow,
    Record,
    attempts_to_records,
    plain_decision,
    price_record,
    to_record,
)
from turnout.stores.postgres.text import plain

__all__ = ["ATTEMPTS", "NULL", "ROWS", "Lines", "exact_lines", "line_bytes", "lines_of"]

NULL = "None"
"""As Python writes it; a text of those letters is escaped."""

_JSON = ("tags", "usage_raw", "warnings", "decision")

_PLAIN = tuple(name for name in COLUMNS if name not in JSON_COLUMNS and name != "price")

ROWS = ("nr", "feature", "price", *_PLAIN, *_JSON)
"""The columns of a row's line."""

ATTEMPTS = ("nr", "received_at", *ATTEMPT_COLUMNS[1:])
"""The columns of an attempt's line."""

_INDEXED = frozenset(
    {
        *("feature", "key_id", "team", "session_id", "agent", "mode", "deployment", "provider", "tier", "reason"),
        "gateway",
    }
)

_MOST_BYTES = 600
"""Of a text that an index holds: PostgreSQL's takes 2,704 bytes of several together."""

_SURELY_SHORT = _MOST_BYTES // 4
"""Characters that are no more bytes than that, whatever they are."""

_FIELD = LedgerRow.__struct_fields__.index
_PRICE, _TAGS, _USAGE, _WARNINGS, _DECISION, _RECEIVED, _DEPLOYMENT, _REASON, _COST = (
    _FIELD(name)
    for name in (
        *("price", "tags", "usage_raw", "warnings", "decision", "received_at", "deployment", "reason"),
        "cost_nano_usd",
    )
)
_pick = itemgetter(*map(_FIELD, _PLAIN))
_pick_indexed = itemgetter(*(_FIELD(name) for name in COLUMNS if name in _INDEXED))
_pick_usage = itemgetter(*map(_FIELD, ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")))

_TABS = len(_PLAIN) + 1
# What is a bool in a row is a number there.
_ROW_FORMAT = "%s\t%s\t" + "\t".join("%d" if name == "usage_estimated" else "%s" for name in _PLAIN)
_NO_USAGE = "\t".join([NULL] * 4)
_ATTEMPT_TABS = len(ATTEMPTS) - 2

_encode = msgspec.json.Encoder().encode


class Lines(Struct, frozen=True, gc=False):
    """A row's line and those of its attempts, but for the number that stands before each and a tab."""

    row: str
    attempts: tuple[str, ...]


def lines_of(row: LedgerRow) -> Lines:
    """The lines of a row. Raises TypeError, ValueError or OverflowError for one that cannot be written (a usage object
    that is not JSON). Of a text that an index holds 600 bytes are kept, and a hash of the rest."""
    try:
        lines = _quick_lines(row)
    except (TypeError, ValueError, OverflowError, AttributeError):
        lines = None
    return exact_lines(row) if lines is None else lines


def exact_lines(row: LedgerRow) -> Lines:
    """As `lines_of`, with nothing that PostgreSQL refuses in a text, whatever it takes."""
    record = dict(zip(COLUMNS, map(_cleaned, to_record(row)), strict=True))
    told = msgspec.json.decode(str(record["tags"]), type=dict[str, str])
    tags = {plain(name): plain(value) for name, value in told.items()}
    record |= {"tags": _encode(tags).decode(), "feature": tags.get("feature")}
    for name in _INDEXED:
        if isinstance(cell := record[name], str):
            record[name] = _short(cell)
    received = _escaped(record["received_at"])
    return Lines(
        "\t".join([_escaped(record[name]) for name in ROWS[1:]]),
        tuple([_exact_attempt(received, attempt) for attempt in attempts_to_records(row)]),
    )


def _quick_lines(row: LedgerRow) -> Lines | None:
    """None for a row that is not plain."""
    values = astuple(row)
    price, tags, usage = values[_PRICE], values[_TAGS], values[_USAGE]
    cells = (tags.get("feature"), price_record(price)[0] if isinstance(price, Price) else price, *_pick(values))
    plain = _ROW_FORMAT % cells
    if _must_be_escaped(plain, _TABS, 0) or plain.count(NULL) != cells.count(None):
        return None
    if not _is_short(plain, values, cells[0]):
        return None
    told = _encode(tags).decode()
    if "\\" in told:  # a NUL perhaps, which PostgreSQL's JSON does not have
        return None
    json = (
        f"{told}\t{NULL if usage is None else _encode(usage).decode()}\t{_encode(values[_WARNINGS]).decode()}\t"
        f"{NULL if (decision := values[_DECISION]) is None else _encode(plain_decision(decision)).decode()}"
    )
    if "\\" in json:
        json = json.replace("\\", "\\\\")
    attempts = _quick_attempts(row, values)
    return None if attempts is None else Lines(f"{plain}\t{json}", attempts)


def _must_be_escaped(text: str, tabs: int, ends: int) -> bool:
    """Whether cells hold more tabs and ends of lines than lie between them, or what else is escaped."""
    return (
        "\\" in text
        or "\r" in text
        or "\0" in text
        or text.count("\t") != tabs
        or (text.count("\n") != ends if ends else "\n" in text)
    )


def _is_short(line: str, values: tuple[Any, ...], feature: str | None) -> bool:
    """Whether no text must be cut: nearly always all of them together are shorter than one may be."""
    if len(line) <= (_MOST_BYTES if line.isascii() else _SURELY_SHORT):
        return True
    if len(line) > MAX_TEXT:
        return False
    return all(text is None or len(text) <= _SURELY_SHORT for text in (feature, *_pick_indexed(values)))


def _quick_attempts(row: LedgerRow, values: tuple[Any, ...]) -> tuple[str, ...] | None:
    """As `attempts_to_records`; None where one is not plain."""
    log = row.attempt_log
    if not log or log.__class__ is not tuple:
        return None if log or _is_told(row) else ()
    attempts: tuple[Attempt, ...] = log  # what else it holds has no such attributes
    lost, answered = 0, None
    for number, attempt in enumerate(attempts):
        if attempt.cost_nano_usd:
            lost += attempt.cost_nano_usd
        else:
            answered = number
    if row.cost_nano_usd is None:
        answered = None
    received, lines = row.received_at, list[str]()
    for number, attempt in enumerate(attempts):
        name, target, code, why = attempt.deployment.id, attempt.target, attempt.error_code, attempt.reason or None
        ttft_s, usage = attempt.ttft_s, attempt.usage
        if target == name or not target:
            target = None
        if NULL in (name, target, code, why):
            return None
        if number == answered:
            told = "\t".join(map(str, _pick_usage(values)))
            cost = values[_COST] - lost
        else:
            told = f"{usage.input or None}\tNone\tNone\t{usage.output or None}" if usage else _NO_USAGE
            cost = attempt.cost_nano_usd or None
        lines.append(
            f"{received}\t{number}\t{name}\t{target}\t{attempt.status}\t{code}\t{why}\t"
            f"{round(attempt.waited_s * 1_000) or None}\t{round(attempt.duration_s * 1_000)}\t"
            f"{None if ttft_s is None else round(ttft_s * 1_000)}\t{told}\t{cost}\t{attempt.reprefill_nano_usd or None}"
        )
    whole = "\n".join(lines)
    if _must_be_escaped(whole, len(lines) * _ATTEMPT_TABS, len(lines) - 1) or len(whole) > MAX_TEXT:
        return None
    return tuple(lines)


def _is_told(row: LedgerRow) -> bool:
    """Whether an attempt is made up for a row that has none."""
    return row.deployment is not None and row.reason != CACHE_HIT


def _exact_attempt(received: str, attempt: Record) -> str:
    return "\t".join([received, *(_escaped(_cleaned(cell)) for cell in attempt[1:])])


def _cleaned(cell: str | int | None) -> str | int | None:
    return plain(cell) if isinstance(cell, str) else cell


def _escaped(cell: str | int | None) -> str:
    if not isinstance(cell, str):
        return str(cell)
    if cell == NULL:
        return f"\\{NULL}"
    return cell.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _short(text: str) -> str:
    if len(text) <= _SURELY_SHORT or len(text.encode()) <= _MOST_BYTES:
        return text
    kept = text.encode()[: _MOST_BYTES - 40].decode("utf-8", "ignore")
    return f"{kept}~{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def line_bytes(lines: Iterable[tuple[int, str]]) -> bytes:
    """Numbered lines as COPY takes them. Raises UnicodeEncodeError."""
    return "".join([f"{nr}\t{line}\n" for nr, line in lines]).encode()
