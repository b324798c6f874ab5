"""What a request costs alone and beside others: python bench/together.py

Microseconds of the event loop's CPU (thread time, the median of rounds that take turns) for a 1 KB request of an
agent's conversation with everything switched on, asked one after the other, 8 and 32 at a time. No sockets: the
provider is a function that answers at once, so that what is compared is our own code. Where many wait, each phase of a
request runs for all of them in turn (`turnout/turns.py`), and only the first finds its code and data out of the core's
cache.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent))

from gateways.bodies import Conversation, conversation
from gateways.everything import everything
from instructions import ANSWER

from turnout.call import Call
from turnout.config import parse_config
from turnout.dialects import DIALECTS
from turnout.engine import Engine, build_engine
from turnout.pipeline import Pipeline
from turnout.providers.operations import ChatOperation
from turnout.providers.transport import UpstreamRequest
from turnout.turns import next_turn

AT_ONCE = (1, 8, 32)
ROUNDS = 7
REQUESTS = 192
"""Of a round; each width divides it."""


class Answered:
    """An UpstreamResponse that is there already."""

    status = 200
    headers = (("content-type", "application/json"),)

    async def read(self, limit: int) -> bytes:  # noqa: ARG002 - an UpstreamResponse
        return ANSWER

    async def aclose(self) -> None:
        """Nothing is open."""


class Provider:
    """A Transport that asks nobody."""

    async def send(self, request: UpstreamRequest) -> Answered:  # noqa: ARG002 - a Transport
        return Answered()

    async def aclose(self) -> None:
        """Nothing is open."""


class Agents:
    """So many conversations, a step of each at a time."""

    def __init__(self, pipeline: Pipeline, talk: Conversation, width: int) -> None:
        self._pipeline, self._talk, self._width = pipeline, talk, width
        self._steps = len(talk.steps) + 1
        self._asked = 0

    async def step(self) -> None:
        """All of them ask once."""
        first, step = divmod(self._asked, self._steps)
        self._asked += 1
        base = (self._width * 1_000 + first) * 100
        await asyncio.gather(*[self._ask(base + number, step) for number in range(self._width)])

    async def _ask(self, number: int, step: int) -> None:
        call = Call(
            request_id=f"r{number}-{step}",
            operation=ChatOperation(DIALECTS["openai-chat"]),
            body=self._talk.body(number, step),
            headers={},
            started_s=time.monotonic(),
        )
        reply = await self._pipeline.answer(call)
        await next_turn()
        reply.books()


async def measured(engine: Engine) -> dict[int, float]:
    """Microseconds a request, by how many are asked at once."""
    talk = conversation("auto", 1_000)
    agents = {width: Agents(engine.pipeline, talk, width) for width in AT_ONCE}
    took: dict[int, list[float]] = {width: [] for width in AT_ONCE}
    for _ in range(ROUNDS + 1):
        for width, them in agents.items():
            begun = time.thread_time()
            for _ in range(REQUESTS // width):
                await them.step()
            took[width].append((time.thread_time() - begun) / REQUESTS * 1e6)
    return {width: statistics.median(us[1:]) for width, us in took.items()}


async def figures() -> dict[int, float]:
    with TemporaryDirectory() as folder:
        engine = await build_engine(parse_config(everything("http://127.0.0.1:9/v1", Path(folder)), {}), {})
        provider = engine.pipeline.providers["lab"]
        engine.pipeline.providers = {"lab": replace(provider, transport=Provider())}
        try:
            return await measured(engine)
        finally:
            await engine.aclose()


def main() -> None:
    print(f"{'at once':>8} {'us a request':>13}")
    for width, us in asyncio.run(figures()).items():
        print(f"{width:8} {us:13.0f}")


if __name__ == "__main__":
    main()
