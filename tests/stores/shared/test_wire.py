"""The connection that all callers share: how long a call waits at most, in the queue too."""

import asyncio

import pytest

from turnout.errors import NoCapacity

wire = pytest.importorskip("turnout.stores.shared.wire")


class Connection:
    async def disconnect(self, nowait=False):
        pass


async def test_whoever_waits_behind_many_quick_answers_is_refused_at_the_deadline(monkeypatch):
    async def connect():
        return Connection()

    async def talk(_, commands):
        await asyncio.sleep(0.015)  # each is sooner there than a part of the deadline is over
        return [b"x" for _ in commands]

    monkeypatch.setattr(wire, "talk", talk)
    monkeypatch.setattr(wire, "BATCH", 1)
    made = wire.Wire(connect, deadline_s=0.2)
    await made.start(1)
    try:
        told = await asyncio.gather(*(made.ask([("GET", "x")]) for _ in range(60)), return_exceptions=True)
    finally:
        await made.aclose()
    answered = [reply for reply in told if reply == [b"x"]]
    assert 2 < len(answered) < 30
    assert all(isinstance(error, NoCapacity) for error in told[len(answered) :])
