"""Events of one source into sums and tracks: threads told apart, copies left out, memory bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set as AbstractSet

import xxhash
from msgspec import Struct, field
from msgspec.structs import replace

from turnout.lab.audit.pricing import Pricer
from turnout.lab.audit.readers.base import Reader, Source
from turnout.lab.audit.records import Ending, ReadTally, Step
from turnout.lab.audit.sums import Cell, SessionSum, Sums
from turnout.lab.audit.thread import Thread, Track

__all__ = ["Digest", "digest_of"]

MOST_THREADS = 5_000
"""Conversations held open at once; the one that was quiet longest is taken as over."""


class Digest(Struct, kw_only=True):
    """What one source came to. `ids`: hashes of its answers' names, for copies elsewhere; `threads`: conversations."""

    tally: ReadTally
    sums: Sums
    tracks: list[Track] = field(default_factory=list[Track])
    ids: set[int] = field(default_factory=set[int])
    steps: int = 0
    threads: int = 0


def digest_of(
    reader: Reader, source: Source, pricer: Pricer, *, skip: AbstractSet[int] = frozenset(), keep_text: bool = False
) -> Digest:
    """Everything that `source` holds, but the answers in `skip`. Raises OSError where it cannot be read."""
    found = Digest(tally=ReadTally(), sums=Sums())
    threads: OrderedDict[tuple[str, str], Thread] = OrderedDict()
    for event in reader.read(source, found.tally):
        if isinstance(event, Ending):
            _ended(event, found.sums)
            continue
        if _copied(event, found, skip):
            continue
        key = event.session, event.agent
        thread = threads.get(key)
        if thread is None:
            thread = threads[key] = Thread(event, pricer, keep_text=keep_text)
            found.threads += 1
            if len(threads) > MOST_THREADS:
                _end(threads.popitem(last=False)[1], found)
        else:
            threads.move_to_end(key)
        thread.step(_placed(event, reader), found.sums)
        found.steps += 1
    for thread in threads.values():
        _end(thread, found)
    return found


def _ended(ending: Ending, sums: Sums) -> None:
    told = sums.sessions.setdefault(ending.session, SessionSum(session=ending.session))
    told.solved, told.why = ending.solved, ending.why
    if ending.cost_nano_usd is not None:
        # A log that tells what a session cost, and not each of its calls.
        cell = sums.cells.setdefault((told.project, "", told.model or "unknown"), Cell())
        cell.add(Cell(logged=told.calls, logged_nano_usd=ending.cost_nano_usd))


def _copied(step: Step, found: Digest, skip: AbstractSet[int]) -> bool:
    if not step.id:
        return False
    told = xxhash.xxh3_64_intdigest(step.id.encode("utf-8", "surrogatepass"))
    if told in skip or told in found.ids:
        found.sums.copies += 1
        return True
    found.ids.add(told)
    return False


def _placed(step: Step, reader: Reader) -> Step:
    if step.provider or not reader.provider:
        return step
    return replace(step, provider=reader.provider)


def _end(thread: Thread, found: Digest) -> None:
    track = thread.end(found.sums)
    if track is not None:
        found.tracks.append(track)
