"""How many are served at once, and who waits."""

import asyncio

import pytest

from turnout.errors import NoCapacity
from turnout.server.admission import LEAST, Admission


async def test_one_more_than_the_limit_waits_for_its_turn():
    admission = Admission(most=1, wait_s=5)
    await admission.enter()
    waiting = asyncio.create_task(admission.enter())
    await asyncio.sleep(0)
    assert not waiting.done()
    admission.leave()
    await waiting
    assert admission.in_flight == 1


async def test_who_waits_too_long_is_told_to_come_again():
    admission = Admission(most=1, wait_s=0.01)
    await admission.enter()
    with pytest.raises(NoCapacity) as caught:
        await admission.enter()
    assert caught.value.retry_after == 1
    admission.leave()
    await admission.enter()
    assert admission.in_flight == 1


async def test_the_queue_is_short():
    admission = Admission(most=2, wait_s=5)
    waiting = [asyncio.create_task(admission.enter()) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(NoCapacity):
        await admission.enter()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_caller_who_leaves_the_queue_takes_no_place():
    admission = Admission(most=3, wait_s=5)
    for _ in range(3):
        await admission.enter()
    waiting = [asyncio.create_task(admission.enter()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    admission.leave()
    waiting[1].cancel()  # its place has come, and it leaves in the same moment
    await asyncio.gather(*waiting, return_exceptions=True)
    assert waiting[2].exception() is None
    assert admission.in_flight == 3


def test_the_limit_falls_while_the_loop_is_late_and_rises_again():
    admission = Admission(most=1_000)
    admission.in_flight = 500
    admission.tick(0.4)
    assert admission.limit == 400
    for _ in range(50):
        admission.tick(0.4)
    assert admission.limit == LEAST
    admission.tick(0.1)
    assert admission.limit == LEAST
    for _ in range(50):
        admission.tick(0.01)
    assert admission.limit == 1_000


async def test_streams_that_have_begun_take_no_place_but_one_of_all():
    admission = Admission(most=40, wait_s=0.05)
    admission.limit = LEAST
    for _ in range(LEAST):
        await admission.enter()
        admission.begun()
    await admission.enter()  # no stream is in the way
    admission.tick(0.4)
    assert admission.limit == LEAST
    for _ in range(40 - LEAST - 1):
        await admission.enter()
    with pytest.raises(NoCapacity):
        await admission.enter()
    admission.leave(streamed=True)
    await admission.enter()
    assert (admission.in_flight, admission.streaming) == (40, LEAST - 1)
