"""Recorded agent sessions: the trace format, its reader, and the requests that an agent sent along the way.

One session is one JSON object a line. Step i of a session adds messages and records the model's answer, so
request i is every `add` and `out` of the steps before, then the `add` of step i. Recordings come from
several harnesses with several habits; `read_sessions` mends what no API would accept (see `_Mender`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import FinishReason, Json, Part, Text, ToolCall, Usage
from turnout.dialects.base import Dialect
from turnout.errors import InvalidRequest
from turnout.providers.recorded import Turn, chain_of

__all__ = [
    "ReadCount",
    "RecordedRequest",
    "Session",
    "Step",
    "StepUsage",
    "ToolTable",
    "anthropic_request",
    "estimate_tokens",
    "input_tokens",
    "mend",
    "offered_model",
    "output_tokens",
    "packaged_sessions",
    "packaged_tools",
    "parse_sessions",
    "read_sessions",
    "read_tools",
    "requests_of",
    "tools_of",
    "turns_of",
    "usage_of",
]

ToolTable = Mapping[str, list[dict[str, Json]]]
"""Tool definitions in OpenAI chat form by the key that `Session.tools` names."""

MESSAGE_BYTES_PER_TOKEN = 4.0
TOOL_BYTES_PER_TOKEN = 8.5


class StepUsage(Struct, frozen=True, kw_only=True):
    """Tokens of one answer as the provider reported them: `input` includes `cached`, `output` includes
    `reasoning`. `cost` in USD. `estimated`: nobody reported it, see `usage_of`."""

    input: int
    cached: int = 0
    output: int
    reasoning: int = 0
    cost: Decimal | None = None
    estimated: bool = False


class Step(Struct, frozen=True, kw_only=True):
    """One request and its answer. `add`: messages new since the last request; `out`: the assistant message;
    `ts`: when, ISO 8601 as recorded."""

    add: tuple[dict[str, Json], ...]
    out: dict[str, Json]
    usage: StepUsage | None = None
    ts: str | None = None


class Session(Struct, frozen=True, kw_only=True):
    """One recorded run of an agent. `outcome` is the benchmark's reward (1 is success, None not judged),
    `end` how it ended, `tools` a key of the tool table, `cost` in USD, `mends` what the reader mended."""

    id: str
    steps: tuple[Step, ...]
    kind: str = ""
    bench: str = ""
    source: str = ""
    licence: str = ""
    task: str = ""
    model: str = ""
    outcome: float | None = None
    end: str | None = None
    tools: str | None = None
    cost: Decimal | None = None
    split: str | None = None
    mends: tuple[str, ...] = ()


class RecordedRequest(NamedTuple):
    """A request as the agent sent it, in OpenAI chat form, and the answer it got."""

    messages: list[dict[str, Json]]
    tools: list[dict[str, Json]] | None
    out: dict[str, Json]


class ReadCount(Struct, kw_only=True):
    """What a reader met; filled while it reads. `first_error` names file and line."""

    lines: int = 0
    sessions: int = 0
    bad: int = 0
    first_error: str | None = None


_decode_session = msgspec.json.Decoder(Session).decode
_decode_tools = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode


def read_sessions(path: str | Path, *, strict: bool = False, count: ReadCount | None = None) -> Iterator[Session]:
    """Sessions of a trace file, or of every `*.jsonl` in a folder, one line at a time.

    A line that is no session is counted in `count` and left out; with `strict` it raises InvalidRequest
    naming file, line and field. Raises InvalidRequest when the path cannot be read.
    """
    place = Path(path)
    sources = sorted(place.glob("*.jsonl")) if place.is_dir() else [place]
    count = count if count is not None else ReadCount()
    for source in sources:
        try:
            with source.open("rb") as lines:
                yield from parse_sessions(lines, source.name, strict=strict, count=count)
        except OSError as error:
            raise InvalidRequest(f"cannot read {source}: {error.strerror}", param=str(source)) from error


def parse_sessions(lines: Iterable[bytes], name: str, *, strict: bool, count: ReadCount) -> Iterator[Session]:
    """Sessions of the lines of a file of that name, as `read_sessions` reads them."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        count.lines += 1
        try:
            session = mend(_decode_session(line))
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidRequest) as error:
            count.bad += 1
            told = f"{name} line {number} is not a recorded session: {error}"
            count.first_error = count.first_error or told
            if strict:
                raise InvalidRequest(told, param=f"{name}:{number}") from error
            continue
        count.sessions += 1
        yield session


