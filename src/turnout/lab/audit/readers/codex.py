"""Codex CLI's rollouts: items of the Responses API one a line, usage in events after them, forks with copied history.

Source: logs of versions 0.2 to 0.15x, the writer's own types (codex-rs, `RolloutItem`), and the trackers of what reads
them (ccusage, tokscale, codeburn). What they tell: `token_count` comes again with nothing new in it; newer versions
write the same usage as a `token_usage_record` too; a fork's or a sub-agent's file begins with a copy of the other's
history, its counts included, with the old times or with new ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct, field

from turnout.chat import Json, Message, Part, Text, Usage
from turnout.dialects.values import count_or_none, object_or_empty
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers.base import Head, Reader, Source, lines_of, seconds_of
from turnout.lab.audit.readers.codex_items import ANSWERS, INPUTS, SILENT_ITEMS, failed_call, message_of
from turnout.lab.audit.readers.codex_threads import Thread, thread_of
from turnout.lab.audit.readers.lines import MOST_WAITING, decoded
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["CODEX"]

ENVELOPES = frozenset({"session_meta", "turn_context", "response_item", "event_msg", "compacted", "token_usage_record"})
SILENT = frozenset({"world_state", "retained_context", "realtime_item", "ghost_snapshot"})
"""Lines beside the conversation: what they hold is sent, where it is, by items of its own."""

MOST_KNOWN = 500_000


class _Line(Struct):
    """A line: with an envelope, or, as the first versions wrote it, an item or the session's own data bare."""

    type: Json = None
    timestamp: Json = None
    ordinal: Json = None
    payload: Json = None
    id: Json = None
    record_type: Json = None


class _Open(Struct):
    """The conversation as far as it has been read. `before`: messages ahead of the answer; `out`: the answer so far;
    `after`: what came since, for the next request. `total`: the usage of the whole thread as last told."""

    before: list[Message] = field(default_factory=list[Message])
    out: list[Part] = field(default_factory=list[Part])
    after: list[Message] = field(default_factory=list[Message])
    answered: bool = False
    at: float | None = None
    total: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    records: bool = False
    compacted: bool = False
    model: str = ""
    effort: str | None = None
    bytes: int = 0
    ended: str = ""
    steps: int = 0


_decoder = msgspec.json.Decoder(_Line)
_bare = msgspec.json.Decoder(dict[str, Json])


def _claims(head: Head) -> bool:
    if any(_text(told.get("type")) in ENVELOPES and isinstance(told.get("payload"), dict) for told in head.objects):
        return True
    if head.objects:
        first = head.objects[0]
        return {"id", "timestamp", "instructions"} <= first.keys() and "type" not in first
    # The first line may be longer than what was looked at: it holds the system text.
    return head.start.startswith(b'{"timestamp":') and b'"session_meta"' in head.start[:200]


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        yield from _File(path, told).events()


