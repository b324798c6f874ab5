"""What OpenCode's messages and their parts say, from files or from a database: one step a call of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from turnout.chat import File, Image, Json, Message, Part, Reasoning, Text, ToolCall, ToolResult, Usage
from turnout.dialects.media import known_source
from turnout.lab.audit.readers.base import seconds_of
from turnout.lab.audit.readers.shapes import count_of, dict_of, dicts_of, json_text, nano_usd, text_of
from turnout.lab.audit.records import Event, ReadTally, Step

__all__ = ["Info", "OpenCodeTalk", "Piece", "SessionInfo"]


class SessionInfo(Struct, rename={"parent_id": "parentID"}):
    """A session: whose child it is, and the folder it works in."""

    id: Any = None
    parent_id: Any = None
    directory: Any = None


class Info(Struct, rename={"session_id": "sessionID", "model_id": "modelID", "provider_id": "providerID"}):
    """A message without its parts. In version 2 its texts are `content` or `text`, its model is an object."""

    id: Any = None
    session_id: Any = None
    role: Any = None
    type: Any = None
    time: Any = None
    model_id: Any = None
    provider_id: Any = None
    model: Any = None
    variant: Any = None
    path: Any = None
    system: Any = None
    summary: Any = None
    cost: Any = None
    tokens: Any = None
    error: Any = None
    text: Any = None
    files: Any = None
    content: Any = None
    command: Any = None
    output: Any = None


class Piece(Struct, rename={"call_id": "callID"}):
    """A part of a message."""

    type: Any = None
    text: Any = None
    ignored: Any = None
    mime: Any = None
    url: Any = None
    filename: Any = None
    call_id: Any = None
    id: Any = None
    tool: Any = None
    name: Any = None
    state: Any = None
    cost: Any = None
    tokens: Any = None
    prompt: Any = None


_QUIET = frozenset({"step-start", "snapshot", "patch", "agent", "retry"})
"""Parts that no model sees."""

_V2_QUIET = frozenset({"agent-switched", "model-switched"})


class OpenCodeTalk:
    """One session while it is read."""

    def __init__(self, told: ReadTally) -> None:
        self._told = told
        self._parent: str = ""
        self._project = ""
        self._waiting: list[Message] = []
        self._cut = False

    @staticmethod
    def order(info: Info) -> tuple[float, str]:
        """The order of messages: by time, then by name, which grows with time."""
        return seconds_of(dict_of(info.time).get("created")) or 0.0, text_of(info.id)

    def about(self, session: SessionInfo) -> None:
        self._parent = text_of(session.parent_id)
        self._project = _last_of(text_of(session.directory))

    def message(self, info: Info, pieces: Sequence[Piece]) -> Iterator[Event]:
        """The steps of a message: an answer's calls. What a user says waits for the next."""
        kind = text_of(info.role) or text_of(info.type)
        if kind == "user":
            self._heard(info, pieces)
        elif kind == "assistant":
            yield from self._answered(info, pieces or _v2_pieces(info))
        elif kind in {"synthetic", "shell", "compaction"}:
            self._cut = self._cut or kind == "compaction"
            texts = [text_of(value) for value in (info.text, info.command, info.output, info.summary)]
            self._say("user", [Text(text=text) for text in texts if text])
        elif kind not in _V2_QUIET:
            self._told.strange(f"message of role {kind or type(info.role).__name__}")

    def _heard(self, info: Info, pieces: Sequence[Piece]) -> None:
        if text_of(info.system):
            self._say("system", [Text(text=info.system)])
        parts: list[Part] = [Text(text=info.text)] if text_of(info.text) else []
        for piece in pieces:
            kind = text_of(piece.type)
            if kind == "text" and not piece.ignored:
                parts += [Text(text=piece.text)] if text_of(piece.text) else []
            elif kind == "file":
                parts += _attached(piece)
            elif kind == "compaction":
                parts.append(Text(text="What did we do so far?"))  # what OpenCode then asks
            elif kind == "subtask":
                parts.append(Text(text="The following tool was executed by the user"))
            elif kind not in _QUIET and kind != "text":
                self._told.strange(f"part of type {kind or type(piece.type).__name__}")
        for file in dicts_of(info.files):
            parts += _attached(Piece(mime=file.get("mime"), url=file.get("uri"), filename=file.get("name")))
        self._say("user", parts)

    def _say(self, role: Any, parts: list[Part]) -> None:
        if parts:
            self._waiting.append(Message(role=role, parts=tuple(parts)))

    def _answered(self, info: Info, pieces: Sequence[Piece]) -> Iterator[Event]:
        """Calls are told apart by `step-finish`; what stands after the last one belongs to a call that never ended."""
        calls: list[tuple[list[Piece], Piece | None]] = []
        held: list[Piece] = []
        for piece in pieces:
            if piece.type == "step-finish":
                calls.append((held, piece))
                held = []
            elif text_of(piece.type) not in _QUIET:
                held.append(piece)
        if held or not calls:
            calls.append((held, None))
        counted = [end for _, end in calls if end is not None and dict_of(end.tokens)]
        for number, (said, end) in enumerate(calls):
            tokens, cost = info.tokens, info.cost
            if counted and (len(calls) > 1 or not _usage(info.tokens)):
                tokens, cost = (end.tokens, end.cost) if end is not None else (None, None)
            yield self._step(info, said, number, tokens, cost)
        if info.summary is True:
            self._cut = True

    def _step(self, info: Info, said: list[Piece], number: int, tokens: Json, cost: Json) -> Step:
        out: list[Part] = []
        results: list[Part] = []
        for piece in said:
            self._part(piece, out, results)
        model = dict_of(info.model)
        session, agent = text_of(info.session_id), ""
        if self._parent:
            session, agent = self._parent, session
        usage = _usage(tokens)
        step = Step(
            session=session,
            agent=agent,
            project=self._project or _last_of(text_of(dict_of(info.path).get("root"))),
            id=_name_of(info, number, usage),
            model=text_of(info.model_id) or text_of(model.get("id")),
            provider=text_of(info.provider_id) or text_of(model.get("providerID")),
            at=seconds_of(dict_of(info.time).get("created")),
            usage=usage,
            cost_nano_usd=nano_usd(cost),
            new=tuple(self._waiting),
            out=tuple(out),
            effort=text_of(info.variant) or text_of(model.get("variant")) or None,
            failed=not out and (info.error is not None or usage is None),
            compacted=self._cut,
        )
        self._waiting = [Message(role="tool", parts=tuple(results))] if results else []
        self._cut = False
        return step

    def _part(self, piece: Piece, out: list[Part], results: list[Part]) -> None:
        kind = text_of(piece.type)
        if kind == "text":
            out += [Text(text=piece.text)] if text_of(piece.text) else []
        elif kind == "reasoning":
            out += [Reasoning(text=piece.text)] if text_of(piece.text) else []
        elif kind == "tool":
            state = dict_of(piece.state)
            name, call = text_of(piece.tool) or text_of(piece.name), text_of(piece.call_id) or text_of(piece.id)
            given = state.get("input")
            arguments = given if isinstance(given, str) else json_text(given or {})
            out.append(ToolCall(id=call, name=name, arguments=arguments))
            results.append(_result(call, name, state))
        elif kind == "file":
            out += _attached(piece)
        else:
            self._told.strange(f"part of type {kind or type(piece.type).__name__}")


