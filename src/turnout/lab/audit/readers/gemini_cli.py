"""Sessions of gemini-cli: `chats/session-*.jsonl`, a message a line, and the single documents of older versions.

Source of the format: google-gemini/gemini-cli, packages/core/src/services/chatRecordingService.ts and
chatRecordingTypes.ts. A message is written again whenever its tokens or tool calls become known: the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult, Usage
from turnout.dialects.gemini.parts import Calls, decode_part
from turnout.dialects.gemini.usage import decode_usage
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers.base import Head, Reader, Source, head_of, lines_of, seconds_of
from turnout.lab.audit.readers.shapes import count_of, decoded, dict_of, dicts_of, json_text, text_of
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import Event, ReadTally, Step

__all__ = ["GEMINI_CLI"]


class _Record(Struct, rename="camel"):
    """A line of a session, or one of its messages. What only the screen shows is not read."""

    id: Any = None
    type: Any = None
    timestamp: Any = None
    content: Any = None
    tool_calls: Any = None
    thoughts: Any = None
    tokens: Any = None
    model: Any = None
    session_id: Any = None
    project_hash: Any = None
    kind: Any = None
    directories: Any = None
    messages: Any = None
    changed: Any = msgspec.field(default=None, name="$set")
    rewound: Any = msgspec.field(default=None, name="$rewindTo")


_record = msgspec.json.Decoder(_Record)
_word = msgspec.json.Decoder(Any)
_SCREEN = frozenset({"info", "error", "warning"})
"""Shown to the user and sent to no model."""


def _claims(head: Head) -> bool:
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, dict):
        return {"sessionId", "projectHash"} <= first.keys()
    if isinstance(first, list) and first:
        return _is_prompt(first[0])
    start = head.start.lstrip()[:2_000]
    if start.startswith(b"[") and b'"messageId"' in start:
        return b'"sessionId"' in start and b'"message"' in start
    return start.startswith(b"{") and b'"sessionId"' in start and b'"projectHash"' in start


def _is_prompt(value: Json) -> bool:
    """An entry of `logs.json`."""
    return isinstance(value, dict) and {"sessionId", "messageId", "type", "message"} <= value.keys()


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        talk = _Talk(path, told)
        if _is_document(path):
            yield from _document(path, talk, told)
        else:
            for number, line in lines_of(path, told):
                talk.place = f"{path.name} line {number}"
                record = decoded(line, _record, talk.place, told)
                if record is not None:
                    yield from talk.line(record)
        yield from talk.flush()


def _is_document(path: Path) -> bool:
    """Whether a file is one document: no object of its own stands on its first line, or one that holds everything."""
    head = head_of(path)
    if head.objects and head.start.lstrip().partition(b"\n")[0].strip() != b"{":
        return "messages" in head.objects[0]
    return True


def _document(path: Path, talk: _Talk, told: ReadTally) -> Iterator[Event]:
    wanted = ("sessionId", "projectHash", "kind", "directories")
    for element in elements_of(path, told, lists=("messages",), members=wanted):
        talk.place = f"{path.name} message {element.number}"
        if element.number is None:
            value = decoded(element.raw, _word, talk.place, told)
            talk.about(_Record(**{_FIELDS[element.key]: value}) if element.key in _FIELDS else _Record())
        elif not element.key:
            told.strange("typed prompt (logs.json)")
        elif (record := decoded(element.raw, _record, talk.place, told)) is not None:
            yield from talk.message(record)


_FIELDS = {"sessionId": "session_id", "projectHash": "project_hash", "kind": "kind", "directories": "directories"}


class _Talk:
    """One session while it is read: the answer that may still be written again, and what came before and since."""

    def __init__(self, path: Path, told: ReadTally) -> None:
        self.place = path.name
        self._told = told
        self._session, self._agent = path.stem, ""
        self._parent = path.parent.name if path.parent.parent.name == "chats" else ""
        self._project = _folder_of(path)
        self._seen: set[str] = set()
        self._before: list[Message] = []
        self._answer: _Record | None = None
        self._since: list[Message] = []
        self._cut = self._whole = False

    def about(self, record: _Record) -> None:
        """What a line tells of the session."""
        if text_of(record.session_id):
            self._session = record.session_id
        if record.kind == "subagent" and self._parent:
            self._session, self._agent = self._parent, self._session
        folders = record.directories
        if isinstance(folders, list) and folders and text_of(folders[0]):
            self._project = self._project or text_of(folders[0]).replace("\\", "/").rstrip("/").rpartition("/")[2]
        if not self._project and text_of(record.project_hash):
            self._project = record.project_hash[:12]

    def line(self, record: _Record) -> Iterator[Event]:
        if record.rewound is not None:
            # What is taken back was paid for all the same.
            yield from self.flush()
            self._before, self._cut = [], True
        elif record.changed is not None:
            changed = dict_of(record.changed)
            self.about(_Record(session_id=changed.get("sessionId")) if not self._agent else _Record())
            if isinstance(changed.get("messages"), list):
                yield from self._checkpoint(dicts_of(changed["messages"]))
        elif record.id is not None or record.type is not None:
            yield from self.message(record)
        elif record.session_id is not None:
            self.about(record)
            for one in dicts_of(record.messages):
                yield from self.message(_converted(one))
        else:
            self._told.strange("line of no known kind")

    def message(self, record: _Record) -> Iterator[Event]:
        kind = text_of(record.type)
        if kind == "gemini":
            name = text_of(record.id)
            if self._answer is not None and name and name == self._answer.id:
                self._answer = record
            elif not name or name not in self._seen:
                yield from self.flush()
                self._seen.add(name)
                self._answer = record
        elif kind == "user":
            if (name := text_of(record.id)) not in self._seen or not name:
                self._seen.add(name)
                self._heard(record)
        elif kind not in _SCREEN:
            self._told.strange(f"message of type {kind or type(record.type).__name__}")

    def _heard(self, record: _Record) -> None:
        message = self._message("user", record.content)
        if message is not None:
            (self._since if self._answer is not None else self._before).append(message)

    def flush(self) -> Iterator[Event]:
        """The answer that is held, as it was written last. What its tools gave opens the next request."""
        record, self._answer = self._answer, None
        if record is not None:
            parts = (*self._thoughts(record), *self._said(record))
            usage = _usage(record.tokens)
            yield Step(
                session=self._session,
                agent=self._agent,
                project=self._project,
                id=text_of(record.id),
                model=text_of(record.model),
                at=seconds_of(record.timestamp),
                usage=usage,
                new=tuple(self._before),
                out=parts,
                whole=self._whole,
                compacted=self._cut,
                failed=usage is None and not parts,
            )
            self._before = [*self._results(record), *self._since]
            self._cut = self._whole = False
        else:
            self._before += self._since
        self._since = []

    def _checkpoint(self, records: list[dict[str, Json]]) -> Iterator[Event]:
        """The conversation as it stands from now on, written whole: it was shortened, or results were masked."""
        yield from self.flush()
        names = [text_of(one.get("id")) for one in records]
        self._cut = self._cut or any(name not in self._seen for name in names) or len(names) < len(self._seen)
        self._whole = True
        self._seen.update(names)
        self._before = []
        held = [(record, self._turn(record)) for record in map(_converted, records)]
        answered = {name for _, message in held if message is not None for name in _answers(message)}
        for record, message in held:
            self._before += [message] if message is not None else []
            self._before += [m for m in self._results(record) if not _answers(m) <= answered]

    def _turn(self, record: _Record) -> Message | None:
        if record.type != "gemini":
            return self._message("user", record.content)
        parts = (*self._thoughts(record), *self._said(record))
        return Message(role="assistant", parts=parts) if parts else None

    def _message(self, role: Role, content: Json) -> Message | None:
        parts = tuple(p for p in self._parts(content) if not (isinstance(p, Text) and not p.text))
        role = "tool" if any(isinstance(part, ToolResult) for part in parts) else role
        return Message(role=role, parts=parts) if parts else None

    def _parts(self, content: Json) -> Iterator[Part]:
        calls = Calls()
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, str):
                yield Text(text=part)
            elif isinstance(part, dict) and part:
                try:
                    yield decode_part(part, "part", calls)
                except (InvalidRequest, TypeError, ValueError) as error:
                    self._told.broken(self.place, error)
                    yield Text(text=json_text(part))

    def _thoughts(self, record: _Record) -> Iterator[Part]:
        for one in dicts_of(record.thoughts):
            yield Reasoning(text=f"{text_of(one.get('subject'))}\n{text_of(one.get('description'))}".strip())

    def _said(self, record: _Record) -> Iterator[Part]:
        """The parts of an answer. Calls stand beside the content, and in newer versions within it as well."""
        within = False
        for part in self._parts(record.content):
            within = within or isinstance(part, ToolCall)
            if not (isinstance(part, Text) and not part.text):
                yield part
        if not within:
            for call in dicts_of(record.tool_calls):
                yield ToolCall(
                    id=text_of(call.get("id")),
                    name=text_of(call.get("name")),
                    arguments=json_text(call.get("args") or {}),
                )

    def _results(self, record: _Record) -> list[Message]:
        """What the calls of an answer gave, unless a message since has it already."""
        had = {name for message in self._since for name in _answers(message)}
        results: list[Part] = []
        for call in dicts_of(record.tool_calls):
            name = text_of(call.get("id"))
            if name in had or call.get("result") is None:
                continue
            failed = text_of(call.get("status")) in {"error", "cancelled"}
            given = list(self._parts(call["result"]))
            inner = [p for part in given for p in (part.parts if isinstance(part, ToolResult) else (part,))]
            plain = tuple(p for p in inner if not isinstance(p, Reasoning | ToolCall | ToolResult))
            results.append(ToolResult(call_id=name, name=text_of(call.get("name")), parts=plain, is_error=failed))  # pyright: ignore[reportArgumentType]
        return [Message(role="tool", parts=tuple(results))] if results else []


def _answers(message: Message) -> set[str]:
    return {part.call_id for part in message.parts if isinstance(part, ToolResult)}


def _converted(one: dict[str, Json]) -> _Record:
    keys = ("id", "type", "timestamp", "content", "thoughts", "tokens", "model")
    return _Record(**{key: one.get(key) for key in keys}, tool_calls=one.get("toolCalls"))


def _usage(tokens: Json) -> Usage | None:
    """Gemini's own counts under gemini-cli's names. Some early versions wrote the input without what came from the
    cache: then only the total has both."""
    told = dict_of(tokens)
    if not told:
        return None
    counts = {theirs: count_of(told.get(name)) for name, theirs in _COUNTS.items()}
    usage = decode_usage({theirs: count for theirs, count in counts.items() if count is not None})
    if usage is None or (usage.input is None and usage.output is None):
        return None
    total, cached = count_of(told.get("total")), usage.cache_read or 0
    beside = cached > 0 and total == (usage.input or 0) + (usage.output or 0) + cached
    return msgspec.structs.replace(usage, raw=None, input=(usage.input or 0) + cached if beside else usage.input)


_COUNTS = {
    "input": "promptTokenCount",
    "output": "candidatesTokenCount",
    "cached": "cachedContentTokenCount",
    "thoughts": "thoughtsTokenCount",
    "tool": "toolUsePromptTokenCount",
}

_is_hash = re.compile("[0-9a-f]{64}").fullmatch


def _folder_of(path: Path) -> str:
    """The project by the folder that its sessions lie in: newer versions call it by its name, older ones by a hash of
    its path, which tells nobody anything."""
    chats = next((folder for folder in path.parents if folder.name == "chats"), None)
    name = chats.parent.name if chats is not None else ""
    return "" if _is_hash(name) else name


GEMINI_CLI = Reader(
    name="gemini-cli",
    title="gemini-cli sessions",
    claims=_claims,
    read=_read,
    provider="google",
    places=(".gemini/tmp/*/chats/*.json", ".gemini/tmp/*/chats/*.jsonl", ".gemini/tmp/*/chats/*/*.jsonl"),
    homes=("GEMINI_CLI_HOME/.gemini/tmp",),
)
