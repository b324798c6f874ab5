"""Anthropic's own SDK on a gateway in the same process, asynchronously: pip install turnout anthropic."""

import asyncio
import sys

import httpx2
from anthropic import AsyncAnthropic
from anthropic.types import TextBlock

from turnout import AsyncGateway


async def main(config: str) -> None:
    async with AsyncGateway(config) as gateway, httpx2.AsyncClient(transport=gateway.transport()) as http:
        client = AsyncAnthropic(api_key="unused", http_client=http)  # where the config has keys: one of them

        told = await client.messages.create(
            model="auto", max_tokens=50, messages=[{"role": "user", "content": "What is the capital of France?"}]
        )
        print("".join(block.text for block in told.content if isinstance(block, TextBlock)))

        async with client.messages.stream(
            model="auto", max_tokens=50, messages=[{"role": "user", "content": "And once more, streamed?"}]
        ) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)
        print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "turnout.toml"))
