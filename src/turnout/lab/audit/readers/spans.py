"""Model calls of traces and tables: put in order of time, those left out that only stand around others, and each given
to its conversation. Bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from turnout.chat import Usage
from turnout.lab.audit.readers.chains import Asked, Conversations
from turnout.lab.audit.records import ReadTally, Step

__all__ = ["Call", "in_order"]

MOST_CALLS = 20_000
MOST_BYTES = 24 * 1024 * 1024
"""So much is held to be put in order. Logs are written when a call ends, or newest first; one that is larger and out of
order over all its length stays so."""

MOST_LINKS = 100_000

AROUND = "span around other model calls"


class Call(Struct, frozen=True, kw_only=True):
    """A span: its place in its trace, and the request that it was, if it was one. `asked` tells the conversation, where
    the request can be seen; else the step's own session stands. `size`: bytes of its source."""

    span: str = ""
    parent: str = ""
    step: Step | None = None
    asked: Asked | None = None
    size: int = 0


def in_order(calls: Iterable[Call], told: ReadTally) -> Iterator[Step]:
    """Their steps by time, what has none where it stood. A span whose usage is the sum of spans below it is no call of
    its own: it was measured twice, by a framework and by the client that it uses. Counted in `told`."""
    talks = Conversations()
    for call in _sifted(calls, told):
        step = call.step
        if step is None:
            continue
        if call.asked is not None:
            place = talks.place(call.asked)
            step = replace(step, session=place.session, agent=place.agent)
        yield step


def _sifted(calls: Iterable[Call], told: ReadTally) -> Iterator[Call]:
    links: OrderedDict[str, str] = OrderedDict()
    held: list[Call] = []
    size = 0
    for call in calls:
        if call.span:
            links[call.span] = call.parent
            if len(links) > MOST_LINKS:
                links.popitem(last=False)
        if call.step is None:
            continue
        held.append(call)
        size += call.size
        if len(held) >= MOST_CALLS or size >= MOST_BYTES:
            # The second half stays: what belongs before it may still come.
            ready = _sorted(held)
            cut = len(ready) // 2 + 1
            yield from _kept(ready[:cut], ready, links, told)
            held, size = ready[cut:], sum(call.size for call in ready[cut:])
    ready = _sorted(held)
    yield from _kept(ready, ready, links, told)


def _sorted(calls: list[Call]) -> list[Call]:
    """By time; what has none stays behind the one that it came after."""
    keys: list[float] = []
    last = 0.0
    for call in calls:
        at = call.step.at if call.step is not None else None
        last = last if at is None else at
        keys.append(last)
    return [calls[i] for i in sorted(range(len(calls)), key=keys.__getitem__)]


def _kept(out: list[Call], held: list[Call], links: dict[str, str], told: ReadTally) -> Iterator[Call]:
    around = _around(held, links)
    for call in out:
        if call.span in around:
            told.strange(AROUND)
        else:
            yield call


def _around(calls: list[Call], links: dict[str, str]) -> set[str]:
    own = {call.span: _tokens(call.step.usage) for call in calls if call.span and call.step is not None}
    below: dict[str, tuple[int, int]] = {}
    for span, (taken, given) in own.items():
        above = links.get(span, "")
        for _ in range(20):
            if not above or above in own:
                break
            above = links.get(above, "")
        if above in own and above != span:
            had = below.get(above, (0, 0))
            below[above] = had[0] + taken, had[1] + given
    return {span for span, sums in below.items() if sums == own[span] and any(sums)}


def _tokens(usage: Usage | None) -> tuple[int, int]:
    return (0, 0) if usage is None else (usage.input or 0, usage.output or 0)
