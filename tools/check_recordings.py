"""Run a folder of recorded provider traffic through the wire formats and count what comes back as it was.

    python tools/check_recordings.py FOLDER     # with FOLDER/openai-chat/*.json, FOLDER/anthropic-messages/*.json

Same format: requests and whole answers as equal JSON (null and empty values aside), streams as the same bytes.
Every other format: texts, tool calls with arguments, total input and output tokens are kept.
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
    """What every format can say. Some have no word for "not reported": no usage is zero tokens."""
    text = "".join(p.text for p in response.parts if isinstance(p, Text))
    calls = [(p.name, arguments(p)) for p in response.parts if isinstance(p, ToolCall)]
    usage = response.usage
    return text, calls, (usage.input or 0, usage.output or 0) if usage else (0, 0)


def arguments(call: ToolCall) -> object:
    """Decoded. Plain text, which some formats have no place for, counts the same in its wrapping."""
    try:
        return json.loads(call.arguments or "{}")
    except json.JSONDecodeError:
        return {"input": call.arguments}


def read_stream(dialect: Dialect, raw: bytes) -> ChatResponse | StreamError:
    decoder = dialect.stream_decoder()
    events = decoder.feed(raw) + decoder.close()
    failed = [event for event in events if isinstance(event, StreamError)]
    return failed[0] if failed else collect(events)


def check_request(dialect: Dialect, request: Any) -> bool:
    body = json.dumps(request).encode()
    dialect.patch_request(dialect.outline(body), "m")
    return plain(json.loads(dialect.encode_request(dialect.decode_request(body)).body)) == plain(request)


def check_whole(dialect: Dialect, raw: bytes) -> tuple[bool, dict[str, bool]]:
    response = dialect.decode_response(raw)
    same = plain(json.loads(dialect.encode_response(response).body)) == plain(json.loads(raw))
    return same, {name: cross_whole(response, there) for name, there in others(dialect)}


def cross_whole(response: ChatResponse, there: Dialect) -> bool:
    return said(there.decode_response(there.encode_response(response).body)) == said(response)


def check_stream(dialect: Dialect, raw: bytes) -> tuple[bool, dict[str, bool]]:
    tap = dialect.stream_tap(include_usage=True)
    same = tap.feed(raw) + tap.close() == raw
    whole = read_stream(dialect, raw)
    if isinstance(whole, StreamError):
        return same, {name: True for name, _ in others(dialect)}  # told as an error, in the caller's shape
    decoder = dialect.stream_decoder()
    events = decoder.feed(raw) + decoder.close()
    kept: dict[str, bool] = {}
    for name, there in others(dialect):
        encoder = there.stream_encoder(include_usage=True)
        crossed = read_stream(there, b"".join(encoder.feed(event) for event in events))
        kept[name] = not isinstance(crossed, StreamError) and said(crossed) == said(whole)
    return same, kept


def others(dialect: Dialect) -> list[tuple[str, Dialect]]:
    return [(name, there) for name, there in DIALECTS.items() if name != dialect.name]


class Counts:
    """Hits and misses by what was checked."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, bool]] = Counter()

    def add(self, what: str, case: str, *, good: bool, why: str = "") -> None:
        self._counts[what, good] += 1
        if not good:
            print(f"  not {what}: {case} {why}", file=sys.stderr)

    def __str__(self) -> str:
        lines: list[str] = []
        for what in dict.fromkeys(what for what, _ in self._counts):
            good, bad = self._counts[what, True], self._counts[what, False]
            lines.append(f"{what:<44} {good:>4} of {good + bad}")
        return "\n".join(lines)


def check(dialect: Dialect, file: Path, counts: Counts) -> None:
    case = json.loads(file.read_text())
    if case["request"]:
        why = ""
        try:
            good = check_request(dialect, case["request"])
        except TurnoutError as error:
            good, why = False, error.message
        counts.add("request as sent", file.name, good=good, why=why)
    if (case["status"] or 200) >= 400:
        good = bool(dialect.decode_error(case["response"].encode()).message)
        counts.add("error told", file.name, good=good)
        return
    text = case["response"]
    if case["streaming"] and case["source"].startswith("vercel"):
        text = "".join(f"{line}\n\n" for line in text.splitlines() if line.strip())
    kind, why = "stream" if case["streaming"] else "answer", ""
    try:
        same, kept = (check_stream if case["streaming"] else check_whole)(dialect, text.encode())
    except (TurnoutError, ValueError) as error:
        same, kept, why = False, {name: False for name, _ in others(dialect)}, str(error)
    counts.add(f"{kind} as recorded", file.name, good=same, why=why)
    for name, good in kept.items():
        counts.add(f"{kind} kept in {name}", file.name, good=good, why=why)


def main() -> int:
    folder = Path(sys.argv[1])
    for name, dialect in DIALECTS.items():
        counts = Counts()
        for file in sorted((folder / name).glob("*.json")):
            check(dialect, file, counts)
        print(f"{name}\n{counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
