"""Claude Code's session logs: one JSON object a line, an answer over several lines, sub-agents beside or within.

Source: logs of versions 1.0 to 2.1, and the trackers of what reads them (ccusage, tokscale, codeburn). What they tell:
an answer is written block by block, each line with its `message.id` and a usage that grows; lines of one answer and the
results of its first tools interleave; a resumed or forked session begins with a copy of the one before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct, field

from turnout.catalog.prices import NANO_PER_USD
from turnout.chat import Json, Message, Part, Reasoning, Text, ToolCall, Usage
from turnout.dialects.anthropic_messages.blocks import decode_block
from turnout.dialects.anthropic_messages.usage import decode_usage
from turnout.dialects.values import object_or_empty
from turnout.errors import InvalidRequest
from turnout.lab.audit.readers.base import Head, Reader, Source, lines_of, seconds_of
from turnout.lab.audit.readers.lines import MOST_WAITING, decoded
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["CLAUDE_CODE"]

SILENT = frozenset(
    [
        "agent-color",
        "agent-name",
        "agent-setting",
        "ai-title",
        "atis-latch",
        "attribution-snapshot",
        "auth_status",
        "bridge-session",
        "content-replacement",
        "control_request",
        "control_response",
        "cost-state",
        "custom-title",
        "file-history-snapshot",
        "keep_alive",
        "last-prompt",
        "marble-origami-commit",
        "marble-origami-snapshot",
        "mode",
        "permission-mode",
        "pr-link",
        "progress",
        "prompt_suggestion",
        "queue-operation",
        "rate_limit_event",
        "speculation-accept",
        "stream_event",
        "summary",
        "tag",
        "task-summary",
        "tool_progress",
        "tool_use_summary",
        "worktree-state",
    ]
)
"""Kinds of lines that tell of no call of their own: `progress` shows sub-agents that have files of their own."""

ASIDE = frozenset({"advisor_message", "compaction"})
"""Iterations of one answer that its usage leaves out: another model was asked, or the context rewritten.
Source: platform.claude.com/docs/en/build-with-claude/compaction, "Understanding usage"."""

IN_SUM = "message"
"""Iterations that the answer's usage has counted already."""

SHOWN = ("content", "prompt", "text", "addedBlocks", "addedLines", "snippet", "files")
"""Where an attachment holds what the model is given of it."""

SYNTHETIC = "<synthetic>"
"""The model of messages that Claude Code wrote itself."""

INTERRUPTED = "[Request interrupted by user"

MOST_AGENTS = 1_000
MOST_KNOWN = 500_000
"""Lines and answers that are remembered to tell copies in one file."""


class _Line(Struct):
    """What is looked at of a line; `toolUseResult`, a second copy of what the tool said, is passed over."""

    type: Json = None
    message: Json = None
    subtype: Json = None
    timestamp: Json = None
    uuid: Json = None
    parent: Json = field(name="parentUuid", default=None)
    session: Json = field(name="sessionId", default=None)
    stream_session: Json = field(name="session_id", default=None)
    parent_call: Json = field(name="parent_tool_use_id", default=None)
    agent: Json = field(name="agentId", default=None)
    aside: Json = field(name="isSidechain", default=None)
    request: Json = field(name="requestId", default=None)
    cwd: Json = None
    cost: Json = field(name="costUSD", default=None)
    effort: Json = None
    refused: Json = field(name="isApiErrorMessage", default=None)
    summary: Json = field(name="isCompactSummary", default=None)
    only_shown: Json = field(name="isVisibleInTranscriptOnly", default=None)
    attachment: Json = None


class _Answer(Struct):
    """An answer whose lines are still coming. `best`: the usage that tells most."""

    id: str
    model: str
    at: float | None
    new: tuple[Message, ...]
    compacted: bool
    effort: str | None
    parts: list[Part] = field(default_factory=list[Part])
    usage: Usage | None = None
    cost: int | None = None


class _Agent(Struct):
    """One conversation: messages that wait for the next request, and the answer that is being read."""

    session: str
    name: str
    project: str
    waiting: list[Message] = field(default_factory=list[Message])
    answer: _Answer | None = None
    compacted: bool = False
    model: str = ""
    bytes: int = 0


_decoder = msgspec.json.Decoder(_Line)


