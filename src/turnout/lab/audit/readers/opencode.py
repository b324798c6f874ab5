"""Sessions of OpenCode: a file a message and a part below `storage`, in newer versions rows of `opencode.db`.

Source of the format: anomalyco/opencode, packages/opencode/src/session/message-v2.ts, session.ts (`getUsage`),
session.sql.ts and storage/json-migration.ts. What a message says of its tokens is only its last call's where an older
version made several calls in one message: the `step-finish` parts tell each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from turnout.chat import Json
from turnout.lab.audit.readers.base import Head, Reader, Source
from turnout.lab.audit.readers.opencode_db import read_database
from turnout.lab.audit.readers.opencode_talk import Info, OpenCodeTalk, Piece, SessionInfo
from turnout.lab.audit.readers.shapes import decoded, text_of
from turnout.lab.audit.readers.streams import LONGEST_ELEMENT
from turnout.lab.audit.records import Event, ReadTally

__all__ = ["OPENCODE"]

_info = msgspec.json.Decoder(Info)
_piece = msgspec.json.Decoder(Piece)
_session = msgspec.json.Decoder(SessionInfo)

SQLITE = b"SQLite format 3\x00"
WAL = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")


def _claims(head: Head) -> bool:
    if head.start.startswith(SQLITE):
        # The schema stands at the beginning: CREATE TABLE `message` (... `data` text ...).
        return "opencode" in head.name.lower() or (b"session_id" in head.start and b"message_id" in head.start)
    if head.start.startswith(WAL) or head.name.endswith(".db-shm"):
        return "opencode" in head.name.rpartition("/")[2].lower()
    first: Json = head.objects[0] if head.objects else head.document
    if isinstance(first, dict):
        return _kind_of(first) is not None
    # A part may be longer than what was looked at: its tool's output.
    start = head.start.lstrip()[:1_000]
    return start.startswith(b"{") and b'"messageID"' in start and b'"sessionID"' in start


def _kind_of(first: dict[str, Json]) -> str | None:
    """Message, part or session: by the names that only OpenCode has."""
    if "messageID" in first and "sessionID" in first and "type" in first:
        return "part"
    if "sessionID" in first and text_of(first.get("role")) in {"user", "assistant"}:
        return "message"
    if "projectID" in first and text_of(first.get("id")).startswith("ses"):
        return "session"
    return None


def _group(paths: Sequence[Path]) -> list[Source]:
    """Every database alone; of files below `storage`, those of a session together, by the folders they lie in."""
    sources: list[Source] = []
    sessions: dict[tuple[Path, str], list[Path]] = {}
    parts: dict[tuple[Path, str], list[Path]] = {}
    owner: dict[tuple[Path, str], str] = {}
    for path in paths:
        root, kind, folder = path.parent.parent.parent, path.parent.parent.name, path.parent.name
        if path.suffix != ".json":
            if not path.name.endswith(("-wal", "-shm")):  # SQLite reads those itself
                sources.append(Source(paths=(path,)))
        elif kind == "part":
            parts.setdefault((root, folder), []).append(path)
        else:
            name = folder if kind == "message" else path.stem
            sessions.setdefault((root, name), []).append(path)
            owner[root, path.stem] = name
    for (root, message), found in parts.items():
        sessions.setdefault((root, owner.get((root, message), message)), []).extend(found)
    return sources + [Source(paths=tuple(sorted(found))) for found in sessions.values()]


def _read(source: Source, told: ReadTally) -> Iterator[Event]:
    first = source.paths[0]
    with first.open("rb") as file:
        start = file.read(len(SQLITE))
    if start == SQLITE:
        yield from read_database(first, told)
    else:
        yield from _files(source, told)


def _files(source: Source, told: ReadTally) -> Iterator[Event]:
    talk = OpenCodeTalk(told)
    messages: list[Info] = []
    parts: dict[str, list[Path]] = {}
    for path in source.paths:
        if path.parent.parent.name == "part":
            parts.setdefault(path.parent.name, []).append(path)
            continue
        raw = _bytes(path, told)
        if raw is None:
            continue
        if path.parent.parent.name == "session":
            if (session := decoded(raw, _session, path.name, told)) is not None:
                talk.about(session)
        elif (info := decoded(raw, _info, path.name, told)) is not None:
            # The names of files were corrected in migrations, what stands within them not always.
            messages.append(msgspec.structs.replace(info, id=path.stem, session_id=path.parent.name))
    for info in sorted(messages, key=OpenCodeTalk.order):
        yield from talk.message(info, list(_pieces(parts.pop(info.id, ()), told)))
    for left in parts.values():
        told.lines += len(left)
        for _ in left:
            told.strange("part without its message")


def _pieces(paths: Sequence[Path], told: ReadTally) -> Iterator[Piece]:
    for path in paths:
        raw = _bytes(path, told)
        if raw is not None and (piece := decoded(raw, _piece, path.name, told)) is not None:
            yield piece


def _bytes(path: Path, told: ReadTally) -> bytes | None:
    told.lines += 1
    try:
        if path.stat().st_size > LONGEST_ELEMENT:
            told.broken(path.name, f"longer than {LONGEST_ELEMENT // 2**20} MiB, skipped")
            return None
        return path.read_bytes()
    except OSError as error:  # one of many files of a session
        told.broken(path.name, error.strerror or error)
        return None


OPENCODE = Reader(
    name="opencode",
    title="OpenCode sessions",
    claims=_claims,
    read=_read,
    group=_group,
    places=(
        ".local/share/opencode/opencode*.db",
        ".local/share/opencode/storage/session/*/*.json",
        ".local/share/opencode/storage/message/*/*.json",
        ".local/share/opencode/storage/part/*/*.json",
    ),
    homes=("XDG_DATA_HOME/opencode/opencode*.db", "XDG_DATA_HOME/opencode/storage"),
)
