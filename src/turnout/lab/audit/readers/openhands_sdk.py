"""OpenHands' SDK: events of a kind, the conversation's state beside them with what each call used.

`base_state.json` lists every call's tokens by the answer's name; a live log of events has counters instead that grow
before the answer's own event comes. What no event belongs to (condensers, titles) is a step without texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from turnout.chat import Json, Message, Part, Reasoning, Text, ToolCall, ToolResult, ToolSpec, Usage
from turnout.lab.audit.readers.base import seconds_of
from turnout.lab.audit.readers.openhands_events import counter_of
from turnout.lab.audit.readers.shapes import (
    dict_of,
    dicts_of,
    effort_of,
    message_of,
    model_of,
    nano_usd,
    specs_of,
    text_of,
    usage_since,
)
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["SdkTalk"]

_QUIET = frozenset(
    {
        *("PauseEvent", "InterruptEvent", "TokenEvent", "StreamingDeltaEvent", "LLMCompletionLogEvent"),
        *("CondensationRequest", "CondensationSummaryEvent", "HookExecutionEvent"),
    }
)
"""Events that no model sees, or that say once more what another does."""

_ANSWERS = frozenset({"ActionEvent", "MessageEvent"})


class SdkTalk:
    """One conversation while it is read: the answer whose calls may not all have come, and what was said since."""

    def __init__(self, session: str, told: ReadTally) -> None:
        self._session, self._told = session, told
        self._project = self._model = self._provider = ""
        self._effort: str | None = None
        self._main = ""
        self._calls: dict[str, tuple[str, str, Usage, int | None]] = {}
        self._counters: dict[str, tuple[Usage, int]] = {}
        self._grown: tuple[Usage, int | None] | None = None
        self._tools: tuple[ToolSpec, ...] | None = None
        self._waiting: list[Message] = []
        self._since: list[Message] = []
        self._answer: dict[str, Any] | None = None
        self._parts: list[Part] = []
        self._at: float | None = None
        self._cut = False
        self._why = ""
        self._any = False

    def state(self, state: dict[str, Json]) -> None:
        """What `base_state.json` tells: the model, the folder, and the tokens of every call."""
        llm = dict_of(dict_of(state.get("agent")).get("llm"))
        self._model, self._provider = model_of(llm.get("model"))
        self._effort = text_of(llm.get("reasoning_effort")) or effort_of(llm.get("litellm_extra_body"))
        self._main = text_of(llm.get("usage_id")) or self._main
        self._project = text_of(dict_of(state.get("workspace")).get("working_dir")).rstrip("/").rpartition("/")[2]
        self._why = text_of(state.get("execution_status"))
        self._any = True
        for use, metrics in dict_of(dict_of(state.get("stats")).get("usage_to_metrics")).items():
            costs = dicts_of(dict_of(metrics).get("costs"))
            calls = dicts_of(dict_of(metrics).get("token_usages"))
            paired = len(costs) == len(calls)
            for index, call in enumerate(calls):
                usage, model = counter_of(call)
                cost = nano_usd(costs[index].get("cost")) if paired else None
                name = text_of(call.get("response_id")) or f"{use}-{index}"
                if usage is not None:
                    self._calls[name] = (use, model, usage, cost)

    def take(self, event: dict[str, Json], place: str) -> Iterator[Event]:
        self._any = True
        self._at = seconds_of(event.get("timestamp"))
        kind = text_of(event.get("kind"))
        if kind in _ANSWERS and event.get("source") == "agent":
            yield from self._answered(event, place)
        elif kind == "ConversationStateUpdateEvent":
            yield from self._updated(event)
        elif kind == "Condensation":
            yield from self._condensed(event)
        elif kind == "ConversationErrorEvent":
            self._why = text_of(event.get("code")) or "error"
        elif kind not in _QUIET and not self._heard(kind, event, place):
            self._told.strange(f"event of kind {kind or type(event.get('kind')).__name__}")

    def end(self) -> Iterator[Event]:
        yield from self._flush()
        yield from self._textless()
        for name, (use, model, usage, cost) in self._calls.items():
            yield self._step(agent=use, id=name, model=model or self._model, usage=usage, cost_nano_usd=cost)
        self._calls = {}
        if self._any:
            yield Ending(session=self._session, why=self._why)

    def _step(self, **told: Any) -> Step:
        whole: dict[str, Any] = {"model": self._model, "effort": self._effort, "at": self._at, **told}
        return Step(session=self._session, project=self._project, provider=self._provider, **whole)

    def _heard(self, kind: str, event: dict[str, Json], place: str) -> bool:
        message: Message | None = None
        if kind == "SystemPromptEvent":
            texts = [text_of(dict_of(event.get(key)).get("text")) for key in ("system_prompt", "dynamic_context")]
            message = Message(role="system", parts=tuple(Text(text=text) for text in texts if text))
            self._tools = _specs(event.get("tools")) or self._tools
        elif kind == "MessageEvent":
            message = message_of(_flat(event.get("llm_message"), event.get("extended_content")), place, self._told)
        elif kind in {"ObservationEvent", "UserRejectObservation", "AgentErrorEvent"}:
            message = Message(role="tool", parts=(_result(event),))
        else:
            return False
        if message is not None and message.parts:
            (self._waiting if self._answer is None else self._since).append(message)
        return True

    def _answered(self, event: dict[str, Json], place: str) -> Iterator[Event]:
        """Events of one name are one answer: several calls at once are several events."""
        name = text_of(event.get("llm_response_id")) or text_of(event.get("id"))
        if self._answer is None or self._answer["id"] != name:
            yield from self._flush()
            self._answer = {"id": name, "at": seconds_of(event.get("timestamp")), **self._used(name)}
        if event.get("kind") == "MessageEvent":
            message = message_of(_flat(event.get("llm_message"), None), place, self._told)
            self._parts += message.parts if message is not None else ()
            return
        thoughts = [text_of(block.get("thinking")) for block in dicts_of(event.get("thinking_blocks"))]
        if not any(thoughts):
            thoughts = [text_of(event.get("reasoning_content"))]
        self._parts += [Reasoning(text=text) for text in thoughts if text]
        self._parts += [Text(text=text) for one in dicts_of(event.get("thought")) if (text := text_of(one.get("text")))]
        call = dict_of(event.get("tool_call"))
        self._parts.append(
            ToolCall(
                id=text_of(call.get("id")) or text_of(event.get("tool_call_id")),
                name=text_of(call.get("name")) or text_of(event.get("tool_name")),
                arguments=text_of(call.get("arguments")) or text_of(dict_of(call.get("function")).get("arguments")),
            )
        )

    def _used(self, name: str) -> dict[str, Any]:
        if (call := self._calls.pop(name, None)) is not None:
            _, model, usage, cost = call
            return {"usage": usage, "cost_nano_usd": cost, "model": model or self._model}
        grown, self._grown = self._grown, None
        return {} if grown is None else {"usage": grown[0], "cost_nano_usd": grown[1]}

    def _flush(self) -> Iterator[Event]:
        answer, self._answer = self._answer, None
        if answer is not None:
            new, out = tuple(self._waiting), tuple(self._parts)
            yield self._step(**answer, new=new, out=out, tools=self._tools, compacted=self._cut)
            self._waiting, self._parts, self._cut = [], [], False
        self._waiting += self._since
        self._since = []

    def _condensed(self, event: dict[str, Json]) -> Iterator[Event]:
        """A condenser's call, and the conversation that goes on from its summary."""
        yield from self._flush()
        name, summary = text_of(event.get("llm_response_id")), text_of(event.get("summary"))
        if (call := self._calls.pop(name, None)) is not None:
            use, model, usage, cost = call
            out = (Text(text=summary),) if summary else ()
            yield self._step(agent=use, id=name, model=model, usage=usage, cost_nano_usd=cost, out=out)
        self._cut = True
        if summary:
            self._waiting.append(Message(role="user", parts=(Text(text=summary),)))

    def _updated(self, event: dict[str, Json]) -> Iterator[Event]:
        key, value = event.get("key"), event.get("value")
        if key == "execution_status":
            self._why = text_of(value)
        elif key == "stats":
            yield from self._counted(dict_of(dict_of(value).get("usage_to_metrics")))
        elif key == "full_state":
            yield from self._counted(dict_of(dict_of(dict_of(value).get("stats")).get("usage_to_metrics")))

    def _counted(self, metrics: dict[str, Json]) -> Iterator[Event]:
        """What each model's counter grew by: the agent's own is the next answer's, or the last one's where the log
        tells it late; the others' calls have no events."""
        for use, one in metrics.items():
            now, model = counter_of(dict_of(one).get("accumulated_token_usage"))
            if now is None:
                continue
            before, paid_before = self._counters.get(use, (None, 0))
            paid = nano_usd(dict_of(one).get("accumulated_cost")) or 0
            self._counters[use] = (now, paid)
            grown = usage_since(now, before)
            if grown is None:
                continue
            cost = (paid - paid_before if paid >= paid_before else paid) or None
            self._main = self._main or use
            if use != self._main:
                yield self._step(agent=use, model=model or self._model, usage=grown, cost_nano_usd=cost)
                continue
            self._model = self._model or model
            if self._answer is not None and self._answer.get("usage") is None:
                self._answer.update(usage=grown, cost_nano_usd=cost)
                continue
            yield from self._textless()
            self._grown = (grown, cost)

    def _textless(self) -> Iterator[Event]:
        """A call that was counted and whose answer never came as an event."""
        if self._grown is not None:
            yield from self._flush()
            usage, cost = self._grown
            self._grown = None
            yield self._step(agent="beside", usage=usage, cost_nano_usd=cost)


