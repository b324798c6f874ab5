"""Results of tau-bench and tau2-bench: simulations of an agent, its user (a model, too) and their reward.

Sources of the formats: sierra-research/tau2-bench, src/tau2/data_model/simulation.py and message.py;
sierra-research/tau-bench, tau_bench/types.py and run.py. tau2 keeps each answer's usage and cost, and the provider's
whole answer as `raw_data`; the first keeps messages alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json, Message, Part, Role, Text, ToolCall, ToolResult, Usage
from turnout.lab.audit.readers.base import Head, Reader, Source, seconds_of
from turnout.lab.audit.readers.shapes import (
    answer_of,
    count_of,
    decoded,
    dict_of,
    dicts_of,
    effort_of,
    json_text,
    message_of,
    model_of,
    nano_usd,
    text_of,
    usage_of,
)
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["TAU"]


class _Run(Struct):
    """A simulation of tau2, or an element of tau-bench's list."""

    id: Any = None
    task_id: Any = None
    trial: Any = None
    messages: Any = None
    traj: Any = None
    ticks: Any = None
    reward: Any = None
    reward_info: Any = None
    termination_reason: Any = None
    agent_usage: Any = None
    agent_cost: Any = None
    policy: Any = None
    info: Any = None


class _Side(Struct, frozen=True, kw_only=True):
    """One of the two who talk, and the model that plays it."""

    role: Role
    agent: str
    model: str = ""
    provider: str = ""
    effort: str | None = None


class _Setting(Struct, frozen=True, kw_only=True):
    """What holds for all simulations of a file."""

    name: str
    project: str = ""
    policy: str = ""
    sides: tuple[_Side, ...] = (_Side(role="assistant", agent=""), _Side(role="user", agent="user"))


_run = msgspec.json.Decoder(_Run)
_value = msgspec.json.Decoder(Any)
_ROLES = ("assistant", "user", "system", "tool")


def _claims(head: Head) -> bool:
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, list) and first:
        return isinstance(first[0], dict) and {"task_id", "reward", "traj"} <= first[0].keys()
    if isinstance(first, dict):
        return _is_results(first) or _is_run(first)
    start = head.start.lstrip()
    if start.startswith(b"["):
        return b'"task_id"' in start[:200] and b'"reward"' in start[:400]
    if not start.startswith(b"{"):
        return False
    whole = b'"agent_info"' in start or b'"user_info"' in start
    one = b'"task_id"' in start[:400] and b'"termination_reason"' in start[:2_000]
    return (whole and b'"num_trials"' in start) or one


def _is_results(first: dict[str, Json]) -> bool:
    return "simulations" in first and "info" in first and ("tasks" in first or "agent_info" in dict_of(first["info"]))


def _is_run(first: dict[str, Json]) -> bool:
    return {"task_id", "termination_reason"} <= first.keys() and ("messages" in first or "ticks" in first)


def _group(paths: Sequence[Path]) -> list[Source]:
    """Simulations in files of their own are read with the results that stand above their folder."""
    singles: dict[Path, list[Path]] = {}
    sources: list[Source] = []
    heads = {path for path in paths if path.name == "results.json"}
    for path in paths:
        above = path.parent.parent / "results.json"
        if path.parent.name == "simulations" and above in heads:
            singles.setdefault(above, []).append(path)
    sources += [Source(paths=(above, *sorted(found))) for above, found in singles.items()]
    together = {path for source in sources for path in source.paths}
    return sources + [Source(paths=(path,)) for path in paths if path not in together]


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    setting = _setting(source.paths[0])
    for number, path in enumerate(source.paths):
        try:
            yield from _file(path, setting, told)
        except OSError as error:
            if not number:
                raise
            told.broken(path.name, error.strerror or error)


def _file(path: Path, setting: _Setting, told: ReadTally) -> Iterator[Event]:
    single: dict[str, Json] = {}
    members = tuple(name for name in _Run.__struct_fields__ if name not in {"info", "traj", "reward"})
    for key, index, raw in elements_of(path, told, lists=("simulations",), members=members):
        place = f"{path.name} simulation {index}"
        if index is None:
            single[key] = decoded(raw, _value, f"{path.name} {key}", told)
        elif (run := decoded(raw, _run, place, told)) is not None:
            yield from _simulation(run, setting, place, told)
    if "task_id" in single:
        told.lines += 1
        yield from _simulation(msgspec.convert(single, _Run), setting, path.name, told)


def _setting(path: Path) -> _Setting:
    info: dict[str, Json] = {}
    for _, _, raw in elements_of(path, ReadTally(), members=("info",)):
        info = info or dict_of(decoded(raw, _value, path.name, ReadTally()))
    environment = dict_of(info.get("environment_info"))
    if not environment:
        return _Setting(name=path.name.partition(".json")[0], project=path.name.partition(".json")[0])
    agent, user = dict_of(info.get("agent_info")), dict_of(info.get("user_info"))
    return _Setting(
        name=path.name.partition(".json")[0],
        project=text_of(environment.get("domain_name")),
        policy=text_of(environment.get("policy")),
        sides=(_side("assistant", "", agent), _side("user", "user", user)),
    )


def _side(role: Role, agent: str, told: dict[str, Json]) -> _Side:
    model, provider = model_of(told.get("llm"))
    return _Side(role=role, agent=agent, model=model, provider=provider, effort=effort_of(told.get("llm_args")))


