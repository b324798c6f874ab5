"""Many questions at once on one event loop, within one process: no server, no socket between."""

import asyncio
import sys

from turnout import AsyncGateway
from turnout.errors import TurnoutError

CITIES = ["France", "Italy", "Spain"]


async def main(config: str) -> None:
    async with AsyncGateway(config) as gateway:

        async def ask(country: str) -> str:
            question = [{"role": "user", "content": f"Capital of {country}? One word."}]
            try:
                answer = await gateway.chat({"model": "auto", "messages": question}, latency="batch")
            except TurnoutError as error:  # each knows its code, and whether trying again makes sense
                return f"{error.code}: {error.message}"
            return f"{country}: {answer.text}"

        print(*await asyncio.gather(*map(ask, CITIES)), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "turnout.toml"))
