"""Sessions found again without ids: `python bench/sessions.py TRACES...` sends every recorded step to a session table,
ids stripped, in three orders. Printed are the steps that were not found in the session of the step before, the steps
that landed in another session's, and what finding costs.

Two recordings that are alike word for word up to a step cannot be told apart until they part: in the orders that mix
them their halves may be exchanged, which counts as lost here, and as merged.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec

from turnout.dialects import DIALECTS
from turnout.dialects.ends import said_in, said_of
from turnout.lab.replay import tool_table
from turnout.lab.sessions import RecordedRequest, Session, read_sessions, requests_of
from turnout.routing.affinity import SessionTable
from turnout.routing.identity import Hints

CHAT = DIALECTS["openai-chat"]

Running = tuple[str, Iterator[RecordedRequest]]


class Walk:
    """Sends steps, and counts."""

    def __init__(self) -> None:
        self.table = SessionTable(clock=time.monotonic)
        self.steps = self.lost = self.merged = 0
        self.spent_s = 0.0
        self._found: dict[str, str] = {}
        self._owner: dict[str, str] = {}

    def go(self, name: str, requests: Iterator[RecordedRequest]) -> bool:
        """One step of a session; False where it is over."""
        recorded = next(requests, None)
        if recorded is None:
            return False
        body = {"model": "auto", "messages": recorded.messages, **({"tools": recorded.tools} if recorded.tools else {})}
        outline = CHAT.outline(msgspec.json.encode(body))
        begun = time.perf_counter()
        view = self.table.locate("", Hints(), outline, said=partial(said_in, CHAT, outline))
        self.spent_s += time.perf_counter() - begun
        if view.alike:
            answer = msgspec.json.encode({"model": "m", "messages": [recorded.out]})
            self.table.answered("", view, said_of(CHAT.decode_request(answer).messages[0].parts))
        self.steps += 1
        self.lost += self._found.setdefault(name, view.id) != view.id
        self.merged += self._owner.setdefault(view.id, name) != name
        return True


def walked(sessions: list[Session], order: str, paths: list[Path]) -> Walk:
    walk, draw, tools = Walk(), random.Random(1), tool_table(paths)  # noqa: S311 (seeded on purpose)
    live: list[Running] = [(session.id, requests_of(session, tools)) for session in sessions]
    while live:
        if order == "one after another":
            while walk.go(*live[0]):
                pass
            live.pop(0)
        elif order == "one step of each in turn":
            live = [running for running in live if walk.go(*running)]
        else:
            running = draw.choice(live)
            if not walk.go(*running):
                live.remove(running)
    return walk


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]]
    sessions = [session for path in paths for session in read_sessions(path)]
    for order in ("one after another", "one step of each in turn", "at random"):
        walk = walked(sessions, order, paths)
        print(
            f"{order}: {len(sessions)} sessions, {walk.steps:,} steps; {walk.lost} lost, {walk.merged} merged; "
            f"{walk.spent_s / max(1, walk.steps) * 1e6:.0f} us a step"
        )


if __name__ == "__main__":
    main()