def _claims(head: Head) -> bool:
    if any(_is_ours(told) for told in head.objects):
        return True
    # The first line may be longer than what was looked at.
    return head.start.startswith(b'{"parentUuid":') and b'"isSidechain":' in head.start[:400]


def _is_ours(told: dict[str, Json]) -> bool:
    kind, message = told.get("type"), told.get("message")
    if "parentUuid" in told and "sessionId" in told:
        return True
    if kind in ("user", "assistant") and isinstance(message, dict):
        return bool(told.keys() & {"parentUuid", "parent_tool_use_id"} or {"requestId", "version"} <= told.keys())
    if kind is None and isinstance(message, dict):  # as the first versions wrote it
        return {"sessionId", "requestId"} <= told.keys() and "usage" in message
    if kind == "system":
        return told.get("subtype") == "init" and "session_id" in told and "mcp_servers" in told
    named = told.keys() & {"sessionId", "leafUuid", "messageId"}
    return isinstance(kind, str) and kind in SILENT and bool(named)


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        yield from _File(path, told).events()


class _File:
    """One file from its beginning to its end."""

    def __init__(self, path: Path, told: ReadTally) -> None:
        self._path, self._told = path, told
        self._agents: OrderedDict[tuple[str, str], _Agent] = OrderedDict()
        self._known: set[int] = set()
        self._roots: OrderedDict[str, str] = OrderedDict()
        self._projects: dict[str, str] = {}
        self._endings: dict[str, str] = {}
        self._place = path.name

    def events(self) -> Iterator[Event]:
        for number, line in lines_of(self._path, self._told):
            self._place = f"{self._path.name} line {number}"
            try:
                told = decoded(_decoder, line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                if isinstance(error, msgspec.ValidationError) and not line.startswith(b"{"):
                    self._told.strange("no object")
                else:
                    self._told.broken(self._place, error)
                continue
            yield from self._line(told, len(line))
            if len(self._agents) > MOST_AGENTS:  # those that were quiet longest are over
                yield from self._over(self._agents.popitem(last=False)[1])
        for agent in self._agents.values():
            yield from self._over(agent)
        yield from (Ending(session=session, why=why) for session, why in self._endings.items() if why)

    def _line(self, told: _Line, size: int) -> Iterator[Event]:
        kind = told.type
        if kind is None and isinstance(told.message, dict):
            kind = cast("dict[str, Json]", told.message).get("role")
        match kind:
            case "assistant":
                yield from self._assistant(told, size)
            case "user" | "attachment":
                yield from self._user(told, size)
            case "system":
                if told.subtype in ("compact_boundary", "microcompact_boundary"):
                    yield from self._cut(told, whole=told.subtype == "compact_boundary")
            case "result":
                self._ends(self._agent(told), _text(told.subtype)[:60])
            case str() if kind in SILENT:
                pass
            case _:
                self._told.strange(kind if isinstance(kind, str) else "no type")

    # ---- Whose line it is ---------------------------------------------------------------------------------------

    def _agent(self, told: _Line) -> _Agent:
        session = _text(told.session) or _text(told.stream_session) or self._path.stem
        name = _text(told.agent) or _text(told.parent_call) or (self._root(told) if told.aside is True else "")
        key = session, name
        agent = self._agents.get(key)
        if agent is None:
            project = self._projects.get(session)
            if project is None:
                if len(self._projects) >= MOST_AGENTS:
                    self._projects.clear()
                project = self._projects[session] = _text(told.cwd) or _folder(self._path)
            agent = self._agents[key] = _Agent(session=session, name=name, project=project)
        else:
            self._agents.move_to_end(key)
        return agent

    def _root(self, told: _Line) -> str:
        """Sub-agents of older versions stand among the other lines and have no name: each is told by the line that its
        chain of parents begins with."""
        uuid, parent = _text(told.uuid), _text(told.parent)
        root = self._roots.get(parent) or f"sidechain {uuid[:8]}"
        self._roots[uuid] = root
        if len(self._roots) > MOST_KNOWN:
            self._roots.popitem(last=False)
        return root

    def _first_time(self, name: str) -> bool:
        """Whether this line or answer was not met in this file yet."""
        if not name:
            return True
        told = hash(name)
        if told in self._known:
            return False
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(told)
        return True

    # ---- What it says -------------------------------------------------------------------------------------------

    def _assistant(self, told: _Line, size: int) -> Iterator[Event]:
        if not isinstance(told.message, dict):
            self._told.broken(self._place, "its message is no object")
            return
        message = cast("dict[str, Json]", told.message)
        agent = self._agent(told)
        model = _text(message.get("model"))
        if told.refused is True or model == SYNTHETIC:
            name = _text(message.get("id")) or _text(told.uuid)
            if told.refused is True and self._first_time(name and f"answer {name}"):
                yield from self._over(agent)
                yield self._failed(agent, told, name)
            return
        name = _text(message.get("id")) or _text(told.request)
        if agent.answer is None or agent.answer.id != name or not name:
            yield from self._over(agent)
            if not self._first_time(name and f"answer {name}"):
                return
            agent.answer = _Answer(
                id=name,
                model=model or agent.model,
                at=seconds_of(told.timestamp),
                new=self._taken(agent),
                compacted=agent.compacted,
                effort=_text(told.effort) or None,
            )
            agent.compacted, agent.model = False, agent.answer.model
        self._add(agent, agent.answer, message, told, size)
        self._ends(agent, "")

    def _add(self, agent: _Agent, answer: _Answer, message: dict[str, Json], told: _Line, size: int) -> None:
        agent.bytes += size
        if agent.bytes > MOST_WAITING:
            self._told.broken(self._place, "its answer is too long, left out in part")
            answer.parts.clear()
            agent.bytes = 0
        for part in self._parts(message.get("content")):
            _join(answer.parts, part)
        answer.usage = _fuller(answer.usage, decode_usage(message.get("usage")))
        cost = told.cost
        if isinstance(cost, int | float) and not isinstance(cost, bool) and 0 <= cost < 1e6:
            answer.cost = max(answer.cost or 0, round(cost * NANO_PER_USD))

    def _user(self, told: _Line, size: int) -> Iterator[Event]:
        agent = self._agent(told)
        if told.type == "attachment":
            parts: list[Part] = _attached(told.attachment)
        elif isinstance(told.message, dict):
            parts = self._parts(cast("dict[str, Json]", told.message).get("content"))
        else:
            self._told.broken(self._place, "its message is no object")
            return
        if not self._first_time(_text(told.uuid)) or (told.only_shown is True and told.summary is not True):
            return
        if told.summary is True:
            yield from self._cut(told, whole=True)
        if not parts:
            return
        self._wait(agent, Message(role="user", parts=tuple(parts)), size)
        stopped = isinstance(parts[-1], Text) and parts[-1].text.startswith(INTERRUPTED)
        self._ends(agent, "interrupted" if stopped else "")

    def _ends(self, agent: _Agent, why: str) -> None:
        """How its session would end, if nothing came after."""
        if agent.name == "" and (agent.session in self._endings or len(self._endings) < MOST_AGENTS):
            self._endings[agent.session] = why

    def _wait(self, agent: _Agent, message: Message, size: int) -> None:
        agent.bytes += size
        if agent.bytes > MOST_WAITING:
            self._told.broken(self._place, f"more than {MOST_WAITING // 2**20} MiB before it without an answer, let go")
            agent.waiting.clear()
            agent.bytes = size
        agent.waiting.append(message)

    def _cut(self, told: _Line, *, whole: bool) -> Iterator[Event]:
        """The conversation was rewritten; `whole`: nothing that waits is sent as it stands."""
        agent = self._agent(told)
        yield from self._over(agent)
        if whole and not agent.compacted:
            agent.waiting.clear()
        agent.compacted = True

    def _parts(self, content: Json) -> list[Part]:
        if isinstance(content, str):
            return [Text(text=content)] if content else []
        if not isinstance(content, list):
            if content is not None:
                self._told.broken(self._place, "its content is neither text nor a list")
            return []
        parts: list[Part] = []
        for block in cast("list[Json]", content):
            try:
                parts.append(Text(text=block) if isinstance(block, str) else decode_block(block, "content"))
            except (InvalidRequest, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self._told.broken(self._place, error)
        return parts

    # ---- Answers that are over ----------------------------------------------------------------------------------

    def _taken(self, agent: _Agent) -> tuple[Message, ...]:
        new, agent.bytes = tuple(agent.waiting), 0
        agent.waiting.clear()
        return new

    def _failed(self, agent: _Agent, told: _Line, name: str) -> Step:
        """A call without an answer. Its name is Claude Code's own, and tells copies in resumed sessions."""
        compacted, agent.compacted = agent.compacted, False
        return Step(
            session=agent.session,
            agent=agent.name,
            project=agent.project,
            id=name,
            model=agent.model,
            at=seconds_of(told.timestamp),
            new=self._taken(agent),
            failed=True,
            compacted=compacted,
        )

    def _over(self, agent: _Agent) -> Iterator[Event]:
        answer, agent.answer = agent.answer, None
        if answer is None:
            return
        usage = answer.usage
        step = Step(
            session=agent.session,
            agent=agent.name,
            project=agent.project,
            id=answer.id,
            model=answer.model,
            at=answer.at,
            usage=usage,
            cost_nano_usd=answer.cost,
            new=answer.new,
            out=tuple(answer.parts),
            effort=answer.effort,
            compacted=answer.compacted,
        )
        yield step
        if usage is not None and isinstance(usage.raw, dict):
            yield from self._asides(step, cast("dict[str, Json]", usage.raw).get("iterations"))

    def _asides(self, step: Step, iterations: Json) -> Iterator[Event]:
        """Calls within an answer that are paid beside its usage: conversations of their own, of which no text is
        shown."""
        for number, told in enumerate(map(object_or_empty, iterations if isinstance(iterations, list) else ())):
            kind = told.get("type")
            if kind is None or kind == IN_SUM:
                continue
            if not isinstance(kind, str) or kind not in ASIDE:
                self._told.strange(f"iteration {kind}")
                continue
            yield Step(
                session=step.session,
                agent=f"{step.agent}/{kind}" if step.agent else kind,
                project=step.project,
                id=step.id and f"{step.id}/{number}",
                model=_text(told.get("model")) or step.model,
                at=step.at,
                usage=decode_usage(told),
            )


def _fuller(before: Usage | None, now: Usage | None) -> Usage | None:
    """Of two tellings of one answer's usage the later, unless it tells less: streams begin with guesses, and some
    gateways end with zeros. Never a mixture: what was plain input in the first may be a cache read in the second."""
    if now is None or before is None:
        return now or before
    return now if _told_by(now) >= _told_by(before) else before


def _told_by(usage: Usage) -> tuple[int, int]:
    return usage.output or 0, usage.input or 0


def _join(parts: list[Part], part: Part) -> None:
    """Some versions write what an answer has come to by then, again and again: the longest telling counts."""
    for index, before in enumerate(parts):
        match before, part:
            case ToolCall(), ToolCall() if before.id == part.id:
                parts[index] = part
                return
            case (Text(), Text()) | (Reasoning(), Reasoning()) if part.text.startswith(before.text) and before.text:
                parts[index] = part
                return
            case _ if before == part:
                return
            case _:
                pass
    parts.append(part)


def _attached(told: Json) -> list[Part]:
    """What an attachment gives the model to read, without the words around it, which are not logged."""
    attachment = object_or_empty(told)
    found: list[str] = []
    left = [attachment[name] for name in SHOWN if name in attachment]
    while left:
        match left.pop():
            case str() as text:
                found.append(text)
            case list() as items:
                left += reversed(cast("list[Json]", items))
            case dict() as inner:
                items = cast("dict[str, Json]", inner)
                left += [items[name] for name in reversed(items) if name not in ("base64", "data", "type", "uri")]
            case _:
                pass
    text = "\n".join(reversed(found))
    return [Text(text=text)] if text else []


def _text(told: Json) -> str:
    return told if isinstance(told, str) else ""


def _folder(path: Path) -> str:
    """The folder of a project: above its session, and above the session's sub-agents."""
    folder = path.parent
    return folder.parent.parent.name if folder.name == "subagents" else folder.name


CLAUDE_CODE = Reader(
    name="claude-code",
    title="Claude Code sessions",
    claims=_claims,
    read=_read,
    provider="anthropic",
    places=(".claude/projects", ".config/claude/projects"),
    homes=("CLAUDE_CONFIG_DIR/projects",),
)
