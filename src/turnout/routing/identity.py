"""Who is talking: session, mode and tags of a request, read from headers and body hints. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import xxhash
from msgspec import Struct

from turnout.chat import RequestOutline

__all__ = ["Chain", "Hints", "agent_hash", "message_digests", "parse_tags", "read_hints"]

# In this order (INTERFACE: session identity when not given). Between the two tables stand the body's hints.
_EXPLICIT_HEADER = "x-turnout-session"
_CLAUDE_CODE_HEADER = "x-claude-code-session-id"
_SESSION_HEADERS = (
    "session-id",
    "session_id",
    "x-session-id",
    "x-session-affinity",
    "x-opencode-session",
    "x-litellm-trace-id",
)
_NAMING = frozenset(_SESSION_HEADERS)
# Bounded spaces: a caller's megabyte of them must not be scanned again from each.
_VALUE = rb'"cache_control"\s{0,8}:\s{0,8}(?:\{[^{}]{0,200}\}|null)'
_MARK = re.compile(rb",\s{0,8}" + _VALUE + rb"|" + _VALUE + rb"\s{0,8},?")
_ONE_TEXT = re.compile(
    rb'"content"\s*:\s*\[\s*\{\s*"type"\s*:\s*"text"\s*,\s*"text"\s*:\s*("(?:[^"\\]|\\.)*")\s*\}\s*\]'
)
DIGEST_BYTES = 16
_MAX_ID = 200
_MAX_TAGS = 20


class Hints(Struct, frozen=True, kw_only=True):
    """What the caller said of itself. `session` None: nothing was said, use the chain of prefix hashes;
    `session_source` names where it was found."""

    session: str | None = None
    session_source: str = "prefix"
    mode: str | None = None
    tags: dict[str, str] = {}
    warnings: tuple[str, ...] = ()


class _Conversation(Struct):
    id: str | None = None


def read_hints(headers: Mapping[str, str], outline: RequestOutline) -> Hints:
    """Session, mode and tags. `headers` has lower-case names. Values too long are cut, never refused:
    a label must not break an agent."""
    metadata = outline.metadata
    session, source = _session(headers, outline)
    told = headers.get("x-turnout-tags")
    tags = parse_tags(told) if told else {}
    meta_tags: Any = metadata.get("tags")
    if isinstance(meta_tags, str):
        tags = {**parse_tags(meta_tags), **tags}
    elif isinstance(meta_tags, dict):
        pairs = cast("dict[str, object]", meta_tags)
        tags = {**{k[:_MAX_ID]: str(v)[:_MAX_ID] for k, v in list(pairs.items())[:_MAX_TAGS]}, **tags}
    mode: Any = headers.get("x-turnout-mode") or metadata.get("mode")
    return Hints(
        session=session[:_MAX_ID] if session else None,
        session_source=source if session else "prefix",
        mode=mode[:_MAX_ID] if isinstance(mode, str) and mode else None,
        tags=tags,
    )


def _session(headers: Mapping[str, str], outline: RequestOutline) -> tuple[str | None, str]:
    if found := headers.get(_EXPLICIT_HEADER):
        return found, _EXPLICIT_HEADER
    metadata = outline.metadata
    given: Any = metadata and (metadata.get("session") or metadata.get("session_id"))
    if isinstance(given, str) and given:
        return given, "metadata.session"
    if found := headers.get(_CLAUDE_CODE_HEADER):
        return found, _CLAUDE_CODE_HEADER
    if metadata and (found := _session_in_user_id(metadata.get("user_id"))):
        return found, "metadata.user_id"
    if not _NAMING.isdisjoint(headers):
        for name in _SESSION_HEADERS:
            if found := headers.get(name):
                return found, name
    if outline.prompt_cache_key:
        return outline.prompt_cache_key, "prompt_cache_key"
    if found := _conversation(outline.fields.get("conversation")):
        return found, "conversation"
    return None, "prefix"


def _conversation(raw: msgspec.Raw | None) -> str | None:
    """The id of a conversation that the Responses API keeps: a string, or an object with an `id`."""
    if raw is None:
        return None
    try:
        told = msgspec.json.decode(raw, type=str | _Conversation | None)
    except (msgspec.DecodeError, RecursionError):
        return None  # whoever serves the request will say what is wrong
    return told.id if isinstance(told, _Conversation) else told


def _session_in_user_id(user_id: object) -> str | None:
    """The session inside Anthropic's `metadata.user_id` as Claude Code writes it: either
    `user_<hash>_account_<id>_session_<uuid>` or a JSON object with `session_id`."""
    if not isinstance(user_id, str):
        return None
    if user_id.startswith("{"):
        try:
            told = msgspec.json.decode(user_id, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            return None
        session = told.get("session_id")
        return session if isinstance(session, str) and session else None
    _, marker, session = user_id.rpartition("_session_")
    return session if marker and session else None


def parse_tags(text: str) -> dict[str, str]:
    """`feature=search,team=core` as a dict; a tag without `=` has the value `true`."""
    tags: dict[str, str] = {}
    for item in text.split(",")[:_MAX_TAGS]:
        name, has_value, value = item.strip().partition("=")
        if name:
            tags[name.strip()[:_MAX_ID]] = value.strip()[:_MAX_ID] if has_value else "true"
    return tags


def agent_hash(outline: RequestOutline) -> str:
    """Names the (sub-)agent within a session: a hash of system text and tools, 16 hex digits."""
    digest = xxhash.xxh3_64()
    for raw in outline.prefix:
        digest.update(memoryview(raw) if outline.caches is None else _unmarked(bytes(raw)))
    for role, raw in zip(outline.roles, outline.messages, strict=True):
        if role not in {"system", "developer"}:
            break
        digest.update(memoryview(raw))
    return digest.hexdigest()


def message_digests(outline: RequestOutline, known: Sequence[bytes] | None = None) -> Sequence[bytes]:
    """One hash a message, the same wherever the client puts its cache marks (they move on with every step, and some
    clients write a marked text as a list of one block and an unmarked one as a string). `known`: those of the messages
    as they are, where they were made already."""
    if outline.caches is None:
        return known or [xxhash.xxh3_128_digest(memoryview(raw)) for raw in outline.messages]
    return [xxhash.xxh3_128_digest(_unmarked(bytes(raw))) for raw in outline.messages]


def _unmarked(raw: bytes) -> bytes:
    bare = _MARK.sub(b"", raw) if b'"cache_control"' in raw else raw
    # One block of text alone: then the list is what its text is.
    return _ONE_TEXT.sub(rb'"content":\1', bare) if bare.count(b'"type"') == 1 else bare


class Chain:
    """One hash a message, each over everything up to it: equal hashes mean equal prefixes. Made where they are asked
    for: of a conversation that goes on, only the newest few are. `digests` have `DIGEST_BYTES` each."""

    __slots__ = ("_count", "_made", "_seed", "_whole")

    def __init__(self, seed: str, digests: Sequence[bytes]) -> None:
        told = seed.encode()
        self._seed, self._count = len(told), len(digests)
        self._whole = told + b"".join(digests)
        self._made: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> bytes:
        at = index + self._count if index < 0 else index
        made = self._made.get(at)
        if made is None:
            if not 0 <= at < self._count:
                raise IndexError(index)
            made = self._made[at] = xxhash.xxh3_128_digest(self._whole[: self._seed + DIGEST_BYTES * (at + 1)])
        return made
