"""OpenHands' first generation of events: actions and observations, an answer of the model beside what it caused.

The provider's whole answer stands with every action that it asked for and with every observation of those. Counters of
the whole conversation (`llm_metrics`) tell what calls used that have no event of their own: condensers, and agents
that answer without calling a tool.
"""

from __future__ import annotations

from collections.abc import Iterator

from turnout.chat import Json, Message, Part, Text, ToolCall, ToolResult, ToolSpec, Usage
from turnout.lab.audit.readers.base import seconds_of
from turnout.lab.audit.readers.shapes import (
    answer_of,
    count_of,
    dict_of,
    dicts_of,
    json_text,
    model_of,
    nano_usd,
    specs_of,
    text_of,
    usage_of,
    usage_since,
)
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["EventsTalk", "counter_of"]

_QUIET = frozenset(
    {
        *("null", "agent_state_changed", "change_agent_state", "recall", "condensation_request", "loop_recovery"),
        *("agent_condense", "start", "pause", "resume", "stop", "delegate", "send_pr", "push"),
    }
)
"""Events that no model sees, or sees otherwise."""

_OVER = frozenset({"finished", "error", "stopped", "rejected"})


class EventsTalk:
    """One conversation while it is read."""

    def __init__(self, session: str, told: ReadTally) -> None:
        self.model = self.provider = self.project = ""
        self._session, self._told = session, told
        self._waiting: list[Message] = []
        self._seen: set[str] = set()
        self._tools: tuple[ToolSpec, ...] | None = None
        self._counter: Usage | None = None
        self._paid: int = 0
        self._cut = False
        self._why = ""
        self._any = False

    def take(self, event: dict[str, Json], place: str) -> Iterator[Event]:
        self._any = True
        action, source = text_of(event.get("action")), text_of(event.get("source"))
        kind = action or text_of(event.get("observation"))
        if kind in {"agent_state_changed", "change_agent_state"}:
            state = dict_of(event.get("extras") or event.get("args")).get("agent_state")
            self._why = state if isinstance(state, str) and state in _OVER else self._why
        elif not action:
            self._observed(kind, event)
        elif kind == "system":
            args = dict_of(event.get("args"))
            self._say("system", args.get("content"))
            self._tools = specs_of(args.get("tools")) or self._tools
        elif kind == "condensation":
            self._cut = True
            self._say("user", dict_of(event.get("args")).get("summary"))
        elif source == "agent" and (kind not in _QUIET or dict_of(event.get("tool_call_metadata"))):
            yield from self._acted(kind, event, place)
        elif kind not in _QUIET:
            args = dict_of(event.get("args"))
            self._say("user", args.get("content") or args.get("command") or event.get("message"))

    def end(self) -> Iterator[Event]:
        if self._any:
            yield Ending(session=self._session, why=self._why)

    def _say(self, role: str, text: Json) -> None:
        if text_of(text):
            self._waiting.append(Message(role="system" if role == "system" else "user", parts=(Text(text=text),)))

    def _observed(self, kind: str, event: dict[str, Json]) -> None:
        if kind in _QUIET:
            return
        if not kind:
            self._told.strange("event that is neither action nor observation")
            return
        content = text_of(event.get("content"))
        name = text_of(dict_of(event.get("tool_call_metadata")).get("tool_call_id"))
        if not name:
            self._say("user", content)
            return
        failed = kind == "error" or event.get("success") is False
        result = ToolResult(call_id=name, parts=(Text(text=content),), is_error=failed)
        self._waiting.append(Message(role="tool", parts=(result,)))

    def _acted(self, kind: str, event: dict[str, Json], place: str) -> Iterator[Event]:
        """An action is an answer unless it is a further one of an answer that was seen."""
        response = dict_of(dict_of(event.get("tool_call_metadata")).get("model_response"))
        name = text_of(response.get("id"))
        if kind == "finish":
            self._why = "finished"
        if name and name in self._seen:
            return
        self._seen.add(name)
        grown, paid, model = self._since(event)
        usage = usage_of(response.get("usage")) or grown
        told_model, provider = model_of(response.get("model"))
        choices = dicts_of(response.get("choices"))
        yield Step(
            session=self._session,
            project=self.project,
            id=name,
            model=self.model or told_model or model,
            provider=self.provider or provider,
            at=seconds_of(event.get("timestamp")),
            usage=usage,
            cost_nano_usd=paid,
            new=tuple(self._waiting),
            out=answer_of(choices[0].get("message"), place, self._told) if choices else _spelled(kind, event),
            tools=self._tools,
            compacted=self._cut,
        )
        self._waiting, self._cut = [], False
        yield from self._beside(grown, usage, event)

    def _since(self, event: dict[str, Json]) -> tuple[Usage | None, int | None, str]:
        """What the conversation's counters grew by since the last event that told them."""
        metrics = dict_of(event.get("llm_metrics"))
        now, model = counter_of(metrics.get("accumulated_token_usage"))
        grown = None
        if now is not None:
            grown, self._counter = usage_since(now, self._counter), now
        total = nano_usd(metrics.get("accumulated_cost"))
        if total is None:
            return grown, None, model
        paid = total - self._paid if total >= self._paid else total
        self._paid = total
        return grown, paid or None, model

    def _beside(self, grown: Usage | None, usage: Usage | None, event: dict[str, Json]) -> Iterator[Event]:
        """What was used beside this answer, by calls without events: their cost is in this answer's."""
        rest = None if grown is None or usage is None or grown is usage else usage_since(grown, usage)
        if rest is not None and rest != grown:
            yield Step(
                session=self._session,
                agent="beside",
                project=self.project,
                model=self.model,
                provider=self.provider,
                at=seconds_of(event.get("timestamp")),
                usage=rest,
            )


def counter_of(value: Json) -> tuple[Usage | None, str]:
    """A counter of OpenHands, or the tokens of one call in its words, and the model that it names. Input includes what
    came from and went to caches, unless there is more of that than input."""
    told = dict_of(value)
    names = ("prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    sent, got, read, write, thought = (count_of(told.get(name)) for name in names)
    model, _ = model_of(told.get("model"))
    if sent is None and got is None:
        return None, model
    if (read or 0) + (write or 0) > (sent or 0):
        sent = (sent or 0) + (read or 0) + (write or 0)
    return Usage(input=sent, cache_read=read, cache_write=write, output=got, reasoning=thought), model


def _spelled(kind: str, event: dict[str, Json]) -> tuple[Part, ...]:
    """The answer of an agent that calls no tools: its text, or what the harness made of it."""
    args = dict_of(event.get("args"))
    said = text_of(args.get("content")) or text_of(args.get("thought")) or text_of(args.get("final_thought"))
    text: tuple[Part, ...] = (Text(text=said),) if said else ()
    if kind in {"message", "finish", "think"}:
        return text
    plain = {key: one for key, one in args.items() if key in {"command", "code", "path", "url", "content", "task"}}
    return (*text, ToolCall(id=f"event-{event.get('id')}", name=kind, arguments=json_text(plain)))