def _flat(message: Json, more: Json) -> dict[str, Json]:
    """A message of the SDK in the shape of the chat API: calls are flat there, images are lists."""
    told = dict_of(message)
    content: list[Json] = []
    for block in [*dicts_of(told.get("content")), *dicts_of(more)]:
        urls = block.get("image_urls")
        if isinstance(urls, list):
            content += [{"type": "image_url", "image_url": {"url": url}} for url in urls if isinstance(url, str)]
        else:
            content.append({"type": "text", "text": text_of(block.get("text"))})
    wire: dict[str, Json] = {"role": told.get("role"), "content": content}
    calls = dicts_of(told.get("tool_calls"))
    if calls:
        wire["tool_calls"] = [
            {"id": one.get("id"), "function": {"name": one.get("name"), "arguments": one.get("arguments")}}
            for one in calls
        ]
    wire |= {key: told[key] for key in ("reasoning_content", "thinking_blocks", "tool_call_id") if told.get(key)}
    return wire


def _result(event: dict[str, Json]) -> ToolResult:
    seen = dict_of(event.get("observation"))
    texts = [
        text_of(one.get("text")) for one in [*dicts_of(seen.get("content")), *dicts_of(event.get("extended_content"))]
    ]
    texts += [text_of(seen.get("output")), text_of(event.get("error")), text_of(event.get("rejection_reason"))]
    return ToolResult(
        call_id=text_of(event.get("tool_call_id")),
        name=text_of(event.get("tool_name")),
        parts=tuple(Text(text=text) for text in texts if text),
        is_error=event.get("kind") != "ObservationEvent" or seen.get("is_error") is True,
    )


def _specs(value: Json) -> tuple[ToolSpec, ...]:
    """Tools as the SDK defines them, or in the shape of the chat API."""
    own = tuple(
        ToolSpec(
            name=text_of(tool.get("name")) or text_of(tool.get("title")),
            description=text_of(tool.get("description")) or None,
            schema=tool.get("input_schema") or tool.get("action_type"),
        )
        for tool in dicts_of(value)
        if "function" not in tool
    )
    return specs_of(value) or own
