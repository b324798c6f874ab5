"""Which files are logs, of what kind, and which of them belong together: a folder walked, heads looked at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from turnout.errors import InvalidRequest
from turnout.lab.audit.readers import READERS, reader_for
from turnout.lab.audit.readers.base import Reader, Source, head_of

__all__ = ["Found", "Strange", "find", "usual_places"]

NO_LOGS = frozenset({".git", "node_modules", ".venv", "__pycache__"})
"""Folders that hold many files and no logs."""

MOST_STRANGE = 20


class Strange(Struct, kw_only=True):
    """Files that nobody could read: how many, the first names, and those that could not even be opened."""

    files: int = 0
    names: list[str] = []
    unreadable: int = 0
    first_error: str | None = None


class Found(Struct, frozen=True, kw_only=True):
    """The sources of each reader in the order of their paths, and how many bytes they are."""

    sources: tuple[tuple[Reader, Source], ...]
    sizes: tuple[int, ...]
    strange: Strange


def find(paths: Sequence[Path], tell: Callable[[int], None] = lambda _: None) -> Found:
    """The logs among files and below folders. `tell` hears of each file that was looked at. Raises InvalidRequest for
    a path that is not there."""
    strange = Strange()
    by_reader: dict[str, list[Path]] = {}
    for path in _files(paths):
        tell(1)
        try:
            reader = reader_for(head_of(path)) if path.stat().st_size else None
        except OSError as error:
            strange.unreadable += 1
            strange.first_error = strange.first_error or f"{path.name}: {error.strerror or error}"
            continue
        if reader is None:
            strange.files += 1
            if len(strange.names) < MOST_STRANGE:
                strange.names.append(path.name)
            continue
        by_reader.setdefault(reader.name, []).append(path)
    sources = [
        (reader, source)
        for reader in READERS
        if (named := by_reader.get(reader.name))
        for source in (reader.group(named) if reader.group else [Source(paths=(path,)) for path in named])
    ]
    return Found(sources=tuple(sources), sizes=tuple(_size(source) for _, source in sources), strange=strange)


def usual_places(home: Path, env: Mapping[str, str]) -> dict[str, list[Path]]:
    """Where agents keep their logs, as far as there is anything: the reader's title and what lies there."""
    found: dict[str, list[Path]] = {}
    for reader in READERS:
        there = {path for place in reader.places for path in home.glob(place)}
        for variable, _, below in (told.partition("/") for told in reader.homes):
            # Some take several folders, with commas between.
            folders = [Path(folder) for folder in env.get(variable, "").split(",") if folder]
            there |= {path for folder in folders if folder.is_dir() for path in folder.glob(below)}
        if there:
            found[reader.title] = sorted(there)
    return found


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise InvalidRequest(f"there is no file or folder {path}", param=str(path))
        for file in _below(path) if path.is_dir() else [path]:
            if file not in seen:
                seen.add(file)
                yield file


def _below(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):  # links to folders are not followed: they may lead round
        folders[:] = sorted(name for name in folders if name not in NO_LOGS)
        yield from (file for name in sorted(names) if (file := Path(root, name)).is_file())


def _size(source: Source) -> int:
    total = 0
    for path in source.paths:
        try:
            total += path.stat().st_size
        except OSError:  # it has gone since; its reader says so
            continue
    return total