def read_tools(path: str | Path) -> dict[str, list[dict[str, Json]]]:
    """The tool table beside a trace (`tools.json`). Raises InvalidRequest when it is none."""
    try:
        return _decode_tools(Path(path).read_bytes())
    except OSError as error:
        raise InvalidRequest(f"cannot read {path}: {error.strerror}", param=str(path)) from error
    except msgspec.DecodeError as error:
        raise InvalidRequest(f"{path} is not a table of tools: {error}", param=str(path)) from error


def packaged_sessions() -> list[Session]:
    """The few sessions that come with Turnout (see `data/README.md` for sources and licences)."""
    with (files("turnout.lab") / "data" / "sessions.jsonl").open("rb") as lines:
        return list(parse_sessions(lines, "sessions.jsonl", strict=True, count=ReadCount()))


def packaged_tools() -> dict[str, list[dict[str, Json]]]:
    """The tool definitions of the packaged sessions."""
    return _decode_tools((files("turnout.lab") / "data" / "tools.json").read_bytes())


# ---- Mending -----------------------------------------------------------------------------------------------


def mend(session: Session) -> Session:
    """`session` with messages that form valid OpenAI chat requests; `mends` says what was changed.

    Raises InvalidRequest for a message that is none (no known role, a call without a name).
    """
    mender = _Mender()
    steps: list[Step] = []
    for step in session.steps:
        add = tuple(mender.add(step.add))
        steps.append(replace(step, add=add, out=mender.assistant(step.out)))
    return replace(session, steps=tuple(steps), mends=tuple(mender.notes))


class _Call(Struct):
    """A tool call not yet answered: the id in the recording and the id we give it."""

    recorded: str
    id: str


class _Mender:
    """Makes the messages of one session valid, in order. What it mends, and where that was met:

    - a tool message without `tool_call_id` answers the oldest open call (SWE-agent demonstrations);
    - a call id used twice in a session gets a suffix, in the call and in its answer (tau1: APIs that want
      unique ids refuse the second);
    - a tool message's `name` goes (tau1): no such field;
    - an assistant message without `content` gets null beside tool calls, else empty text (tau1, tau2);
    - a tool message that answers no call becomes a user message, a call never answered gets an empty
      answer (not met in the recordings known to us; users' own logs are cut in all places).
    Kept as they are, being valid: an assistant greeting before the first user message, consecutive
    messages of one role.
    """

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self._open: list[_Call] = []
        self._used: set[str] = set()

    def add(self, messages: Iterable[dict[str, Json]]) -> Iterator[dict[str, Json]]:
        for message in messages:
            role = message.get("role")
            if role == "tool":
                yield self._answer(message)
                continue
            yield from self._close()
            if role == "assistant":
                yield self.assistant(message)
            elif role in {"system", "developer", "user"}:
                yield {**message, "content": _content(message)}
            else:
                raise InvalidRequest(f"a message has the unknown role {role!r}", param="add.role")
        yield from self._close()

    def assistant(self, message: dict[str, Json]) -> dict[str, Json]:
        """An answer of the model. Its calls stay open until tool messages answer them."""
        if message.get("role", "assistant") != "assistant":
            raise InvalidRequest("`out` is not an assistant message", param="out.role")
        calls: Json = message.get("tool_calls") or []
        if not isinstance(calls, list):
            raise InvalidRequest("tool_calls is not a list", param="tool_calls")
        if not calls:
            return {"role": "assistant", "content": _content(message)}
        content = _content(message) or None
        return {"role": "assistant", "content": content, "tool_calls": [self._call(call) for call in calls]}

    def _call(self, call: Json) -> dict[str, Json]:
        function: Json = call.get("function") if isinstance(call, dict) else None
        name: Json = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise InvalidRequest("a tool call names no function", param="tool_calls.function.name")
        arguments: Json = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments or {}).decode()
        recorded = str(call.get("id") or "call")
        self._open.append(_Call(recorded=recorded, id=self._unique(recorded)))
        return {
            "id": self._open[-1].id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }

    def _unique(self, recorded: str) -> str:
        chosen, number = recorded, 1
        while chosen in self._used:
            number += 1
            chosen = f"{recorded}-{number}"
        if chosen != recorded:
            self._note("a tool call's id was used twice: given a suffix")
        self._used.add(chosen)
        return chosen

    def _answer(self, message: dict[str, Json]) -> dict[str, Json]:
        recorded = message.get("tool_call_id")
        content = _content(message)
        if not recorded and self._open:
            self._note("a tool message named no call: it answers the oldest open one")
            return {"role": "tool", "tool_call_id": self._open.pop(0).id, "content": content}
        for position, call in enumerate(self._open):
            if call.recorded == recorded:
                del self._open[position]
                return {"role": "tool", "tool_call_id": call.id, "content": content}
        self._note("a tool message answered no call: made a user message")
        return {"role": "user", "content": content}

    def _close(self) -> Iterator[dict[str, Json]]:
        for call in self._open:
            self._note("a tool call was never answered: given an empty answer")
            yield {"role": "tool", "tool_call_id": call.id, "content": ""}
        self._open.clear()

    def _note(self, sentence: str) -> None:
        self.notes[sentence] = None


