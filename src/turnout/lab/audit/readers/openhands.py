"""Conversations of OpenHands: lists of events, a file an event, lines of events, and outputs of its benchmarks.

Two generations: events with an `action` or an `observation` (`openhands_events`) and those of the SDK, with a `kind`
(`openhands_sdk`). Sources of the formats: All-Hands-AI/OpenHands, openhands/events/serialization and
openhands/events/event_store.py; OpenHands/software-agent-sdk, openhands-sdk/openhands/sdk/event and conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from turnout.chat import Json
from turnout.lab.audit.readers.base import Head, Reader, Source, head_of, lines_of
from turnout.lab.audit.readers.openhands_events import EventsTalk
from turnout.lab.audit.readers.openhands_sdk import SdkTalk
from turnout.lab.audit.readers.shapes import decoded, dict_of, dicts_of, model_of, text_of
from turnout.lab.audit.readers.streams import LONGEST_ELEMENT, elements_of
from turnout.lab.audit.records import Ending, Event, ReadTally

__all__ = ["OPENHANDS"]

_event = msgspec.json.Decoder(dict[str, Any])
_number = re.compile(r"(\d+)")


class _Output(Struct):
    """A line of a benchmark's output: one instance, its events and the judge's word."""

    instance_id: Any = None
    history: Any = None
    metadata: Any = None
    test_result: Any = None
    report: Any = None
    resolved: Any = None
    error: Any = None


_output = msgspec.json.Decoder(_Output)


def _claims(head: Head) -> bool:
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, list) and first:
        first = first[0]
    if isinstance(first, dict):
        return _is_event(first) or _is_state(first) or {"instance_id", "history", "metrics"} <= first.keys()
    start = head.start.lstrip()[:4_000]
    if start.startswith(b'{"instance_id"') and b'"instruction"' in head.start:
        return True
    marked = b'"timestamp"' in start[:600] and b'"source"' in start[:600]
    kinds = any(word in start for word in (b'"action"', b'"observation"', b'"kind"', b'"llm_message"'))
    return start[:1] in {b"{", b"["} and marked and kinds


def _is_event(first: dict[str, Json]) -> bool:
    if not {"id", "timestamp", "source"} <= first.keys():
        return False
    return "action" in first or "observation" in first or text_of(first.get("kind")).endswith(_KIND_ENDS)


_KIND_ENDS = ("Event", "Observation", "Condensation", "CondensationRequest", "CompletionLog")


def _is_state(first: dict[str, Json]) -> bool:
    return {"id", "agent", "workspace", "stats"} <= first.keys()


def _group(paths: Sequence[Path]) -> list[Source]:
    """The files of a conversation together. Pages of `event_cache` are copies of its events: read where the events
    themselves are gone."""
    sources: list[Source] = []
    conversations: dict[Path, list[Path]] = {}
    pages: dict[Path, list[Path]] = {}
    for path in paths:
        if path.name == "base_state.json" or path.parent.name == "events":
            folder = path.parent if path.name == "base_state.json" else path.parent.parent
            conversations.setdefault(folder, []).append(path)
        elif path.parent.name == "event_cache":
            pages.setdefault(path.parent.parent, []).append(path)
        else:
            sources.append(Source(paths=(path,)))
    for folder, found in pages.items():
        if not any(path.parent.name == "events" for path in conversations.get(folder, ())):
            conversations.setdefault(folder, []).extend(found)
    return sources + [Source(paths=tuple(sorted(found, key=_order))) for found in conversations.values()]


def _order(path: Path) -> tuple[int, str]:
    """The state first, then events by their number."""
    if path.name == "base_state.json":
        return -1, path.name
    number = _number.search(path.name)
    return int(number[1][:18]) if number else 0, path.name


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    first = source.paths[0]
    if first.parent.name in {"events", "event_cache"}:
        name = first.parent.parent.name
    else:
        name = first.parent.name if first.name == "base_state.json" else first.name.partition(".")[0]
    talks = _Talks(name, told)
    for path in source.paths:
        try:
            yield from _file(path, talks, told)
        except OSError as error:
            if len(source.paths) == 1:
                raise
            told.broken(path.name, error.strerror or error)
    yield from talks.end()


class _Talks:
    """A conversation of whichever generation its events turn out to be."""

    def __init__(self, session: str, told: ReadTally) -> None:
        self._session, self._told = session, told
        self.events = EventsTalk(session, told)
        self.sdk = SdkTalk(session, told)

    def take(self, event: dict[str, Json], place: str) -> Iterator[Event]:
        if "kind" in event:
            yield from self.sdk.take(event, place)
        elif "action" in event or "observation" in event:
            yield from self.events.take(event, place)
        else:
            self._told.strange("event of no known generation")

    def end(self) -> Iterator[Event]:
        yield from self.events.end()
        yield from self.sdk.end()


def _file(path: Path, talks: _Talks, told: ReadTally) -> Iterator[Event]:
    head = head_of(path)
    start = head.start.lstrip()
    if start.startswith(b"["):
        for _, index, raw in elements_of(path, told):
            place = f"{path.name} event {index}"
            event = decoded(raw, _event, place, told)
            if event is not None:
                yield from talks.take(event, place)
    elif start.startswith(b'{"instance_id"') or (head.objects and "history" in head.objects[0]):
        yield from _outputs(path, told)
    elif path.suffix == ".jsonl" or len(head.objects) > 1:
        for number, line in lines_of(path, told):
            place = f"{path.name} line {number}"
            event = decoded(line, _event, place, told)
            if event is not None:
                yield from talks.take(event, place)
    else:
        yield from _single(path, talks, told)


def _single(path: Path, talks: _Talks, told: ReadTally) -> Iterator[Event]:
    told.lines += 1
    if path.stat().st_size > LONGEST_ELEMENT:
        told.broken(path.name, f"longer than {LONGEST_ELEMENT // 2**20} MiB, skipped")
        return
    one = decoded(path.read_bytes(), _event, path.name, told)
    if one is None:
        return
    if _is_state(one):
        talks.sdk.state(one)
    else:
        yield from talks.take(one, path.name)


def _outputs(path: Path, told: ReadTally) -> Iterator[Event]:
    for number, line in lines_of(path, told):
        place = f"{path.name} line {number}"
        output = decoded(line, _output, place, told)
        if output is None:
            continue
        name = text_of(output.instance_id) or f"{path.stem}-{number}"
        talks = _Talks(name, told)
        talks.events.model, talks.events.provider = model_of(
            dict_of(dict_of(output.metadata).get("llm_config")).get("model")
        )
        talks.events.project = path.parent.name
        why = ""
        for event in _events_of(output.history):
            for found in talks.take(event, place):
                yield found
        for found in talks.end():
            if isinstance(found, Ending):
                why = found.why
            else:
                yield found
        yield Ending(session=name, solved=_solved(output), why=why or text_of(output.error)[:60])


def _events_of(history: Json) -> Iterator[dict[str, Json]]:
    """Events; older versions wrote pairs of them."""
    for one in history if isinstance(history, list) else []:
        if isinstance(one, dict):
            yield dict_of(one)
        else:
            yield from dicts_of(one)


def _solved(output: _Output) -> bool | None:
    reports = (output.report, dict_of(output.test_result).get("report"), {"resolved": output.resolved})
    return next((word for one in reports if isinstance(word := dict_of(one).get("resolved"), bool)), None)


OPENHANDS = Reader(
    name="openhands",
    title="OpenHands conversations",
    claims=_claims,
    read=_read,
    group=_group,
    places=(
        ".openhands/conversations/*/events/*.json",
        ".openhands/conversations/*/base_state.json",
        ".openhands/sessions/*/events/*.json",
        ".openhands-state/sessions/*/events/*.json",
    ),
)
