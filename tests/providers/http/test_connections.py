"""What is taken off the wire does not depend on how it was cut into segments, and nothing that comes is taken for an
answer that it is not. The connection is fed by hand: over a socket the system would join the segments again."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.errors import UpstreamBroken
from turnout.providers.http.connections import IDLE_IN_POOL_S, Connection

BODY = b'{"a": "b"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# What comes, then: status, body, whether the connection may serve another request.
ANSWERS = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY, 200, BODY, True),
    "chunks": (CHUNKED + b'4\r\n{"a"\r\n6\r\n: "b"}\r\n0\r\n\r\n', 200, BODY, True),
    "extensions and trailers": (CHUNKED + b'A;x="1"\r\n' + BODY + b"\r\n0\r\nx-sum: 1\r\n\r\n", 200, BODY, True),
    "interim answers before": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        b"HTTP/1.1 201 Created\r\ncontent-length: 10\r\n\r\n" + BODY,
        201,
        BODY,
        True,
    ),
    "nothing": (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b"", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", 304, b"", True),
    "no reason": (b"HTTP/1.1 429\r\ncontent-length: 10\r\n\r\n" + BODY, 429, BODY, True),
    "chunks and a length": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\na\r\n" + BODY + b"\r\n0\r\n\r\n",
        200,
        BODY,
        True,
    ),
    "a close": (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\n" + BODY, 200, BODY, False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 10\r\n\r\n" + BODY, 200, BODY, False),
    "a surplus": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + BODY + b"HTTP/1.1 200 OK\r\n\r\n",
        200,
        BODY,
        None,
    ),
    "a surplus that is no HTTP": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n" + BODY + b"\x00\x00",
        200,
        BODY,
        None,
    ),
}
CASES = pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS)


class Wire(asyncio.Transport):
    """Takes what is written; remembers what was asked of it."""

    def __init__(self):
        super().__init__()
        self.written, self.aborted, self.paused = b"", False, False

    def write(self, data):
        self.written += data

    def writelines(self, list_of_data):
        self.written += b"".join(list_of_data)

    def abort(self):
        self.aborted = True

    def is_closing(self):
        return self.aborted

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False


def connected(released=None):
    connection = Connection(
        asyncio.get_running_loop(), "k", ([] if released is None else released).append, lambda _: None
    )
    connection.connection_made(wire := Wire())
    return connection, wire


def begun(connection, method="POST", **more):
    return connection.begin(method, b"HEAD\r\n\r\n", b"", 10.0, **({"close": False} | more))


def cut(data, places):
    return [data[a:b] for a, b in pairwise([0, *sorted(places), len(data)]) if a < b]


async def check(segments, status, body, kept):
    released = []
    connection, wire = connected(released)
    answer = begun(connection)
    for segment in segments:
        if not wire.aborted:
            connection.data_received(segment)
    assert answer.status == status
    assert await answer.read(1000) == body
    if kept is None:  # a surplus: it may come when the connection is free already, and then closes it too
        assert wire.aborted
    else:
        assert (len(released), wire.aborted) == ((1, False) if kept else (0, True))


@CASES
async def test_every_cut_gives_the_same_answer(case):
    data, *expected = case
    await check([data], *expected)
    await check([data[i : i + 1] for i in range(len(data))], *expected)
    for i in range(len(data)):
        await check(cut(data, [i]), *expected)


@settings(max_examples=60, deadline=None)
@given(case=st.sampled_from(list(ANSWERS.values())), places=st.lists(st.integers(0, 150), max_size=12))
def test_any_cuts_give_the_same_answer(case, places):
    data, *expected = case
    asyncio.run(check(cut(data, [p for p in places if p < len(data)]), *expected))


@settings(max_examples=200, deadline=None)
@given(
    data=st.sampled_from([data for data, *_ in ANSWERS.values()]),
    edits=st.lists(st.tuples(st.integers(0, 150), st.binary(max_size=6)), min_size=1, max_size=4),
    at=st.integers(0, 200),
)
def test_spoiled_bytes_are_an_answer_or_a_failure_and_never_a_wait(data, edits, at):
    async def feed():
        connection, wire = connected()
        answer = begun(connection)
        spoiled = data
        for place, put in edits:
            spoiled = spoiled[:place] + put + spoiled[place + len(put) :]
        for segment in cut(spoiled, [min(at, len(spoiled))]):
            if not wire.aborted:
                connection.data_received(segment)
        if not wire.aborted:
            connection.eof_received()
        connection.connection_lost(None)
        try:
            async with asyncio.timeout(1):
                await answer.begun()
                await answer.read(10_000)
        except UpstreamBroken:
            pass

    asyncio.run(feed())


async def test_the_answer_to_head_has_no_body_whatever_its_length_says():
    connection, wire = connected()
    answer = begun(connection, method="HEAD")
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
    assert await answer.read(10) == b""
    assert wire.aborted, "some hosts send the body all the same"


async def test_headers_are_lower_case_and_none_is_lost():
    connection, _ = connected()
    answer = begun(connection)
    connection.data_received(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Empty:\r\nX-Odd: \xe9 \t\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.headers == [
        ("set-cookie", "a"),
        ("set-cookie", "b"),
        ("x-empty", ""),
        ("x-odd", "é"),
        ("content-length", "0"),
    ]


@pytest.mark.parametrize("come", [b"HTTP/1.1 408 Timeout\r\n\r\n", b"\x00"])
async def test_what_comes_unasked_closes_the_connection(come):
    connection, wire = connected()
    connection.data_received(come)
    assert wire.aborted
    assert not connection.open


async def test_a_connection_serves_one_request_after_the_other():
    released = []
    connection, wire = connected(released)
    for n in range(3):
        answer = begun(connection)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % n)
        assert await answer.read(10) == b"%d" % n
    assert released == [connection] * 3
    assert wire.written == b"HEAD\r\n\r\n" * 3


async def test_a_request_that_asks_for_the_end_gets_it():
    connection, wire = connected()
    answer = begun(connection, close=True)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert await answer.read(10) == b""
    assert wire.aborted


@pytest.mark.parametrize(
    ("hint", "idle_s"),
    [
        ("timeout=5", 4.0),
        ("timeout=5, max=100", 4.0),
        ("max=100, Timeout = 3", 2.0),
        ("timeout=600", IDLE_IN_POOL_S),
        ("timeout=soon", IDLE_IN_POOL_S),
        ("", IDLE_IN_POOL_S),
    ],
)
async def test_a_host_says_how_long_it_keeps_a_connection(hint, idle_s):
    connection, _ = connected()
    begun(connection)
    connection.data_received(f"HTTP/1.1 200 OK\r\nkeep-alive: {hint}\r\ncontent-length: 0\r\n\r\n".encode())
    assert connection.idle_s == idle_s


async def test_a_host_that_keeps_none_gets_no_second_request():
    released = []
    connection, wire = connected(released)
    begun(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 0\r\n\r\n")
    assert (released, wire.aborted) == ([], True)


async def test_a_host_waits_for_its_reader_and_goes_on():
    connection, wire = connected()
    answer = begun(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 600000\r\n\r\n")
    for _ in range(2):
        assert not wire.paused
        connection.data_received(b"x" * 150_000)
    assert wire.paused, "300 kB wait"
    assert len(await anext(answer.chunks())) == 300_000
    assert not wire.paused
    connection.data_received(b"x" * 300_000)
    assert not wire.paused, "it is free for the next request, whatever waits"
    assert len(await answer.read(300_000)) == 300_000
