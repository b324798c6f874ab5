"""Run a folder of recorded provider traffic through the wire formats and count what comes back as it was.

    python tools/check_recordings.py FOLDER     # with FOLDER/openai-chat/*.json, FOLDER/anthropic-messages/*.json

Same format: requests and whole answers as equal JSON (null and empty values aside), streams as the same bytes.
Other format: texts, tool calls with arguments, total input and output tokens are kept.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, cast

from turnout.chat import ChatResponse, StreamError, Text, ToolCall, collect
from turnout.dialects import DIALECTS
from turnout.dialects.base import Dialect
from turnout.errors import TurnoutError


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {k: plain(v) for k, v in items if v not in (None, [], "")}
    if isinstance(value, list):
        return [plain(v) for v in cast("list[Any]", value)]
    return value


def said(response: ChatResponse) -> object:
    text = "".join(p.text for p in response.parts if isinstance(p, Text))
    calls = [(p.name, json.loads(p.arguments or "{}")) for p in response.parts if isinstance(p, ToolCall)]
    return text, calls, (response.usage.input, response.usage.output) if response.usage else None


def read_stream(dialect: Dialect, raw: bytes) -> ChatResponse | StreamError:
    decoder = dialect.stream_decoder()
    events = decoder.feed(raw) + decoder.close()
    failed = [event for event in events if isinstance(event, StreamError)]
    return failed[0] if failed else collect(events)


def check_request(dialect: Dialect, request: Any) -> bool:
    body = json.dumps(request).encode()
    dialect.patch_request(dialect.outline(body), "m")
    return plain(json.loads(dialect.encode_request(dialect.decode_request(body)).body)) == plain(request)


def check_whole(dialect: Dialect, other: Dialect, raw: bytes) -> tuple[bool, bool]:
    response = dialect.decode_response(raw)
    same = plain(json.loads(dialect.encode_response(response).body)) == plain(json.loads(raw))
    return same, said(other.decode_response(other.encode_response(response).body)) == said(response)


def check_stream(dialect: Dialect, other: Dialect, raw: bytes) -> tuple[bool, bool]:
    tap = dialect.stream_tap(include_usage=True)
    same = tap.feed(raw) + tap.close() == raw
    whole = read_stream(dialect, raw)
    if isinstance(whole, StreamError):
        return same, True
    decoder, encoder = dialect.stream_decoder(), other.stream_encoder(include_usage=True)
    events = decoder.feed(raw) + decoder.close()
    crossed = read_stream(other, b"".join(encoder.feed(event) for event in events))
    return same, not isinstance(crossed, StreamError) and said(crossed) == said(whole)


def check(dialect: Dialect, other: Dialect, file: Path, counts: Counter[str]) -> None:
    case = json.loads(file.read_text())

    def count(what: str, good: bool) -> None:
        counts[what, good] += 1  # pyright: ignore[reportArgumentType]
        if not good:
            print(f"  not {what}: {file.name}", file=sys.stderr)

    if case["request"]:
        try:
            count("request as sent", check_request(dialect, case["request"]))
        except TurnoutError as error:
            print(f"  {file.name}: {error.message}", file=sys.stderr)
            count("request as sent", good=False)
    if (case["status"] or 200) >= 400:
        count("error told", bool(dialect.decode_error(case["response"].encode()).message))
        return
    text = case["response"]
    if case["streaming"] and case["source"].startswith("vercel"):
        text = "".join(f"{line}\n\n" for line in text.splitlines() if line.strip())
    kind = "stream" if case["streaming"] else "answer"
    try:
        same, kept = (check_stream if case["streaming"] else check_whole)(dialect, other, text.encode())
    except (TurnoutError, ValueError) as error:
        print(f"  {file.name}: {error}", file=sys.stderr)
        same = kept = False
    count(f"{kind} as recorded", same)
    count(f"{kind} kept in the other format", kept)


def main() -> int:
    folder = Path(sys.argv[1])
    for name, dialect in DIALECTS.items():
        other = next(d for n, d in DIALECTS.items() if n != name)
        counts: Counter[Any] = Counter()
        for file in sorted((folder / name).glob("*.json")):
            check(dialect, other, file, counts)
        for what in dict.fromkeys(what for what, _ in counts):
            print(f"{name:<20} {what:<34} {counts[what, True]:>4} of {counts[what, True] + counts[what, False]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