def _result(call: str, name: str, state: dict[str, Json]) -> ToolResult:
    """What a model is told of a call: its output, its error, or that it was interrupted."""
    status = state.get("status")
    if status == "completed":
        inner = [text_of(one.get("text")) for one in dicts_of(state.get("content"))]
        text = text_of(state.get("output")) or "\n".join(one for one in inner if one)
        files = [p for one in dicts_of(state.get("attachments")) for p in _attached(_as_piece(one))]
        return ToolResult(call_id=call, name=name, parts=(Text(text=text), *files))
    error = state.get("error")
    text = text_of(error) or text_of(dict_of(error).get("message")) or "[Tool execution was interrupted]"
    return ToolResult(call_id=call, name=name, parts=(Text(text=text),), is_error=True)


def _as_piece(one: dict[str, Json]) -> Piece:
    return Piece(mime=one.get("mime"), url=one.get("url"), filename=one.get("filename"))


def _attached(piece: Piece) -> list[Image | File]:
    """A file, unless it is one whose text OpenCode has put beside it."""
    mime, url = text_of(piece.mime), text_of(piece.url)
    if not url or mime in {"text/plain", "application/x-directory"}:
        return []
    source = known_source(url)
    if mime.startswith("image/"):
        return [Image(source=source)]
    return [File(source=source, filename=text_of(piece.filename) or None)]


def _v2_pieces(info: Info) -> list[Piece]:
    names = ("type", "text", "id", "name", "state")
    return [Piece(**{name: one.get(name) for name in names}) for one in dicts_of(info.content)]


def _usage(tokens: Json) -> Usage | None:
    """OpenCode counts what came from and went to the cache beside the input. Reasoning it counted within the output
    at first and beside it later; the total, where there is one, says which. All zero: nobody told."""
    told = dict_of(tokens)
    cache = dict_of(told.get("cache"))
    fresh, said, thought = (count_of(told.get(name)) for name in ("input", "output", "reasoning"))
    read, write = count_of(cache.get("read")), count_of(cache.get("write"))
    whole = (fresh or 0) + (read or 0) + (write or 0)
    if not whole and not said and not thought:
        return None
    total = count_of(told.get("total"))
    if total is None:
        within = (said or 0) >= (thought or 0)
    else:
        within = total != whole + (said or 0) + (thought or 0) and total == whole + (said or 0)
    output = (said or 0) + (0 if within else thought or 0)
    return Usage(input=whole, cache_read=read, cache_write=write, output=output, reasoning=thought)


def _name_of(info: Info, number: int, usage: Usage | None) -> str:
    """What a call is known by. A forked session has copies of messages under new names: their times and counts are
    what stays."""
    time = dict_of(info.time)
    if time.get("created") is None or time.get("completed") is None or usage is None:
        return f"{text_of(info.id)}/{number}"
    model = text_of(info.model_id) or text_of(dict_of(info.model).get("id"))
    return f"{time['created']}-{time['completed']}-{model}-{usage.input}-{usage.output}/{number}"[:200]


def _last_of(folder: str) -> str:
    return folder.replace("\\", "/").rstrip("/").rpartition("/")[2]
