"""Trajectories of SWE-agent: a `.traj` an instance, and the predictions and reports of a batch of them.

Source of the format: SWE-agent/SWE-agent, sweagent/types.py, sweagent/agent/agents.py (`get_trajectory_data`) and
sweagent/agent/models.py. Only the sums of an instance are written, so its steps have no usage and its ending has.
What it calls tokens sent and received was counted by LiteLLM's tokenizer; the cost is by the provider's counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json, Message, Text, Usage
from turnout.lab.audit.readers.base import Head, Reader, Source
from turnout.lab.audit.readers.shapes import (
    answer_of,
    count_of,
    decoded,
    dict_of,
    dicts_of,
    effort_of,
    message_of,
    model_of,
    nano_usd,
    text_of,
)
from turnout.lab.audit.readers.streams import elements_of
from turnout.lab.audit.records import Ending, Event, ReadTally, Step

__all__ = ["SWE_AGENT"]


class _Item(Struct):
    """One message of the history."""

    role: Any = None
    content: Any = None
    agent: Any = None
    tool_calls: Any = None
    tool_call_ids: Any = None
    thinking_blocks: Any = None


class _Turn(Struct):
    """One step of the trajectory. `query`: the exact request (`messages` before version 1.1: that of the next)."""

    response: Any = None
    observation: Any = None
    query: Any = None


class _Attempt(Struct):
    """One of several tries at an instance; each has all that a file of one try has."""

    history: Any = None
    trajectory: Any = None
    info: Any = None
    replay_config: Any = None


class _About(Struct, frozen=True, kw_only=True):
    """Whose steps these are."""

    session: str
    project: str
    model: str = ""
    provider: str = ""
    effort: str | None = None
    agent: str = ""


_item = msgspec.json.Decoder(_Item)
_turn = msgspec.json.Decoder(_Turn)
_attempt = msgspec.json.Decoder(_Attempt)
_value = msgspec.json.Decoder(Any)
_MAIN = frozenset({"main", "primary", ""})
_NOBODY = frozenset({"", "none", "None"})


def _claims(head: Head) -> bool:
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, dict):
        return _is_traj(first) or _is_batch(first)
    start = head.start.lstrip()
    if not start.startswith(b"{"):
        return False
    named = head.name.endswith(".traj") or b'"environment"' in start or b'"message_type"' in start
    began = start[:300].partition(b"[")[0]  # the first member, and the second where the first is short
    return named and any(key in began for key in (b'"trajectory"', b'"history"', b'"attempts"'))


def _is_traj(first: dict[str, Json]) -> bool:
    if "history" in first and ("trajectory" in first or "info" in first):
        return "trajectory_format" not in first and not isinstance(first.get("metrics"), dict)
    return first.keys() in ({"history"}, {"attempts"}) or ("attempts" in first and "trajectory" in first)


def _is_batch(first: dict[str, Json]) -> bool:
    if "resolved_ids" in first:
        return True
    if "model_patch" in first and "instance_id" in first:
        return True
    inner = next(iter(first.values()), None)
    return isinstance(inner, dict) and {"model_patch", "model_name_or_path"} <= inner.keys()


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    for path in source.paths:
        yield from _file(path, told)


def _file(path: Path, told: ReadTally) -> Iterator[Event]:
    """What stands at the end of a file (its model, its sums) is wanted first: it is looked through once for that."""
    quiet = ReadTally()
    members = ("info", "replay_config", "resolved_ids", "unresolved_ids", "model_patch", "instance_id")
    whole: dict[str, Json] = {}
    lists: set[str] = set()
    for key, index, raw in elements_of(path, quiet, lists=("history", "attempts"), members=members):
        if index is None:
            whole[key] = decoded(raw, _value, f"{path.name} {key}", quiet)
        else:
            lists.add(key)
    if "resolved_ids" in whole:
        yield from _report(whole, told)
    elif "model_patch" in whole or not (lists or "info" in whole or path.suffix == ".traj"):
        told.lines += 1
        told.strange("prediction (a patch, no calls)")
    else:
        yield from _trajectory(path, whole, lists, told)


def _report(whole: dict[str, Json], told: ReadTally) -> Iterator[Event]:
    """What the benchmark says of a batch: sessions are named by their instances."""
    for key, solved in (("resolved_ids", True), ("unresolved_ids", False)):
        names = whole.get(key)
        for name in names if isinstance(names, list) else []:
            told.lines += 1
            yield Ending(session=text_of(name), solved=solved, why="resolved" if solved else "unresolved")


def _trajectory(path: Path, whole: dict[str, Json], lists: set[str], told: ReadTally) -> Iterator[Event]:
    name = path.name.removesuffix(".json").removesuffix(".traj")
    folder = path.parent.parent if path.parent.name == name else path.parent
    about = _about(name, folder.name, whole.get("replay_config"))
    if "attempts" in lists:
        yield from _attempts(path, about, whole.get("info"), told)
        return
    key = "history" if "history" in lists else "trajectory"
    pieces = ((i, raw) for _, i, raw in elements_of(path, told, lists=(key,)) if i is not None)
    yield from _history(path.name, about, pieces, told) if key == "history" else _turns(path.name, about, pieces, told)
    yield _ending(about, whole.get("info"))


def _attempts(path: Path, about: _About, info: Json, told: ReadTally) -> Iterator[Event]:
    """Several tries at one instance: each is a conversation of its own. What was chosen of them stands beside them
    once more, with the sums of all; before anything is chosen, there are only the sums of each."""
    sums: list[Ending] = []
    for _, index, raw in elements_of(path, told, lists=("attempts",)):
        place = f"{path.name} attempt {index}"
        attempt = decoded(raw, _attempt, place, told)
        if attempt is None:
            continue
        mine = _about(about.session, about.project, attempt.replay_config, f"attempt {index}")
        mine = mine if mine.model else msgspec.structs.replace(about, agent=mine.agent)
        items = ((i, msgspec.convert(one, _Item)) for i, one in enumerate(dicts_of(attempt.history)))
        yield from _steps(place, mine, items, told)
        sums.append(_ending(about, attempt.info))
    yield _ending(about, info) if dict_of(info) else _summed(about, sums)


def _summed(about: _About, sums: list[Ending]) -> Ending:
    sent = sum((one.usage.input or 0) for one in sums if one.usage)
    got = sum((one.usage.output or 0) for one in sums if one.usage)
    return Ending(
        session=about.session,
        why=sums[-1].why if sums else "",
        usage=Usage(input=sent, output=got) if sent or got else None,
        cost_nano_usd=sum(one.cost_nano_usd or 0 for one in sums) or None,
    )


def _history(place: str, about: _About, pieces: Iterator[tuple[int, bytes]], told: ReadTally) -> Iterator[Event]:
    items = ((i, decoded(raw, _item, f"{place} message {i}", told)) for i, raw in pieces)
    yield from _steps(place, about, ((i, item) for i, item in items if item is not None), told)


def _steps(place: str, about: _About, items: Iterator[tuple[int, _Item]], told: ReadTally) -> Iterator[Event]:
    waiting: list[Message] = []
    for index, item in items:
        if item.role != "assistant":
            message = message_of(_wire(item), f"{place} message {index}", told)
            waiting += [message] if message is not None else []
            continue
        agent = text_of(item.agent)
        yield Step(
            session=about.session,
            agent=about.agent or ("" if agent in _MAIN else agent),
            project=about.project,
            model=about.model,
            provider=about.provider,
            new=tuple(waiting),
            out=answer_of(_wire(item), f"{place} message {index}", told),
            effort=about.effort,
        )
        waiting = []


def _wire(item: _Item) -> dict[str, Json]:
    """A message as it went over the wire: the answered call is named in the singular."""
    wire: dict[str, Json] = {"role": item.role, "content": item.content}
    if item.tool_calls:
        wire["tool_calls"] = item.tool_calls
    if item.thinking_blocks:
        wire["thinking_blocks"] = item.thinking_blocks
    if item.role == "tool":
        names = item.tool_call_ids
        wire["tool_call_id"] = names[0] if isinstance(names, list) and names else ""
    return wire


def _turns(place: str, about: _About, pieces: Iterator[tuple[int, bytes]], told: ReadTally) -> Iterator[Event]:
    """Steps of a trajectory whose history was left out: with whole requests, or with observations alone."""
    seen: list[Message] = []
    for index, raw in pieces:
        turn = decoded(raw, _turn, f"{place} step {index}", told)
        if turn is None:
            continue
        asked = dicts_of(turn.query)
        items = [message_of(_wire(msgspec.convert(one, _Item)), f"{place} step {index}", told) for one in asked]
        yield Step(
            session=about.session,
            project=about.project,
            model=about.model,
            provider=about.provider,
            new=tuple(item for item in items if item is not None) if asked else tuple(seen),
            out=(Text(text=turn.response),) if text_of(turn.response) else (),
            whole=bool(asked),
            effort=about.effort,
        )
        seen = [Message(role="user", parts=(Text(text=turn.observation),))] if text_of(turn.observation) else []


def _about(name: str, folder: str, config: Json, agent: str = "") -> _About:
    """The model by the run's configuration, which is an object or, in newer versions, the text of one."""
    if isinstance(config, str):
        config = decoded(config.encode(errors="replace"), _value, "replay_config", ReadTally())
    settings = dict_of(dict_of(config).get("agent"))
    model = dict_of(settings.get("model"))
    if not model:  # several agents in turn: the first
        model = dict_of(next(iter(dicts_of(settings.get("agent_configs"))), {}).get("model"))
    name_of_model = text_of(model.get("name")) or text_of(model.get("model_name"))
    plain, provider = model_of("" if name_of_model in _NOBODY else name_of_model)
    effort = effort_of(model.get("completion_kwargs"))
    return _About(session=name, project=folder, model=plain, provider=provider, effort=effort, agent=agent)


def _ending(about: _About, info: Json) -> Ending:
    told = dict_of(info)
    stats = dict_of(told.get("model_stats"))
    sent, got = count_of(stats.get("tokens_sent")), count_of(stats.get("tokens_received"))
    why = told.get("exit_status")
    return Ending(
        session=about.session,
        why=text_of(why) if not isinstance(why, int) else str(why),
        usage=Usage(input=sent, output=got) if sent or got else None,
        cost_nano_usd=nano_usd(stats.get("instance_cost")),
    )


SWE_AGENT = Reader(name="swe-agent", title="SWE-agent trajectories", claims=_claims, read=_read)
