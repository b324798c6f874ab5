"""How an agent fares, read from what its tools answer: failures and how bad, the same one again, reading without
producing, recovery. Language-free: shapes that machines write, no words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import cast

import msgspec
import xxhash
from msgspec import Struct

from turnout.chat import Json, Message, Text, ToolCall, ToolResult

__all__ = ["Signs", "Trajectory", "TrajectoryRecord", "severity_of", "struggling"]

WINDOW = 6
"""Results that are looked back on."""

STRUGGLES = 2.0
"""Failures in the window, by severity, from which an agent is in trouble."""

SAME_FAILURE = 3
"""How often one and the same failure has come when a stronger model is asked."""

READS_ONLY = 15
"""Results in a row that only read, after which an agent is held to be lost. Recorded agents that passed stay below."""

MOST_CALLS = 512
"""Failed calls remembered of one agent."""

MOST_RECORDED = 64
"""Different failures, and failed calls, that are written down of one agent: the newest."""

SOFT, HARD = 0.5, 1.0
"""A command that ended with status 1 says no (tests that fail, a search that finds nothing); others broke."""

MUCH_READ = 4
"""A call that brings so many times the bytes that it was given reads; one that is given much or brings little does."""

_EXITS = tuple(
    re.compile(words + r"[\"'>:=\s]{1,4}(-?\d{1,3})")
    for words in ("exit[ _-]?(?:code|status)", "return(?:code|[ _-]code)")
)
"""As shells' wrappers write it: `exit code: 1`, `"exit_code": 1`, `<returncode>1</returncode>`. Of lower case, and one
by one: then the word's first letters are looked for, and not every letter is tried (a ninth of the time)."""

_BROKE = re.compile(
    r"\s*(?:<[a-z_]*error>|Traceback \(most recent call last\):|(?:\w+\.)*\w*(?:Error|Exception)\b\s*[:(]"
    r"|error(?:\[\w+\])?:)",
    re.IGNORECASE,
)
"""How runtimes and tool hosts begin a failure: Python's traceback, an exception's name and a colon, `error:`, and the
`<tool_use_error>` of Claude Code."""

_HEAD, _TAIL = 400, 4_000


class Signs(Struct, frozen=True, kw_only=True):
    """What a trajectory shows now. `severity`: of the failures in the window; `same_failure`: how often the newest
    failure has been seen; `reading`: results in a row that only read; `recovered`: a call that had failed went well,
    and nothing failed since; `failed`: the newest result is a failure; `results` in all."""

    severity: float = 0.0
    same_failure: int = 0
    reading: int = 0
    recovered: bool = False
    failed: bool = False
    results: int = 0


class _Open(Struct, frozen=True):
    call: int
    size: int


class TrajectoryRecord(Struct, frozen=True, array_like=True):
    """A trajectory as plain data: hashes and counts. `open`: calls without a result, their id, hash and size."""

    window: list[float] = []
    failures: list[tuple[int, int]] = []
    failed_calls: list[int] = []
    open: list[tuple[str, int, int]] = []
    same: int = 0
    reading: int = 0
    results: int = 0
    recovered: bool = False


