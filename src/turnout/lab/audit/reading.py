"""All logs read side by side in processes, put together in order, copies in other files counted once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from itertools import pairwise

from msgspec import Struct, field

from turnout.lab.audit.digest import Digest, digest_of
from turnout.lab.audit.pricing import Pricer
from turnout.lab.audit.readers import READERS
from turnout.lab.audit.readers.base import Reader, Source
from turnout.lab.audit.records import ReadTally
from turnout.lab.audit.sources import Found
from turnout.lab.audit.sums import Sums
from turnout.lab.audit.thread import Track

__all__ = ["Reading", "SourceTally", "read_all"]

JOB_BYTES = 8 * 1024 * 1024
"""Small files are read this much at once: handing work over costs more than reading it."""

AHEAD = 3
"""Jobs handed out beyond what workers do now: results that wait take memory."""

MOST_TRACKED_STEPS = 400_000
"""Steps of conversations kept for what-if pricing, forty bytes each; of more logs the first are taken."""


class SourceTally(Struct, kw_only=True):
    """One kind of log: what was read of it."""

    title: str
    files: int = 0
    bytes: int = 0
    steps: int = 0
    threads: int = 0
    tally: ReadTally = field(default_factory=ReadTally)


class Reading(Struct, kw_only=True):
    """Everything that was read. `tracks_left_out`: conversations beyond what is kept for what-if pricing."""

    sums: Sums = field(default_factory=Sums)
    tracks: list[Track] = field(default_factory=list[Track])
    sources: dict[str, SourceTally] = field(default_factory=dict[str, SourceTally])
    threads: int = 0
    steps: int = 0
    tracked_steps: int = 0
    tracks_left_out: int = 0


class _Job(Struct, frozen=True, kw_only=True):
    reader: str
    sources: tuple[Source, ...]
    bytes: int
    keep_text: bool


def read_all(
    found: Found, pool: Executor, workers: int, tell: Callable[[int], None], *, keep_text: bool = False
) -> Reading:
    """Read `found` in `pool`. `tell` hears of bytes that are done. A file that cannot be read is counted, and never
    ends the others."""
    reading = Reading()
    seen: set[int] = set()
    waiting: deque[tuple[_Job, Future[Digest]]] = deque()
    for job in _jobs(found, keep_text=keep_text):
        waiting.append((job, pool.submit(_work, job, frozenset())))
        if len(waiting) >= workers + AHEAD:
            _take(reading, seen, *waiting.popleft(), tell=tell)
    while waiting:
        _take(reading, seen, *waiting.popleft(), tell=tell)
    return reading


def _take(reading: Reading, seen: set[int], job: _Job, done: Future[Digest], *, tell: Callable[[int], None]) -> None:
    digest = done.result()
    copies = digest.ids & seen
    if copies:  # rare: a session that was continued in another file. Read again without what is known already
        digest = _work(job, frozenset(copies))
    seen |= digest.ids
    kind = reading.sources.setdefault(job.reader, SourceTally(title=_reader(job.reader).title))
    kind.files += sum(len(source.paths) for source in job.sources)
    kind.bytes += job.bytes
    kind.steps += digest.steps
    kind.threads += digest.threads
    kind.tally.add(digest.tally)
    reading.steps += digest.steps
    reading.threads += digest.threads
    reading.sums.add(digest.sums)
    for track in digest.tracks:
        steps = len(track.paid_nano_usd) // 8
        if reading.tracked_steps + steps > MOST_TRACKED_STEPS:
            reading.tracks_left_out += 1
            continue
        reading.tracked_steps += steps
        reading.tracks.append(track)
    tell(job.bytes)


def _jobs(found: Found, *, keep_text: bool) -> Iterator[_Job]:
    batch: list[Source] = []
    size = 0
    ends = [*(reader.name for reader, _ in found.sources), ""]
    for (_, source), bytes_, (name, following) in zip(found.sources, found.sizes, pairwise(ends), strict=True):
        batch.append(source)
        size += bytes_
        if size >= JOB_BYTES or name != following:
            yield _Job(reader=name, sources=tuple(batch), bytes=size, keep_text=keep_text)
            batch, size = [], 0


def _reader(name: str) -> Reader:
    return next(reader for reader in READERS if reader.name == name)


def _work(job: _Job, skip: frozenset[int]) -> Digest:
    """One job, in whatever process: its sources as one digest."""
    reader, pricer, whole = _reader(job.reader), Pricer(), Digest(tally=ReadTally(), sums=Sums())
    for source in job.sources:
        try:
            digest = digest_of(reader, source, pricer, skip=skip | whole.ids, keep_text=job.keep_text)
        except OSError as error:
            whole.tally.broken(source.name, error.strerror or error)
            continue
        except Exception as error:  # noqa: BLE001 (one file that defeats its reader is told and does not end the rest)
            whole.tally.broken(source.name, f"its reader failed: {type(error).__name__}")
            continue
        whole.tally.add(digest.tally)
        whole.sums.add(digest.sums)
        whole.tracks += digest.tracks
        whole.ids |= digest.ids
        whole.steps += digest.steps
        whole.threads += digest.threads
    return whole
