"""Examples to tune a small model with: requests that one failed and a stronger model then solved. Pure.

The form is OpenAI's for chat models (platform.openai.com/docs/guides/supervised-fine-tuning): a JSON object a line
with `messages`, and `tools` where the request had them. Only the last answer is to be learned: others weigh 0.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from turnout.catalog.models import TIERS
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
from turnout.learn.redaction import Redactor
from turnout.learning import POOR, Asked
from turnout.routing.outcomes import Outcome

__all__ = ["Example", "Pair", "example_of", "pairs", "scores_of"]

Scores = dict[tuple[str, str], float]
"""By request and model."""


class Pair(Struct, frozen=True, kw_only=True):
    """A request that a small model `failed`, and what a stronger one `solved`: the same request, or the next of the
    conversation after it was taken up."""

    failed: Asked
    solved: Asked


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


def pairs(asked: Sequence[Asked], scores: Scores, *, without: frozenset[str] = frozenset()) -> list[Pair]:
    """What may be learned from, in order of time. `without`: owners who do not want that. An answer of which nothing
    was said proves nothing, and is left out."""
    mine = [told for told in asked if told.owner not in without]
    same: dict[str, list[Asked]] = defaultdict(list)
    after: dict[tuple[str, str, int], list[Asked]] = defaultdict(list)
    for told in mine:
        same[told.request_id].append(told)
        if told.reason == "escalated" and told.thread:
            after[told.owner, told.thread, told.step].append(told)

    def solved(told: Asked, failed: Asked) -> bool:
        return _stronger(told, failed) and scores.get((told.request_id, told.model), 0.0) >= POOR

    found: list[Pair] = []
    for failed in mine:
        if failed.tier != "small" or scores.get((failed.request_id, failed.model), 1.0) >= POOR:
            continue
        others = same[failed.request_id] + after[failed.owner, failed.thread, failed.step + 1]
        best = next((told for told in others if solved(told, failed)), None)
        if best is not None:
            found.append(Pair(failed=failed, solved=best))
    return found


def _stronger(one: Asked, other: Asked) -> bool:
    return one.tier in TIERS and other.tier in TIERS and TIERS.index(one.tier) > TIERS.index(other.tier)


def example_of(solved: Asked, redactor: Redactor | None) -> Example:
    """One line of the file. What cannot be read, cannot be said in this form, or (`redactor`) holds what redaction does
    not see into, is none, and says why."""
    dialect = DIALECTS.get(solved.dialect)
    if dialect is None or solved.request is None or solved.answer is None:
        return Example(why="its text was not kept")
    try:
        request = dialect.decode_request(solved.request)
        if solved.streamed:
            decoder = dialect.stream_decoder()
            answer = collect([*decoder.feed(solved.answer), *decoder.close()]).parts
        else:
            answer = dialect.decode_response(solved.answer).parts
        messages = (*request.messages, Message(role="assistant", parts=answer))
        if redactor is not None and any(_unseen(part) for message in messages for part in message.parts):
            return Example(why="it holds an image, a file or audio, which redaction does not see into")
        whole = ChatRequest(model="", messages=tuple(_plain(messages)), tools=request.tools)
        told: dict[str, Json] = msgspec.json.decode(DIALECTS["openai-chat"].encode_request(whole).body)
    except (TurnoutError, ValueError) as error:
        return Example(why=f"it cannot be written in OpenAI's form ({error})")
    line: dict[str, Json] = {"messages": _weighed(told["messages"])}
    if "tools" in told:
        line["tools"] = told["tools"]
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
