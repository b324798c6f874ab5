"""OpenAI's own SDK on a gateway in the same process: pip install turnout openai."""

import sys

import httpx2
from openai import APIStatusError, OpenAI

from turnout import Gateway

ASK = "What is the capital of France? One word."


def main(config: str) -> None:
    with Gateway(config) as gateway, httpx2.Client(transport=gateway.transport()) as http:
        client = OpenAI(api_key="unused", http_client=http)  # where the config has keys: one of them

        told = client.responses.create(model="auto", input=ASK)
        print(told.output_text)

        stream = client.chat.completions.create(
            model="auto",
            messages=[{"role": "user", "content": ASK}],
            stream=True,
            extra_headers={"x-turnout-session": "example-2", "x-turnout-tags": "feature=trivia"},
        )
        for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="", flush=True)
        print()

        try:
            client.responses.create(model="auto", input=ASK, extra_headers={"x-turnout-max-cost-usd": "0"})
        except APIStatusError as error:
            print(error.status_code, error.code, error.message)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "turnout.toml")
