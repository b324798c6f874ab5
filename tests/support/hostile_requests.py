"""Requests that nobody sends in good faith: from our own OpenAPI document, by meaner strategies, and as raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import quote

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from turnout.server.openapi import document
from turnout.server.paths import FIXED, GEMINI_VERBS
from turnout.server.views import LOOKS

SQL = "'; DROP TABLE requests; --"
PATHS = [*FIXED, "/v1/route", *(f"/v1beta/models/m:{verb}" for verb in GEMINI_VERBS)]


def http(method: str, path: str, body: bytes = b"", headers: list[tuple[str, bytes]] | None = None) -> bytes:
    """A request's bytes, its connection closed after the answer."""
    told = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers or ())
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n".encode()
    return head + told + b"\r\n" + body


def drawn(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """`count` values of a strategy, the same at every run."""
    got: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        got.append(value)

    with contextlib.suppress(Unsatisfiable):  # what takes nothing at all cannot be given wrong things
        collect()
    return got


@cache
def kinds_of(describe: Callable[[], dict[str, Any]]) -> list[tuple[Any, st.SearchStrategy[Any]]]:
    """Each operation of a document, with what makes requests that fit it, and again with what makes some that do not:
    of some operations there are none. Only hundreds of attempts show that, so it is remembered."""
    operations = [found.ok() for found in schemathesis.openapi.from_dict(describe()).get_all_operations()]
    kinds = [
        (operation, operation.as_strategy(generation_mode=mode))
        for operation, mode in product(operations, (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
    ]
    return [kind for kind in kinds if drawn(kind[1], 1, 0)]


def _looks() -> dict[str, Any]:
    return document(LOOKS)


def from_document(count: int) -> Iterator[bytes]:
    """What schemathesis makes of the OpenAPI document: bodies that fit it and bodies that do not, for every path."""
    kinds = kinds_of(_looks)
    most = dict.fromkeys(range(len(kinds)), max(1, count // len(kinds)))
    sent = 0
    for number in range(100):
        for place, (_, strategy) in enumerate(kinds):
            cases = drawn(strategy, most[place], number)
            most[place] = min(most[place], len(cases) or 1)  # some operations have nothing to vary
            for case in cases:
                sent += 1
                if sent > count:
                    return
                yield of_case(case)


def of_case(case: Any) -> bytes:
    body: Any = case.body
    if isinstance(body, dict) and len(body) % 2 and isinstance(body.get("model"), str):
        body = {**body, "model": "lab/small"}  # further than to the model's name
    raw = body if isinstance(body, bytes) else dumped(body)
    path = quote(case.formatted_path, safe="/:%@")
    return http(case.method.upper(), path, raw, [("content-type", b"application/json")])


def dumped(value: object) -> bytes:
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError):
        return b""


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [SQL, "{{7*7}}", "${env:HOME}", "../../etc/passwd", "\x00", "\ud800", "a" * 10_000, "auto", "user"]
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "model",
    "messages",
    "input",
    "contents",
    "max_tokens",
    "stream",
    "tools",
    "system",
    "metadata",
    "stop",
    "store",
]
FIELDS += [
    "tool_choice",
    "thinking",
    "reasoning",
    "response_format",
    "previous_response_id",
    "generationConfig",
    "user",
]
BROKEN = [
    b"",
    b"\x00",
    b"{",
    b"[]",
    b"null",
    b'{"model":"\xff"}',
    b'{"model":"auto","model":"mode/x","messages":[{"role":"user","content":"a"}]}',
    b'{"a":' * 20_000,
    b"[" * 100_000,
    b'{"model":1e999}',
    b'{"model":"auto","messages":[{"role":"user","content":"\\ud800"}]}',
    b'{"model":"auto","max_tokens":' + b"9" * 5_000 + b"}",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
]
HEADERS = ["x-turnout-mode", "x-turnout-session", "x-turnout-tags", "x-turnout-quality", "x-turnout-max-cost-usd"]
HEADERS += [
    "x-turnout-latency",
    "authorization",
    "x-api-key",
    "anthropic-version",
    "anthropic-beta",
    "content-encoding",
]

header = st.tuples(
    st.sampled_from(HEADERS),
    st.sampled_from([SQL.encode(), b"\xff\xfe", b"a" * 5_000, b"=,=,=", b"nan", b"1e400", b"-1", b"gzip", b"\x01", b""])
    | st.text("abc=,;\"'%{}", max_size=30).map(str.encode),
)
said = st.sampled_from([[{"role": "user", "content": "hi"}], [{"role": "user", "parts": [{"text": "hi"}]}]])
good: dict[str, Any] = {"model": "lab/small", "max_tokens": 5}
bodies = st.builds(
    lambda told, fields, spoiled: {**good, "messages": told, "contents": told, "input": "hi", **fields, **spoiled},
    said,
    st.dictionaries(st.sampled_from(FIELDS[4:]), json_values, max_size=4),
    st.just({}) | st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=3),
)
mean = st.builds(
    http,
    st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    st.sampled_from(PATHS)
    | st.sampled_from(
        ["/admin/requests/" + quote(SQL), "/v1/models/" + "x" * 5_000, "/v1/models/%00", "/..%2f..%2fetc/passwd"]
    )
    | st.sampled_from(
        ["/v1/messages?" + "a=b&" * 5_000, "//", "/v1//responses", "/v1beta/models/a%2Fb:generateContent", "*"]
    ),
    st.sampled_from(BROKEN) | bodies.map(dumped),
    st.lists(header, max_size=4),
)


def by_strategy(count: int) -> list[bytes]:
    """Deep, huge, odd and wrong in every field and header."""
    return drawn(mean, count, 7)


BODY = b'{"model":"lab/small","messages":[{"role":"user","content":"hi"}]}'
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
RAW: dict[str, bytes] = {
    "nothing": b"",
    "no line end": b"GET / HTTP/1.1",
    "noise": bytes(range(256)) * 4,
    "two lengths": POST + b"content-length: 5\r\ncontent-length: 66\r\n\r\n" + BODY,
    "a length and chunks": POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"content-length: -5\r\n\r\n" + BODY,
    "a length of words": POST + b"content-length: many\r\n\r\n" + BODY,
    "a length that lies": POST + b"content-length: 9999\r\n\r\n" + BODY,
    "a length of terabytes": POST + b"content-length: 99999999999999\r\n\r\n",
    "a chunk that lies": POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    "a chunk of words": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
    "a folded header": POST + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "a header without a name": POST + b": x\r\n\r\n",
    "NUL in a header": POST + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "CR alone": POST.replace(b"\r\n", b"\r") + b"\r\r",
    "two requests": http("GET", "/healthz").replace(b"close", b"keep-alive") + http("POST", "/v1/messages", BODY),
    "a hundred requests": http("GET", "/healthz").replace(b"close", b"keep-alive") * 100,
    "a large header": POST + b"x: " + b"y" * 1_000_000,
    "many headers": POST + b"x: y\r\n" * 100_000,
    "a large URL": b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64),
    "HTTP/9.9": b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "a websocket": b"GET /v1/responses HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nhost: x\r\n\r\n",
    "an absolute URL": b"GET http://127.0.0.1:1/admin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "a bad escape": b"GET /v1/models/%zz%f HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
    "expect": POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
    "gzip": POST + b"content-encoding: gzip\r\ncontent-length: 2\r\nconnection: close\r\n\r\n\x1f\x8b",
}


async def send(port: int, request: bytes, patience_s: float = 2.0) -> bytes:
    """What comes back for these bytes until the other side closes, or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = bytearray()
    try:
        writer.write(request)
        async with asyncio.timeout(patience_s):
            while data := await reader.read(65_536):
                got += data
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return bytes(got)


def status_of(answer: bytes) -> int:
    """The status of an answer; 0 where the connection was closed without one."""
    first = answer.partition(b"\r\n")[0].split()
    return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0


def ours_to_mend(answer: bytes) -> bool:
    """Whether an answer shows a fault of the gateway's own."""
    return status_of(answer) == 500 or b"Traceback" in answer or b"internal_error" in answer


CLASSES: dict[str, tuple[float, Callable[[int], Any]]] = {
    "OpenAPI": (0.6, from_document),
    "strategies": (0.3, by_strategy),
    "raw bytes": (0.1, lambda count: [raw for _, raw in zip(range(count), list(RAW.values()) * count, strict=False)]),
}
"""Each kind of request: its share of all, and what makes so many of them."""
