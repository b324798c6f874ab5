"""What a conversation's next request shows of the answer before it, without asking anybody. Pure.

Language-free: shapes that machines write, and how alike two texts are; no words are looked for.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from turnout.chat import Message, Text, ToolCall, ToolResult
from turnout.routing.outcomes import Source
from turnout.routing.trajectory import HARD

__all__ = ["Shown", "alike", "malformed", "rephrased", "shingles", "spoken", "tells", "tool_score"]

HEAD, TAIL = 150, 75
"""Characters of a turn that are compared: where people begin, and where a question stands behind a long text."""

LEAST_BYTES = 24
"""Shorter turns say too little to be asked again: `go on` twice is no complaint. Bytes, for scripts differ."""

REPHRASED = 0.6
"""Share of the shingles of both turns that they have in common, from which one is the other in new words (Jaccard, as
Broder 1997 for near-duplicates). Set, not fitted: no public log marks such turns."""


class Shown(Struct, frozen=True, kw_only=True):
    """What a request shows of the answer before it. `severities`: of the tool results that answer its calls;
    `malformed`: one of these calls had arguments that are no JSON; `recovered`: a call that had failed went well now;
    `again`: the very same messages were sent once more; `rephrased`: the user said nearly the same again."""

    severities: Sequence[float] = ()
    malformed: bool = False
    recovered: bool = False
    again: bool = False
    rephrased: bool = False


def tells(shown: Shown) -> list[tuple[Source, float]]:
    """Who says what (0..1) of the answer; each source at most once. A user who asks again after a tool has answered
    asks something else: then nothing is held against it."""
    said: list[tuple[Source, float]] = []
    if (score := tool_score(shown.severities, malformed=shown.malformed)) is not None:
        said.append(("tool", score))
    if shown.severities and shown.recovered:
        said.append(("tests", 1.0))
    if not shown.severities and (shown.again or shown.rephrased):
        said.append(("retry", 0.0))
    return said


def tool_score(severities: Sequence[float], *, malformed: bool = False) -> float | None:
    """Whether the tools took an answer's calls: 0 where one broke or could not be read, 1 where all went well. None
    where there was none, or where a command ended with status 1 (a search that found nothing, tests that fail): the
    call was good, and what it found says nothing of it."""
    if not severities:
        return None
    worst = max(severities)
    if worst >= HARD or malformed:
        return 0.0
    return None if worst else 1.0


def malformed(messages: Iterable[Message]) -> bool:
    """Whether a tool was called with arguments that are no JSON, where they should be."""
    for message in messages:
        for part in message.parts:
            if isinstance(part, ToolCall) and not part.freeform and not _is_json(part.arguments):
                return True
    return False


def _is_json(text: str) -> bool:
    if not text:  # some APIs leave out what is empty
        return True
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True


def spoken(messages: Sequence[Message]) -> str:
    """The text of the newest turn where a user has it; nothing where a tool's result stands in it."""
    if not messages or messages[-1].role != "user":
        return ""
    parts = messages[-1].parts
    if ToolResult in map(type, parts):
        return ""
    return "\n".join(part.text for part in parts if isinstance(part, Text))


def shingles(text: str) -> array[int]:
    """Hashes of a turn's head and tail, three characters each (in Chinese a phrase, in European languages a syllable):
    no text, and meaningful in this process alone. Empty for a turn that is too short to compare."""
    ends = text if len(text) <= 4 * (HEAD + TAIL) else text[: 2 * HEAD] + "\n" + text[-2 * TAIL :]
    plain = " ".join(ends.casefold().split())
    if len(plain.encode("utf-8", "surrogatepass")) < LEAST_BYTES:
        return array("q")
    if len(plain) > HEAD + TAIL:
        plain = plain[:HEAD] + plain[-TAIL:]
    return array("q", list(set(map(hash, zip(plain, plain[1:], plain[2:], strict=False)))))


def alike(one: Sequence[int], other: Sequence[int]) -> float:
    """How much two turns have in common, 0..1 (Jaccard of their shingles); 0 where one is empty."""
    if not one or not other:
        return 0.0
    mine, theirs = set(one), set(other)
    both = len(mine & theirs)
    return both / (len(mine) + len(theirs) - both)


def rephrased(before: Sequence[int], now: Sequence[int]) -> bool:
    """Whether a user's turn is the one before in the same or other words."""
    return alike(before, now) >= REPHRASED