class _File:
    """One file from its beginning to its end."""

    def __init__(self, path: Path, told: ReadTally) -> None:
        self._path, self._told = path, told
        self._thread = Thread(id=path.stem, session=path.stem)
        self._named = False
        self._now = _Open()
        self._failed: set[str] = set()
        self._known: set[int] = set()
        self._place = path.name

    def events(self) -> Iterator[Event]:
        for number, line in lines_of(self._path, self._told):
            self._place = f"{self._path.name} line {number}"
            try:
                told = decoded(_decoder, line)
                if told.payload is None and told.record_type is None:
                    told = _Line(payload=decoded(_bare, line), type=_bare_kind(told), timestamp=told.timestamp)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if isinstance(error, msgspec.ValidationError) and not line.startswith(b"{"):
                    self._told.strange("no object")
                else:
                    self._told.broken(self._place, error)
                continue
            yield from self._line(told, len(line))
        yield from self._finish()

    def _finish(self) -> Iterator[Event]:
        yield from self._close(None)
        if self._now.ended and self._now.steps and not self._thread.agent:
            yield Ending(session=self._thread.session, why=self._now.ended)

    def _line(self, told: _Line, size: int) -> Iterator[Event]:
        if told.record_type is not None:  # `state`, in the first versions
            return
        kind, payload = told.type, object_or_empty(told.payload)
        at = seconds_of(told.timestamp)
        self._thread.see(kind, payload, at, told.ordinal)
        match kind:
            case "response_item":
                yield from self._item(payload, at, size)
            case "event_msg":
                yield from self._event(payload, at)
            case "turn_context":
                self._settings(payload, object_or_empty(payload.get("collaboration_mode")).get("settings"))
            case "token_usage_record":
                yield from self._record(payload, at)
            case "session_meta":
                yield from self._meta(payload)
            case "compacted":
                yield from self._cut(payload)
            case "inter_agent_communication":
                self._wait(Message(role="user", parts=(Text(text=_spoken(payload)),)), size)
            case str() if kind in SILENT:
                pass
            case _:
                self._told.strange(kind if isinstance(kind, str) else "no type")

    # ---- Whose conversation it is -------------------------------------------------------------------------------

    def _meta(self, payload: dict[str, Json]) -> Iterator[Event]:
        if self._named and self._thread.knows(payload):
            return
        yield from self._finish()
        self._named = True
        self._thread, self._now = thread_of(payload, self._path.stem), _Open()
        instructions = payload.get("base_instructions")
        text = object_or_empty(instructions).get("text") if isinstance(instructions, dict) else instructions
        if isinstance(text, str) and text:
            self._wait(Message(role="system", parts=(Text(text=text),)), len(text))

    def _settings(self, *told: Json) -> None:
        for one in map(object_or_empty, told):
            self._now.model = _text(one.get("model")) or self._now.model
            effort = one.get("effort", one.get("reasoning_effort"))
            self._now.effort = _text(effort) or self._now.effort
            self._thread.project = self._thread.project or _text(one.get("cwd"))

    # ---- What was said ------------------------------------------------------------------------------------------

    def _item(self, payload: dict[str, Json], at: float | None, size: int) -> Iterator[Event]:
        kind = _text(payload.get("type"))
        if kind in SILENT_ITEMS:
            return
        if kind not in ANSWERS and kind not in INPUTS:
            self._told.strange(f"response_item {kind}")
            return
        try:
            message = message_of(payload, self._failed)
        except (InvalidRequest, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._told.broken(self._place, error)
            return
        now = self._now
        if message.role != "assistant" or self._thread.copied:
            self._wait(message, size)
            return
        if now.after:  # the answer before was never counted
            yield from self._close(None)
            now = self._now
        now.at = now.at if now.answered else at
        now.answered = True
        now.bytes += size
        if now.bytes > MOST_WAITING:
            self._let_go()
            now.out.clear()
        now.out += message.parts

    def _wait(self, message: Message, size: int) -> None:
        now = self._now
        now.bytes += size
        if now.bytes > MOST_WAITING:
            self._let_go()
            now.before.clear()
            now.after.clear()
        (now.after if now.answered else now.before).append(message)
        now.ended = ""

    def _let_go(self) -> None:
        self._told.broken(self._place, f"more than {MOST_WAITING // 2**20} MiB before it in one step, let go")
        self._now.bytes = 0

    def _cut(self, payload: dict[str, Json]) -> Iterator[Event]:
        """The history was replaced: by the items that are given, or by a summary."""
        if self._now.answered:
            yield from self._close(None)
        now, size = self._now, 0
        now.before.clear()
        now.compacted = not self._thread.copied
        items = payload.get("replacement_history")
        for item in map(object_or_empty, cast("list[Json]", items) if isinstance(items, list) else ()):
            try:
                self._wait(message_of(item, self._failed), size)
            except (InvalidRequest, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self._told.broken(self._place, error)
        summary = payload.get("message")
        if isinstance(summary, str) and summary and not now.before:
            self._wait(Message(role="user", parts=(Text(text=summary),)), len(summary))

    # ---- What was counted ---------------------------------------------------------------------------------------

    def _event(self, payload: dict[str, Json], at: float | None) -> Iterator[Event]:
        now = self._now
        match payload.get("type"):
            case "token_count":
                yield from self._counted(object_or_empty(payload.get("info")), at)
            case "exec_command_end" | "patch_apply_end" | "mcp_tool_call_end" | "item_completed":
                if len(self._failed) < MOST_KNOWN and (name := failed_call(payload)):
                    self._failed.add(name)
            case "thread_settings_applied":
                self._settings(payload.get("thread_settings"))
            case "context_compacted":
                now.compacted = not self._thread.copied
            case "turn_aborted":
                if now.answered:
                    yield from self._close(None)
                self._now.ended = _text(payload.get("reason"))[:60] or "aborted"
            case "task_complete" | "turn_complete":
                now.ended = ""
            case "error" if not self._thread.copied and not now.answered and now.before:
                yield self._step(at, failed=True)
            case _:
                pass

    def _counted(self, info: dict[str, Json], at: float | None) -> Iterator[Event]:
        """`last_token_usage` of one request, if the thread's total has grown since; else it was told before."""
        now = self._now
        total, last = _vector(info.get("total_token_usage")), _vector(info.get("last_token_usage"))
        again = total == now.total if total else last == now.last and not now.answered
        if again or now.records:
            now.total = total or now.total
            return
        grown = last or _grown(now.total, total)
        now.total, now.last = total, last
        now.model = now.model or _text(info.get("model"))
        if self._thread.copied or not any(grown):
            return
        name = f"{self._thread.id} {' '.join(map(str, total))}" if total else ""
        yield from self._close(_usage(grown), name, at)

    def _record(self, payload: dict[str, Json], at: float | None) -> Iterator[Event]:
        """The usage of one answer under its provider's name. It is not told again by the `token_count` that follows;
        where that came first, it is the same answer."""
        now = self._now
        usage, name = _vector(payload.get("usage")), _text(payload.get("response_id"))
        owner = _text(payload.get("thread_id")) or self._thread.id
        again = not now.records and not now.answered and usage == now.last
        now.records, now.total = True, _vector(payload.get("thread_token_usage")) or now.total
        if self._thread.copied or owner != self._thread.id or again or not any(usage):
            return
        if name and not self._first_time(name):
            return
        yield from self._close(_usage(usage), name, at)

    def _first_time(self, name: str) -> bool:
        told = hash(name)
        if told in self._known:
            return False
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(told)
        return True

    def _close(self, usage: Usage | None, name: str = "", at: float | None = None) -> Iterator[Event]:
        """The answer is whole. Usage without an answer is of a request whose answer is not shown: a compaction's."""
        if usage is None and not self._now.answered:
            return
        yield self._step(at, usage=usage, name=name)

    def _step(self, at: float | None, *, usage: Usage | None = None, name: str = "", failed: bool = False) -> Step:
        now, thread = self._now, self._thread
        unseen = not now.answered and not failed
        if at is None and now.steps == 0:  # the first versions told one time, at the beginning
            at = thread.born
        step = Step(
            session=thread.session,
            agent=thread.agent,
            project=thread.project,
            id=name,
            model=now.model,
            provider=thread.provider,
            at=now.at if now.answered and now.at is not None else at,
            usage=usage,
            new=() if unseen else tuple(now.before),
            out=tuple(now.out),
            effort=now.effort,
            failed=failed,
            compacted=now.compacted and not unseen,
        )
        if not unseen:
            now.before, now.after, now.out, now.bytes = now.after, [], [], 0
            now.answered = now.compacted = False
        now.steps += 1
        return step


def _bare_kind(told: _Line) -> str:
    return "session_meta" if told.type is None and told.id is not None else "response_item"


FIELDS = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens", "reasoning_output_tokens")


def _vector(told: Json) -> tuple[int, ...]:
    """The counts of a usage object in the order of FIELDS; () where there is none. Strange values count as nothing."""
    if not isinstance(told, dict):
        return ()
    usage = cast("dict[str, Json]", told)
    return tuple(number if isinstance(number := usage.get(name), int) and number >= 0 else 0 for name in FIELDS)


def _grown(before: tuple[int, ...], now: tuple[int, ...]) -> tuple[int, ...]:
    """How much a total grew; a total that has become less began anew."""
    if not before or not now or any(a > b for a, b in zip(before, now, strict=True)):
        return now
    return tuple(b - a for a, b in zip(before, now, strict=True))


def _usage(counts: tuple[int, ...]) -> Usage:
    """Input counts what was cached, output counts reasoning: codex-rs `TokenUsage`, as the Responses API does."""
    given, read, written, output, reasoning = map(count_or_none, counts)
    return Usage(input=given, cache_read=read, cache_write=written or None, output=output, reasoning=reasoning)


def _spoken(payload: dict[str, Json]) -> str:
    return next((text for name in ("content", "message", "text") if (text := _text(payload.get(name)))), "")


def _text(told: Json) -> str:
    return told if isinstance(told, str) else ""


CODEX = Reader(
    name="codex",
    title="Codex CLI rollouts",
    claims=_claims,
    read=_read,
    provider="openai",
    places=(".codex/sessions", ".codex/archived_sessions"),
    homes=("CODEX_HOME/sessions", "CODEX_HOME/archived_sessions"),
)
