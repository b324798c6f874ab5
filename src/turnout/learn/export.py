"""Examples to tune a small model with: requests that one failed and a stronger model then solved. Pure.

The form is OpenAI's for chat models (platform.openai.com/docs/guides/supervised-fine-tuning): a JSON object a line
with `messages`, and `tools` where the request had them. Only the last answer is to be learned: others weigh 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import TIERS, Tier
from turnout.chat import (
    Audio,
    ChatRequest,
    File,
    Image,
    Json,
    Message,
    Part,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    collect,
)
from turnout.dialects import DIALECTS
from turnout.errors import TurnoutError
from turnout.learning import POOR, Asked
from turnout.redaction import Redactor
from turnout.routing.outcomes import Outcome

__all__ = ["Example", "example_of", "scores_of", "solved"]

Scores = dict[tuple[str, str], float]
"""By request and model."""


class Example(Struct, frozen=True, kw_only=True):
    """One line of the file; or `why` it can be none."""

    line: bytes = b""
    why: str | None = None


def scores_of(outcomes: Iterable[Outcome]) -> Scores:
    """How good each model's answer to each request was: the mean over all who said so, by their weights."""
    sums: dict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for told in outcomes:
        score, weight = sums[told.request_id, told.model]
        sums[told.request_id, told.model] = score + told.score * told.weight, weight + told.weight
    return {key: score / weight for key, (score, weight) in sums.items() if weight > 0}


def solved(
    asked: Sequence[Asked],
    scores: Scores,
    tier_of: Callable[[str], Tier | None],
    *,
    without: frozenset[str] = frozenset(),
) -> list[Asked]:
    """What a stronger model solved and a small one had failed, in order of time: the same request (a shadow or a probe
    asked the small one), or the one before in the conversation, which was then taken up. `tier_of`: of a model's name;
    `without`: owners who do not want that. An answer of which nothing was said proves nothing, and is left out."""
    mine = [told for told in asked if told.owner not in without]
    poor: dict[str, set[str]] = defaultdict(set)
    for (request_id, model), score in scores.items():
        if score < POOR and tier_of(model) == "small":
            poor[request_id].add(model)
    failed_at = {
        (told.owner, told.thread, told.step)
        for told in mine
        if told.thread and told.tier == "small" and scores.get((told.request_id, told.model), 1.0) < POOR
    }

    def failed(told: Asked) -> bool:
        taken_up = told.reason == "escalated" and (told.owner, told.thread, told.step - 1) in failed_at
        return taken_up or bool(poor[told.request_id] - {told.model})

    return [
        told
        for told in mine
        if told.tier in TIERS[1:] and scores.get((told.request_id, told.model), 0.0) >= POOR and failed(told)
    ]


def example_of(told: Asked, redactor: Redactor | None) -> Example:
    """One line of the file. What cannot be read, cannot be said in this form, or (`redactor`) holds what redaction does
    not see into, is none, and says why."""
    dialect = DIALECTS.get(told.dialect)
    if dialect is None or told.request is None or told.answer is None:
        return Example(why="its text was not kept")
    try:
        request = dialect.decode_request(told.request)
        if told.streamed:
            decoder = dialect.stream_decoder()
            answer = collect([*decoder.feed(told.answer), *decoder.close()]).parts
        else:
            answer = dialect.decode_response(told.answer).parts
        messages = (*request.messages, Message(role="assistant", parts=answer))
        if redactor is not None and any(_unseen(part) for message in messages for part in message.parts):
            return Example(why="it holds an image, a file or audio, which redaction does not see into")
        whole = ChatRequest(model="", messages=tuple(_plain(messages)), tools=request.tools)
        spelled: dict[str, Json] = msgspec.json.decode(DIALECTS["openai-chat"].encode_request(whole).body)
    except (TurnoutError, ValueError) as error:
        return Example(why=f"it cannot be written in OpenAI's form ({error})")
    line: dict[str, Json] = {"messages": _weighed(spelled["messages"])}
    if "tools" in spelled:
        line["tools"] = spelled["tools"]
    return Example(line=msgspec.json.encode(_redacted(line, redactor) if redactor is not None else line))


_SAYABLE = (Text, ToolCall, ToolResult, Refusal, Image, File, Audio)


def _plain(messages: Iterable[Message]) -> Iterable[Message]:
    """Without thoughts and blocks that only their author's API knows: the form has no place for them."""
    for message in messages:
        kept = tuple(part for part in message.parts if isinstance(part, _SAYABLE))
        if kept:
            yield replace(message, parts=kept, extras={})


def _unseen(part: Part) -> bool:
    if isinstance(part, ToolResult):
        return any(not isinstance(inner, Text) for inner in part.parts)
    return isinstance(part, Image | File | Audio)


def _weighed(messages: Json) -> Json:
    """Only the last answer is to be learned: those before it are what failed."""
    last = len(messages) - 1
    return [
        {**message, "weight": 0} if message.get("role") == "assistant" and number < last else message
        for number, message in enumerate(messages)
    ]


_OF_THE_FORM = frozenset({"role", "name", "tool_call_id", "tool_calls", "weight"})
"""What a message says for the format: names of tools, and ids that must go on matching."""


def _redacted(line: dict[str, Json], redactor: Redactor) -> dict[str, Json]:
    """Every text of the messages and of what tools are said to be."""
    messages: Json = []
    for message in line["messages"]:
        told = {key: value if key in _OF_THE_FORM else redactor.json(value) for key, value in message.items()}
        if "tool_calls" in message:
            told["tool_calls"] = [_redacted_call(call, redactor) for call in message["tool_calls"]]
        messages.append(told)
    tools = [_redacted_tool(tool, redactor) for tool in line.get("tools", ())]
    return {"messages": messages, "tools": tools} if tools else {"messages": messages}


def _redacted_call(call: Json, redactor: Redactor) -> Json:
    """Arguments are redacted as the JSON that they are, so that they stay so."""
    function = call.get("function")
    if not isinstance(function, dict):
        return {key: value if key in {"id", "type"} else redactor.json(value) for key, value in call.items()}
    arguments = str(function.get("arguments", ""))
    try:
        told = msgspec.json.encode(redactor.json(msgspec.json.decode(arguments))).decode()
    except (msgspec.DecodeError, RecursionError):
        told = redactor.text(arguments)
    return {**call, "function": {**function, "arguments": told}}


def _redacted_tool(tool: Json, redactor: Redactor) -> Json:
    function = tool.get("function")
    if not isinstance(function, dict):
        return tool
    told = {key: value if key in {"name", "strict"} else redactor.json(value) for key, value in function.items()}
    return {**tool, "function": told}
