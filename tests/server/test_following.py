"""What is looked for again and again: a look that fails is not the last."""

import asyncio

from turnout.server.following import following


async def test_a_look_that_fails_is_told_and_tried_again(caplog):
    looks = asyncio.Queue()

    async def look():
        looks.put_nowait(None)
        raise OSError("the disk")

    async with following(look, every_s=0.001):
        for _ in range(3):
            await asyncio.wait_for(looks.get(), 5)
    assert "the disk" in caplog.text