def _content(message: dict[str, Json]) -> Json:
    content = message.get("content")
    return content if isinstance(content, str | list) else ""


# ---- Requests ----------------------------------------------------------------------------------------------


def tools_of(session: Session, tools: ToolTable) -> list[dict[str, Json]] | None:
    """The tools the agent offered, in OpenAI chat form; None where it used none.

    A session that calls tools but recorded no definitions (SWE-agent demonstrations) gets the least that
    fits: each called name with the argument names and JSON types seen. APIs refuse calls without tools.
    """
    if session.tools is not None and session.tools in tools:
        return tools[session.tools]
    seen: dict[str, dict[str, Json]] = {}
    for step in session.steps:
        for call in step.out.get("tool_calls") or []:
            function = call["function"]
            properties = seen.setdefault(function["name"], {})
            for name, value in _arguments(function["arguments"]).items():
                properties.setdefault(name, {"type": _json_type(value)})
    if not seen:
        return None
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "Definition not recorded; inferred from its calls.",
                "parameters": {"type": "object", "properties": properties},
            },
        }
        for name, properties in seen.items()
    ]


def _arguments(text: str) -> dict[str, Json]:
    """The arguments of a call. A model may write what is no JSON object: that goes under one name, whole."""
    try:
        decoded = msgspec.json.decode(text)
    except msgspec.DecodeError:
        decoded = None
    return decoded if isinstance(decoded, dict) else {"arguments": text}


def _json_type(value: Json) -> str:
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    ):
        if isinstance(value, kind):
            return name
    return "object"


def requests_of(session: Session, tools: ToolTable | None = None) -> Iterator[RecordedRequest]:
    """The session's requests in order, each with its own list of messages. `tools` None: the packaged ones."""
    offered = tools_of(session, packaged_tools() if tools is None else tools)
    so_far: list[dict[str, Json]] = []
    for step in session.steps:
        so_far.extend(step.add)
        yield RecordedRequest(list(so_far), offered, step.out)
        so_far.append(step.out)


def anthropic_request(recorded: RecordedRequest, *, model: str, max_tokens: int = 4096) -> dict[str, Json]:
    """The same request as a client of Anthropic's Messages API would send it.

    System text is top-level, results are blocks of user messages, neighbours of one role are one message. An
    assistant greeting stays first, which that API has accepted since 2024 (anthropic-sdk-typescript#622).
    Messages with no content at all are left out: it refuses empty text.
    """
    system: list[str] = []
    messages: list[dict[str, Json]] = []
    for message in recorded.messages:
        if message["role"] in {"system", "developer"}:
            system.extend(block["text"] for block in _text_blocks(message["content"]))
            continue
        role, blocks = _anthropic_blocks(message)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"].extend(blocks)
        elif blocks:
            messages.append({"role": role, "content": blocks})
    request: dict[str, Json] = {"model": model, "max_tokens": max_tokens, "messages": messages}
    if system:
        request["system"] = "\n\n".join(system)
    if recorded.tools:
        request["tools"] = [_anthropic_tool(tool["function"]) for tool in recorded.tools]
    return request


def _anthropic_blocks(message: dict[str, Json]) -> tuple[str, list[dict[str, Json]]]:
    texts = _text_blocks(message["content"])
    if message["role"] == "tool":
        answered = _anthropic_id(message["tool_call_id"])
        return "user", [{"type": "tool_result", "tool_use_id": answered, "content": texts}]
    calls = [
        {
            "type": "tool_use",
            "id": _anthropic_id(call["id"]),
            "name": call["function"]["name"],
            "input": _arguments(call["function"]["arguments"]),
        }
        for call in message.get("tool_calls") or []
    ]
    return message["role"], [*texts, *calls]


