"""The gateway inside a program: ask in a client's format, stream, say what a call is for, see what it cost."""

import sys

from turnout import Gateway
from turnout.errors import BudgetExhausted

ASK = [{"role": "user", "content": "What is the capital of France? One word."}]


def main(config: str) -> None:
    with Gateway(config) as gateway:
        answer = gateway.chat({"model": "auto", "messages": ASK}, feature="trivia", session="example-1")
        print(answer.text, "by", answer.made.model, "for", answer.made.cost_usd, "USD")

        with gateway.messages.stream({"model": "auto", "messages": ASK, "max_tokens": 50}) as stream:
            for piece in stream.text():
                print(piece, end="", flush=True)
        print()
        record = gateway.record(stream.made.request_id)
        print(record.output_tokens if record else None, "tokens out")

        try:
            gateway.chat({"model": "auto", "messages": ASK}, max_cost_usd=0)
        except BudgetExhausted as error:
            print("refused:", error.message)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "turnout.toml")
