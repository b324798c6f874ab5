"""Attributes of a span that was a request to a model, in the conventions that there were and are: to a step. Pure.

OpenTelemetry GenAI (now and before 2024), OpenLLMetry, OpenInference and the Vercel AI SDK. By the convention
`gen_ai.usage.input_tokens` includes cached tokens; many instrumentations of Anthropic's API left them out, which a
total, or an input smaller than what was cached, gives away.

Source: open-telemetry/semantic-conventions-genai docs/registry/attributes/gen-ai.md; Arize-ai/openinference
spec/semantic_conventions.md; traceloop/openllmetry issue 4449; pydantic/pydantic-ai issue 4364.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from turnout.chat import Json, Message, Part, ToolSpec, Usage
from turnout.dialects.billing import tier_word
from turnout.lab.audit.readers.counting import settled
from turnout.lab.audit.readers.homes import provider_called
from turnout.lab.audit.readers.labels import answer_name
from turnout.lab.audit.readers.loose import first_count, list_of, nano_usd_of, object_in, text_in, unwrapped
from turnout.lab.audit.readers.talk import answer_in, messages_in, parts_in, tools_in
from turnout.lab.audit.records import Step

__all__ = ["KEPT", "is_call", "step_of"]

Attributes = dict[str, Json]

KEPT = (
    "gen_ai.",
    "llm.",
    "ai.",
    "openinference.",
    "traceloop.",
    "langfuse.",
    "session.",
    "input.",
    "output.",
    "error.",
)
"""How names begin that are read; a trace has many others."""

_CALLS = frozenset({"chat", "completion", "generate_content", "text_completion", "message", "messages", "responses"})
_OTHERS = frozenset({"embedding", "embeddings", "rerank", "retrieval", "unknown"})
_INPUT = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens"),
    *("ai.usage.inputTokens", "ai.usage.promptTokens"),
)
_OUTPUT = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    *("llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens"),
)
_READ = (
    *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cache_read_tokens"),
    *("gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.details.cache_read_input_tokens"),
    *("gen_ai.usage.input_cached_tokens", "gen_ai.usage.cached_tokens", "llm.token_count.prompt_details.cache_read"),
    *("gen_ai.usage.input_tokens.cached", "ai.usage.cachedInputTokens", "llm.usage.cache_read_input_tokens"),
)
_WRITE = (
    *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
    *("gen_ai.usage.cache_write_tokens", "gen_ai.usage.details.cache_write_tokens"),
    *("gen_ai.usage.details.cache_creation_input_tokens", "llm.token_count.prompt_details.cache_write"),
    *("gen_ai.usage.input_tokens.cache_write", "llm.usage.cache_creation_input_tokens"),
)
_REASONING = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning"),
    *("gen_ai.usage.details.reasoning_tokens", "llm.token_count.completion_details.reasoning"),
    *("ai.usage.reasoningTokens", "llm.usage.reasoning_tokens"),
)
_TOTAL = ("gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "ai.usage.totalTokens")
_MODEL = (
    *("gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "ai.response.model", "ai.model.id"),
    *("llm.response.model", "llm.request.model", "gen_ai.model.name"),
)
_PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider", "llm.vendor")
_SESSION = (
    *("gen_ai.conversation.id", "session.id", "langfuse.session.id", "ai.telemetry.metadata.sessionId"),
    *("ai.telemetry.metadata.threadId", "traceloop.association.properties.session_id"),
    *("traceloop.association.properties.thread_id", "traceloop.association.properties.chat_id"),
    *("gen_ai.thread.id", "gen_ai.openai.thread.id", "langfuse.trace.session_id"),
)
_ID = ("gen_ai.response.id", "ai.response.id", "llm.response.id")
_COST = ("gen_ai.usage.cost", "gen_ai.usage.cost_usd", "gen_ai.usage.total_cost", "gen_ai.cost.usd", "llm.cost.total")
_AGENT = ("gen_ai.agent.id", "gen_ai.agent.name", "langfuse.agent.name")
_EFFORT = (
    "gen_ai.request.reasoning_effort",
    "gen_ai.openai.request.reasoning_effort",
    "gen_ai.request.reasoning.effort",
)
_TIER = ("gen_ai.openai.response.service_tier", "openai.response.service_tier", "gen_ai.response.service_tier")


def is_call(told: Mapping[str, Json]) -> bool:
    """Whether a span was a request to a model, and not an agent, a tool or a framework around one."""
    kind, operation = told.get("openinference.span.kind"), told.get("gen_ai.operation.name")
    if kind is not None:
        return str(kind).upper() == "LLM"
    own = told.get("ai.operationId")
    if isinstance(own, str):
        return own.rpartition(".")[2] in {"doGenerate", "doStream"}
    request = told.get("llm.request.type")
    word = operation if isinstance(operation, str) else request if isinstance(request, str) else ""
    if word in _CALLS:
        return True
    if word in _OTHERS or "_agent" in word or "_tool" in word or "workflow" in word or "memory" in word:
        return False
    counted = any(key in told for key in (*_INPUT, *_OUTPUT))
    return counted and any(key in told for key in _MODEL) and "traceloop.span.kind" not in told


def step_of(told: Attributes, events: Sequence[tuple[str, Attributes]], *, failed: bool) -> Step:
    """The request that a span was; its session "" where the span names none. Events of the span may hold messages."""
    usage = _usage(told)
    new, out = _talk(told, events)
    failed = failed and (usage is None or not usage.output) and not out
    return Step(
        session=text_in(told, *_SESSION),
        agent=text_in(told, *_AGENT),
        id=answer_name(text_in(told, *_ID), None),
        model=text_in(told, *_MODEL),
        provider=provider_called(text_in(told, *_PROVIDER)),
        usage=usage,
        cost_nano_usd=next((c for key in _COST if (c := nano_usd_of(told.get(key))) is not None), None),
        new=new,
        out=out,
        whole=bool(new),
        tools=_tools(told) if new else None,
        effort=text_in(told, *_EFFORT) or None,
        failed=failed,
    )


def _usage(told: Attributes) -> Usage | None:
    plain, said = first_count(told, *_INPUT), first_count(told, *_OUTPUT)
    if plain is None and said is None:
        return None
    anthropic = object_in(unwrapped(told.get("ai.response.providerMetadata")), "anthropic", "usage")
    lasting = first_count(object_in(anthropic, "cache_creation"), "ephemeral_1h_input_tokens")
    read, write = first_count(told, *_READ), first_count(told, *_WRITE)
    counted = Usage(
        input=plain,
        cache_read=first_count(anthropic, "cache_read_input_tokens") if read is None else read,
        cache_write=first_count(anthropic, "cache_creation_input_tokens") if write is None else write,
        cache_write_1h=lasting,
        output=said,
        reasoning=first_count(told, *_REASONING),
        service_tier=tier_word(next((told[key] for key in _TIER if key in told), None)),
    )
    return settled(counted, first_count(told, *_TOTAL), within=True)


# ---- Messages ------------------------------------------------------------------------------------------------------


def _talk(told: Attributes, events: Sequence[tuple[str, Attributes]]) -> tuple[tuple[Message, ...], tuple[Part, ...]]:
    """What was asked and answered, from the first place that holds it."""
    for place in (told, *(attributes for _, attributes in events)):
        new, out = _in_attributes(place)
        if new or out:
            return new, out
    return _in_events(events)


def _in_attributes(told: Attributes) -> tuple[tuple[Message, ...], tuple[Part, ...]]:
    new: tuple[Message, ...] = ()
    if "gen_ai.system_instructions" in told:
        system = tuple(parts_in(unwrapped(told["gen_ai.system_instructions"])))
        new = (Message(role="system", parts=system),) if system else ()
    whole = ("gen_ai.input.messages", "ai.prompt.messages", "ai.prompt", "gen_ai.prompt", "gen_ai.content.prompt")
    said = ("gen_ai.output.messages", "gen_ai.completion", "gen_ai.content.completion")
    new += next((found for key in whole if key in told and (found := messages_in(told[key]))), ())
    out = next((found for key in said if key in told and (found := answer_in(told[key]))), ())
    if not new:
        new = _numbered(told, ("gen_ai.prompt.", "llm.input_messages.", "llm.prompts."))
    if not out:
        spoken = _numbered(told, ("gen_ai.completion.", "llm.output_messages.", "llm.completions."))
        out = tuple(part for message in spoken[:1] for part in message.parts)
    if not out:
        out = _vercel(told)
    if not new and not out and "openinference.span.kind" in told:
        new, out = messages_in(told.get("input.value")), answer_in(told.get("output.value"))
    return new, out


def _vercel(told: Attributes) -> tuple[Part, ...]:
    text, calls = told.get("ai.response.text"), told.get("ai.response.toolCalls")
    parts = answer_in(text) if isinstance(text, str) and text else ()
    return parts + (answer_in({"role": "assistant", "tool_calls": unwrapped(calls)}) if calls else ())


def _numbered(told: Attributes, starts: tuple[str, ...]) -> tuple[Message, ...]:
    """Messages whose fields are attributes: `gen_ai.prompt.0.role`, `llm.input_messages.0.message.role`."""
    tree: dict[str, Json] = {}
    for key, value in told.items():
        start = next((s for s in starts if key.startswith(s)), None)
        if start is None:
            continue
        *path, last = key[len(start) :].replace("message_content.", "").replace("tool_call.", "").split(".")
        if len(path) > 8:
            continue
        at = tree
        for name in path:
            if name == "message":
                continue
            inner = at.setdefault(name, {})
            if not isinstance(inner, dict):
                break
            at = cast("dict[str, Json]", inner)
        else:
            at[last] = value
    return tuple(m for told_in in list_of(_listed(tree)) for m in messages_in(_spelled(told_in)))


def _spelled(value: Json) -> Json:
    """OpenInference calls a list of content parts `contents`."""
    told = object_in(value)
    return {**told, "content": told["contents"]} if "contents" in told else value


def _listed(value: Json) -> Json:
    """Objects whose keys are numbers are lists."""
    if not isinstance(value, dict):
        return value
    told = {key: _listed(inner) for key, inner in cast("dict[str, Json]", value).items()}
    if told and all(key.isascii() and key.isdigit() and len(key) < 7 for key in told):
        return [told[key] for key in sorted(told, key=int)]
    return told


def _in_events(events: Sequence[tuple[str, Attributes]]) -> tuple[tuple[Message, ...], tuple[Part, ...]]:
    """Of the convention until 2025: an event a message, `gen_ai.user.message` and so on, the answer `gen_ai.choice`."""
    new: list[Message] = []
    out: tuple[Part, ...] = ()
    for name, told in events:
        if not name.startswith("gen_ai."):
            continue
        kind = name.removeprefix("gen_ai.").removesuffix(".message")
        body: dict[str, Json] = {key: unwrapped(value) for key, value in told.items()}
        if kind == "choice" and not out:
            out = answer_in(body.get("message") or {**body, "role": "assistant"})
        elif name.endswith(".message"):
            new.extend(messages_in({"role": kind, "content": None, **body}))
    return tuple(new), out


def _tools(told: Attributes) -> tuple[ToolSpec, ...] | None:
    for key in ("gen_ai.tool.definitions", "ai.prompt.tools", "llm.request.tools", "gen_ai.request.tools"):
        if key in told and (found := tools_in(told[key])):
            return found
    parameters = object_in(unwrapped(told.get("llm.invocation_parameters")))
    if found := tools_in(parameters.get("tools")):
        return found
    tree: dict[str, dict[str, Json]] = {}
    for key, value in told.items():
        for start in ("llm.request.functions.", "llm.tools."):
            if key.startswith(start):
                number, _, name = key[len(start) :].partition(".")
                tree.setdefault(number, {})[name] = value
    return tools_in([unwrapped(tool.get("tool.json_schema")) or tool for tool in tree.values()])