def _text_blocks(content: Json) -> list[dict[str, Json]]:
    """Text content as blocks; parts that are no text (no recording has any) are left out."""
    parts: list[Json] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return [{"type": "text", "text": text} for text in texts if isinstance(text, str) and text.strip()]


def _anthropic_id(recorded: str) -> str:
    """Ids there have only letters, digits, `_` and `-`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", recorded)


def _anthropic_tool(function: dict[str, Json]) -> dict[str, Json]:
    tool = {"name": function["name"], "input_schema": function.get("parameters") or {"type": "object"}}
    if function.get("description"):
        tool["description"] = function["description"]
    return tool


# ---- Tokens where none were recorded -----------------------------------------------------------------------


def estimate_tokens(messages_bytes: int, tools_bytes: int = 0) -> int:
    """Tokens of that much compact JSON: `messages_bytes` / 4 + `tools_bytes` / 8.5. An estimate; say so.

    Calibrated on the 3,208 recorded steps of GPT models in tau2-retail: mean error 1.7 % of input tokens,
    95th percentile 5.0 % (`python tools/pick_sessions.py calibrate TRACES`). Tool definitions weigh half
    because providers do not bill them as the JSON that was sent. Output alone: mean error 15 %. Other
    tokenizers differ: gemini-3-flash counts 22 % more.
    """
    return round(messages_bytes / MESSAGE_BYTES_PER_TOKEN + tools_bytes / TOOL_BYTES_PER_TOKEN)


def input_tokens(recorded: RecordedRequest) -> int:
    """Estimated input tokens of a request, never less than one."""
    messages = sum(len(msgspec.json.encode(message)) for message in recorded.messages)
    tools = len(msgspec.json.encode(recorded.tools)) if recorded.tools else 0
    return max(1, estimate_tokens(messages, tools))


def output_tokens(out: dict[str, Json]) -> int:
    """Estimated tokens of an answer as far as it can be seen (no reasoning), never less than one."""
    written = sum(len(block["text"].encode()) for block in _text_blocks(out.get("content")))
    written += sum(len(msgspec.json.encode(call["function"])) for call in out.get("tool_calls") or [])
    return max(1, estimate_tokens(written))


def usage_of(step: Step, recorded: RecordedRequest) -> StepUsage:
    """The step's recorded usage, else an estimate that is marked so and knows of no cache."""
    if step.usage is not None:
        return step.usage
    return StepUsage(input=input_tokens(recorded), output=output_tokens(step.out), estimated=True)


# ---- Turns for the recorded provider -----------------------------------------------------------------------

SMALL_MODELS = frozenset({"gpt-4.1-mini", "gpt-5-mini", "gpt-5-nano"})


def offered_model(session: Session) -> str:
    """The name under which the recorded provider offers a session's model: `small` or `frontier`."""
    return "small" if session.model in SMALL_MODELS else "frontier"


def turns_of(sessions: Iterable[Session], openai_chat: Dialect, tools: ToolTable | None = None) -> list[Turn]:
    """Every answer of `sessions` as a turn of the recorded provider, in order; `openai_chat` is the dialect
    of that name (the form in which sessions are kept). `tools` None: the packaged ones.

    Two sessions of one offered model that say the same up to a point both give a turn there: the provider
    takes the first, so after such a point only the first session can be followed.
    """
    table = packaged_tools() if tools is None else tools
    turns: list[Turn] = []
    for session in sessions:
        model = offered_model(session)
        for step, recorded in zip(session.steps, requests_of(session, table), strict=True):
            request = {"model": model, "messages": recorded.messages}
            usage = usage_of(step, recorded)
            turns.append(
                Turn(
                    model=model,
                    key=chain_of(openai_chat.decode_request(msgspec.json.encode(request))).key,
                    parts=_parts(step.out),
                    finish=FinishReason("tool_calls" if step.out.get("tool_calls") else "stop"),
                    usage=Usage(
                        input=usage.input,
                        output=usage.output,
                        reasoning=None if usage.estimated else usage.reasoning,
                    ),
                    recorded_by=session.model,
                    estimated=usage.estimated,
                )
            )
    return turns


def _parts(out: dict[str, Json]) -> tuple[Part, ...]:
    texts = [Text(text=block["text"]) for block in _text_blocks(out["content"])]
    calls = [
        ToolCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for call in out.get("tool_calls") or []
    ]
    return (*texts, *calls)
