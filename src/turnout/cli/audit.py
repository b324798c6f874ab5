"""`turnout audit`: where the tokens of agents' logs went, and what would have been saved; nobody is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from turnout.errors import InvalidRequest
from turnout.lab.audit.build import build_report
from turnout.lab.audit.reading import read_all
from turnout.lab.audit.recommend import recommended
from turnout.lab.audit.report import Report
from turnout.lab.audit.screen import show
from turnout.lab.audit.sources import Found, find, usual_places
from turnout.lab.audit.thread import Track
from turnout.lab.audit.whatif import Otherwise, otherwise

__all__ = ["add_audit", "audit"]

WIDTH = 110
"""Of what is piped."""

STEPS_A_JOB = 10_000
"""Of what-if pricing."""


def add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="*", metavar="PATH", help="logs, or folders of them (default: the usual places)")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.add_argument("--html", metavar="FILE", help="write a page with plots, which loads nothing from elsewhere")
    parser.add_argument("--recommend", action="store_true", help="print a turnout.toml that carries out what was found")
    parser.add_argument(
        "--with-text",
        action="store_true",
        help="names of folders and sessions in full, and how sessions began; else shapes and hashes only",
    )


def audit(args: argparse.Namespace) -> int:
    """Read, sum, print. Raises InvalidRequest."""
    errors = Console(stderr=True)
    paths = [Path(path) for path in args.paths] or _usual(errors)
    workers = max(1, os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as progress,
    ):
        looking = progress.add_task("looking for logs", total=None)
        found = find(paths, lambda n: progress.advance(looking, n))
        _demand(found, paths)
        report = _report(found, pool, workers, progress, with_text=args.with_text)
    _write(report, args)
    return 0


def _usual(errors: Console) -> list[Path]:
    """Where agents keep their logs; said what is there."""
    places = usual_places(Path.home(), os.environ)
    if not places:
        raise InvalidRequest("no agent's logs are in their usual places; name a file or a folder: turnout audit PATH")
    for title, paths in places.items():
        errors.print(f"{title}: {len(paths):,} found", style="dim", markup=False, highlight=False)
    return [path for paths in places.values() for path in paths]


def _demand(found: Found, paths: Sequence[Path]) -> None:
    if found.sources:
        return
    strange = found.strange
    why = (
        f"{strange.files:,} files are of no known kind ({', '.join(strange.names[:3])})" if strange.files else "no file"
    )
    if strange.unreadable:
        why += f"; {strange.unreadable:,} could not be opened ({strange.first_error})"
    raise InvalidRequest(f"no log of an agent in {', '.join(map(str, paths))}: {why}. docs/audit.md lists what is read")


def _report(found: Found, pool: Executor, workers: int, progress: Progress, *, with_text: bool) -> Report:
    reading_bar = progress.add_task("reading", total=sum(found.sizes) or None)
    reading = read_all(found, pool, workers, lambda n: progress.advance(reading_bar, n), keep_text=with_text)
    measured = [track for track in reading.tracks if not track.estimated]
    assumed = not measured
    pricing = progress.add_task("pricing otherwise", total=len(measured or reading.tracks))
    priced = Otherwise()
    for tracks, done in [(part, pool.submit(otherwise, part)) for part in _jobs(measured or reading.tracks)]:
        priced.add(done.result())
        progress.advance(pricing, len(tracks))
    return build_report(reading, found.strange, priced, assumed=assumed, now=datetime.now(UTC), with_text=with_text)


def _jobs(tracks: Sequence[Track]) -> Iterator[list[Track]]:
    batch: list[Track] = []
    steps = 0
    for track in tracks:
        batch.append(track)
        steps += len(track.paid_nano_usd) // 8
        if steps >= STEPS_A_JOB:
            yield batch
            batch, steps = [], 0
    if batch:
        yield batch


def _write(report: Report, args: argparse.Namespace) -> None:
    if args.html:
        from turnout.lab.audit.page import page_of

        try:
            Path(args.html).write_text(page_of(report), encoding="utf-8")
        except OSError as error:
            raise InvalidRequest(f"cannot write {args.html}: {error.strerror}", param="--html") from error
        print(f"{args.html} written", file=sys.stderr)
    if args.recommend:
        sys.stdout.write(recommended(report))
    elif args.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    elif not args.html:
        show(report, Console(width=None if sys.stdout.isatty() else WIDTH))