def _simulation(run: _Run, setting: _Setting, place: str, told: ReadTally) -> Iterator[Event]:
    name = text_of(run.id) or f"{setting.name}/{run.task_id}/{run.trial}"
    if isinstance(run.traj, list):
        yield from _played(run.traj, name, setting, place, told)
    elif isinstance(run.messages, list):
        messages = dicts_of(run.messages)
        for one in messages:
            if one.get("role") not in _ROLES:
                told.strange(f"message of role {text_of(one.get('role')) or type(one.get('role')).__name__}")
        policy = text_of(run.policy) or setting.policy
        for side in setting.sides:
            yield from _heard(messages, side, name, setting.project, policy)
    elif isinstance(run.ticks, list):
        told.strange("simulation of speech (ticks)")
    reward = run.reward if run.reward is not None else dict_of(run.reward_info).get("reward")
    yield Ending(
        session=name,
        solved=reward >= 1 - 1e-6 if isinstance(reward, int | float) else None,
        why=text_of(run.termination_reason) or ("error" if dict_of(run.info).get("error") else ""),
        usage=_spoken(run.agent_usage) if run.messages is None else None,
        cost_nano_usd=nano_usd(run.agent_cost) if run.messages is None else None,
    )


def _played(messages: list[Json], name: str, setting: _Setting, place: str, told: ReadTally) -> Iterator[Event]:
    """tau-bench: messages as they went over the wire, with no word of their tokens."""
    waiting: list[Message] = []
    for index, one in enumerate(dicts_of(messages)):
        at = f"{place} message {index}"
        if one.get("role") == "assistant":
            out = answer_of(one, at, told)
            yield Step(session=name, project=setting.project, new=tuple(waiting), out=out)
            waiting = []
        elif (message := message_of(one, at, told)) is not None:
            waiting.append(message)


def _heard(messages: list[dict[str, Json]], side: _Side, name: str, project: str, policy: str) -> Iterator[Event]:
    """A simulation as one side saw it: the other's words are its user's, and only the results of its own calls are
    seen. What neither cost nor used anything (the greeting) was said by the harness."""
    waiting = [Message(role="system", parts=(Text(text=policy),))] if policy and side.role == "assistant" else []
    for one in messages:
        role = one.get("role")
        if role == "tool":
            waiting += _results(one, side.role)
        elif role == side.role and _by_model(one):
            yield _step(one, side, name, project, waiting)
            waiting = []
        elif text_of(one.get("content")) and (role == side.role or not one.get("tool_calls")):
            waiting.append(_text("assistant" if role == side.role else "user", one))


def _text(role: Role, one: dict[str, Json]) -> Message:
    return Message(role=role, parts=(Text(text=one["content"]),))


def _by_model(one: dict[str, Json]) -> bool:
    return any(one.get(key) is not None for key in ("usage", "raw_data")) or bool(one.get("tool_calls"))


def _step(one: dict[str, Json], side: _Side, name: str, project: str, new: list[Message]) -> Step:
    raw = dict_of(one.get("raw_data"))
    out: list[Part] = [Text(text=one["content"])] if text_of(one.get("content")) else []
    for call in dicts_of(one.get("tool_calls")):
        arguments = json_text(call.get("arguments") or {})
        out.append(ToolCall(id=text_of(call.get("id")), name=text_of(call.get("name")), arguments=arguments))
    return Step(
        session=name,
        agent=side.agent,
        project=project,
        id=text_of(raw.get("id")),
        model=side.model or model_of(raw.get("model"))[0],
        provider=side.provider,
        at=seconds_of(one.get("timestamp")),
        usage=usage_of(raw.get("usage")) or usage_of(one.get("usage")),
        cost_nano_usd=nano_usd(one.get("cost")),
        new=tuple(new),
        out=tuple(out),
        effort=side.effort,
    )


def _results(one: dict[str, Json], role: Role) -> list[Message]:
    """Results of the calls that this side made; several may stand in one message."""
    each = dicts_of(one.get("tool_messages")) or [one]
    results = [
        ToolResult(
            call_id=text_of(result.get("id")),
            parts=(Text(text=text_of(result.get("content"))),),
            is_error=result.get("error") is True,
        )
        for result in each
        if (text_of(result.get("requestor")) or "assistant") == role
    ]
    return [Message(role="tool", parts=tuple(results))] if results else []


def _spoken(usage: Json) -> Usage | None:
    """The sums of a spoken simulation: what is billed by tokens. Running totals count once, the last."""
    sums = [0, 0, 0]
    last: dict[str, dict[str, Json]] = {}
    for number, record in enumerate(dicts_of(dict_of(usage).get("records"))):
        running = record.get("semantics") == "cumulative"
        last[text_of(record.get("scope_id")) if running else f"#{number}"] = record
    for record in last.values():
        for index, key in enumerate(("input_tokens", "input_cached_tokens", "output_tokens")):
            sums[index] += count_of(record.get(key)) or 0
    sent, read, got = sums
    return Usage(input=sent, cache_read=read, output=got) if sent or got else None


TAU = Reader(name="tau", title="tau-bench and tau2-bench results", claims=_claims, read=_read, group=_group)