class Trajectory:
    """Fed with what a conversation has grown by; keeps hashes and counts, no text. Plain lists and dicts: a gateway
    remembers thousands of conversations, most of which never call a tool, and empty ones are small."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._window: list[float] = []
        self._failures: dict[int, int] = {}
        self._failed_calls: dict[int, None] = {}
        self._same = self._reading = self._results = 0
        self._recovered = False

    def feed(self, messages: Iterable[Message]) -> list[float]:
        """New messages, oldest first; how bad each result among them is, as `severity_of` says."""
        came: list[float] = []
        for message in messages:
            for part in message.parts:
                if isinstance(part, ToolCall):
                    self._open[part.id] = _Open(
                        xxhash.xxh3_64_intdigest(f"{part.name}\0{part.arguments}".encode("utf-8", "surrogatepass")),
                        len(part.arguments),
                    )
                    _bound(self._open)
                elif isinstance(part, ToolResult):
                    came.append(self._came(part))
        return came

    @property
    def signs(self) -> Signs:
        return Signs(
            severity=sum(self._window),
            same_failure=self._same,
            reading=self._reading,
            recovered=self._recovered,
            failed=bool(self._window and self._window[-1]),
            results=self._results,
        )

    @property
    def recovered(self) -> bool:
        """Whether a call that had failed went well, and nothing failed since."""
        return self._recovered

    def settled(self) -> None:
        """Somebody acted on the signs: what was seen so far is no evidence any more."""
        self._window.clear()
        self._same = self._reading = 0
        self._recovered = False

    def record(self) -> TrajectoryRecord:
        """It as plain data, bounded."""
        return TrajectoryRecord(
            window=list(self._window),
            failures=list(self._failures.items())[-MOST_RECORDED:],
            failed_calls=list(self._failed_calls)[-MOST_RECORDED:],
            open=[(name, told.call, told.size) for name, told in list(self._open.items())[-MOST_RECORDED:]],
            same=self._same,
            reading=self._reading,
            results=self._results,
            recovered=self._recovered,
        )

    @classmethod
    def restored(cls, told: TrajectoryRecord) -> Trajectory:
        """The trajectory of a record."""
        trajectory = cls()
        trajectory._window.extend(told.window)
        trajectory._failures.update(told.failures)
        trajectory._failed_calls.update(dict.fromkeys(told.failed_calls))
        trajectory._open.update((name, _Open(call, size)) for name, call, size in told.open)
        trajectory._same, trajectory._reading = told.same, told.reading
        trajectory._results, trajectory._recovered = told.results, told.recovered
        return trajectory

    def _came(self, result: ToolResult) -> float:
        call = self._open.pop(result.call_id, _Open(0, 0))
        text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
        severity = HARD if result.is_error else severity_of(text)
        self._results += 1
        self._window.append(severity)
        del self._window[:-WINDOW]
        if severity:
            self._recovered = False
            failure = xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass"))
            self._same = self._failures[failure] = self._failures.get(failure, 0) + 1
            self._failed_calls[call.call] = None
            _bound(self._failures)
            _bound(self._failed_calls)
        else:
            self._same = 0
            if call.call in self._failed_calls:  # the same command again, and it went well: tests turned green
                del self._failed_calls[call.call]
                self._recovered = True
        only_read = len(text) > MUCH_READ * max(call.size, 50)
        self._reading = self._reading + 1 if only_read else 0
        return severity


def _bound(kept: dict[int, int] | dict[int, None] | dict[str, _Open]) -> None:
    """The oldest go first."""
    while len(kept) > MOST_CALLS:
        del kept[next(iter(kept))]  # type: ignore[arg-type]


def severity_of(text: str) -> float:
    """How bad a tool's answer is by its shape: 0 where nothing says that it failed."""
    if text[:1] == "{" and len(text) < _TAIL:
        told = _json_severity(text)
        if told is not None:
            return told
    if _BROKE.match(text[:_HEAD]):
        return HARD
    code = _exit_code(text[:_HEAD])
    if code is None and len(text) > _HEAD:
        code = _exit_code(text[-_HEAD:])
    return 0.0 if code is None else _status(code)


def _exit_code(text: str) -> int | None:
    """The first that is told of."""
    plain = text.lower()
    if "exit" not in plain and "return" not in plain:
        return None
    told = [found for found in (words.search(plain) for words in _EXITS) if found is not None]
    return int(min(told, key=re.Match.start)[1]) if told else None


def _status(code: int) -> float:
    return 0.0 if code == 0 else SOFT if code == 1 else HARD


def _json_severity(text: str) -> float | None:
    """Of a JSON object: what its own fields say; None where it has none that speak of it."""
    try:
        told: Json = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    fields = cast("dict[str, object]", told)
    for name in ("exit_code", "exitCode", "returncode", "status_code"):
        value = fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return (HARD if value >= 400 else 0.0) if name == "status_code" else _status(value)
    if fields.get("is_error") is True or fields.get("isError") is True or fields.get("success") is False:
        return HARD
    return HARD if fields.get("error") else None


def struggling(signs: Signs) -> str | None:
    """Why a stronger model should go on, in a phrase; None where nothing calls for it."""
    if signs.same_failure >= SAME_FAILURE:
        return f"the same failure for the {signs.same_failure}th time"
    if signs.severity >= STRUGGLES:
        return f"failures of weight {signs.severity:g} in the last {WINDOW} results"
    if signs.reading >= READS_ONLY:
        return f"{signs.reading} results read in a row and nothing produced"
    return None
