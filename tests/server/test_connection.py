"""One caller's connection, byte by byte: what is answered, in which order, and when it ends."""

import asyncio
import contextlib

import pytest
import uvloop

from turnout.errors import TurnoutError
from turnout.server import connection as module
from turnout.server.connection import Connection, Served

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
KEEP = 10.0
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Desk:
    """A handler for tests: notes what came, and answers as it is told to."""

    def __init__(self):
        self.seen = []
        self.lost = asyncio.Event()
        self.serves = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def __call__(self, request):
        match request.path:
            case "/early":
                request.respond(401, b"no", [])
            case "/late":
                body = await request.body(10_000_000, KEEP)
                self.seen.append(body)
                request.on_lost = self.lost.set
                self.serves.set()
                await self.may_answer.wait()
                request.respond(200, b"late", [])
            case "/books":
                request.respond(200, b"ok", [])
                await asyncio.sleep(0)
                self.seen.append("closed")
            case "/large":
                self.seen.append(request.path)
                request.respond(200, b"x" * 1_000_000, [])
            case "/status":
                request.respond(int(request.query), b"", [])
            case "/bad":
                with contextlib.suppress(ValueError):
                    request.respond(200, b"", [("x", request.query and "\u65e5")])
                request.respond(500, b"a fault", [])
            case _:
                try:
                    self.seen.append((request.method, request.path, await request.body(10_000, KEEP), request.headers))
                except TurnoutError as error:
                    request.respond(error.status, b"", [])
                    return
                request.respond(200, b"ok", [])


@contextlib.asynccontextmanager
async def desk():
    """The desk, what its connections share, and a way to reach it."""
    told, loop = Desk(), asyncio.get_running_loop()
    served = Served(told)
    server = await loop.create_server(lambda: Connection(served), "127.0.0.1", 0)
    callers = []

    async def tick():
        while True:
            await asyncio.sleep(0.02)
            for connection in tuple(served.connections):
                connection.look(loop.time())

    async def dial(limit=65_536):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2], limit=limit)
        callers.append(writer)
        return reader, writer

    ticking = asyncio.create_task(tick())
    try:
        yield told, served, dial
    finally:
        ticking.cancel()
        server.close()
        for caller in callers:
            caller.transport.abort()
        for connection in tuple(served.connections):
            connection.transport.abort()
        for task in tuple(served.tasks):
            task.cancel()
        await asyncio.sleep(0)


async def all_of(reader, seconds=0.3):
    """What comes until the end, or until nothing does."""
    got = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := await asyncio.wait_for(reader.read(65_536), seconds):
            got += piece
    return got


def on(kind, test):
    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(asyncio.wait_for(test(), 20))


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_caller_who_hangs_up_is_noticed_behind_a_large_body_too(loop):
    async def run():
        async with desk() as (told, served, dial):
            _, writer = await dial()
            while not served.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
            (connection,) = served.connections
            # In one read, as an event loop that is busy gives it.
            connection.data_received(
                b"POST /late HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000
            )
            await told.serves.wait()
            writer.transport.abort()
            await asyncio.wait_for(told.lost.wait(), 2)

    on(loop, run)


@pytest.mark.parametrize("loop", list(LOOPS))
def test_whoever_reads_no_answers_gets_no_more_of_them(loop):
    async def run():
        async with desk() as (told, served, dial):
            reader, writer = await dial(limit=1024)
            writer.write(GET.replace(b"/a", b"/large") * 200)
            seen = -1
            while seen != len(told.seen):
                seen = len(told.seen)
                await asyncio.sleep(0.2)
            assert seen < 20
            (connection,) = served.connections
            assert connection.transport.get_write_buffer_size() < 3_000_000
            left = 200 * 1_000_000
            while left > 0:
                left -= len(await reader.read(1_000_000))
            assert len(told.seen) == 200

    on(loop, run)


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("end", [b"", b"connection: close\r\n"])
def test_an_answer_that_nobody_reads_is_let_go_in_the_end(loop, end, monkeypatch):
    monkeypatch.setattr(module, "UNREAD_S", 0.2)

    async def run():
        async with desk() as (_, served, dial):
            _, writer = await dial(limit=1024)
            writer.write((b"GET /large HTTP/1.1\r\nhost: x\r\n" + end + b"\r\n") * 20)
            if end:
                writer.write_eof()
            while not served.connections:  # noqa: ASYNC110
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                while served.connections:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    on(loop, run)


async def test_a_kept_connection_is_idle_once_the_rest_of_a_body_came_that_nobody_wanted(monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.3)
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n12345")
        assert b" 401 " in await reader.readuntil(b"no")
        writer.write(b"67890\r\n")
        assert await all_of(reader, 0.8) == b""
        writer.write(GET)
        assert (await all_of(reader)).endswith(b"ok")
        assert [s[1] for s in told.seen] == ["/a"]


async def test_a_body_that_nobody_wanted_and_that_does_not_end_is_not_answered_twice(monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.2)
    async with desk() as (_, served, dial):
        reader, writer = await dial()
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n1")
        got = await all_of(reader, 2)
        assert got.count(b"HTTP/1.1") == 1
        assert not served.connections


async def test_a_refused_body_that_is_still_coming_does_not_reset_the_answer_away():
    async with desk() as (_, _, dial):
        reader, writer = await dial()
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3000000\r\n\r\n")
        writer.write(b"x" * 1_000_000)
        await asyncio.sleep(0.1)
        writer.write(b"x" * 2_000_000)
        await writer.drain()
        got = await reader.read()
        assert got.startswith(b"HTTP/1.1 401 ")
        assert got.endswith(b"no")


async def test_who_was_not_asked_for_its_body_and_is_refused_begins_anew():
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 28\r\n\r\n")
        got = await reader.readuntil(b"no")
        assert b"connection: close\r\n" in got
        writer.write(GET)  # by its framing that is a body
        assert await all_of(reader) == b""
        assert told.seen == []


async def test_what_is_no_request_does_not_stand_in_the_midst_of_an_answer():
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write(GET.replace(b"/a", b"/late"))
        await told.serves.wait()
        writer.write(b"NONSENSE\r\n\r\n")
        await asyncio.sleep(0.1)
        told.may_answer.set()
        got = await all_of(reader, 1)
        assert got.startswith(b"HTTP/1.1 200 ")
        assert got.endswith(b"late")


async def test_a_body_that_is_none_is_answered_once():
    async with desk() as (told, served, dial):
        reader, writer = await dial()
        writer.write(b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"zz\r\n")
        got = await all_of(reader, 2)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.count(b"HTTP/1.1") == 1
        assert not served.tasks
        assert told.seen == []


async def test_the_end_of_a_large_body_is_no_part_of_the_next_head():
    body = b"x" * 9_000
    one = b"POST /late HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"
    async with desk() as (told, _, dial):
        told.may_answer.set()
        reader, writer = await dial()
        writer.write(one + b"x" * 200_000 + b"POST /a HTTP/1.1\r\nhost: x\r\n")
        assert (await reader.readuntil(b"late")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"content-length: 9000\r\n\r\n" + body)
        assert (await all_of(reader)).endswith(b"ok")
        assert told.seen[1][2] == body


async def test_trailers_are_no_headers_and_have_a_size():
    chunked = b"POST /a HTTP/1.1\r\nhost: x\r\nx-a: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write(chunked + b"x-a: 2\r\nauthorization: Bearer k\r\n\r\n")
        await all_of(reader)
        ((_, _, body, headers),) = told.seen
        assert (body, headers["x-a"], "authorization" in headers) == (b"hi", "1", False)
        writer.write(chunked)
        for _ in range(20):
            writer.write(b"y: " + b"z" * 20_000 + b"\r\n")
            await asyncio.sleep(0.01)
        assert (await all_of(reader)).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("cut", [None, 20, 150, 160])
async def test_who_asks_for_another_protocol_is_served_in_this_one(cut):
    """Java's own client asks for HTTP/2 with each request in clear, bodies included."""
    asks = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAB\r\n"
    one = (
        b"POST /a HTTP/1.1\r\nhost: x\r\n"
        + asks
        + b"content-length: 31\r\n\r\n"
        + b"GET /evil HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    two = b"POST /b HTTP/1.1\r\nhost: x\r\n" + asks + b"transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    sent = one + two + GET.replace(b"/a", b"/c")
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        for part in [sent] if cut is None else [sent[:cut], sent[cut:]]:
            writer.write(part)
            await asyncio.sleep(0.05)
        assert (await all_of(reader)).count(b"200 OK") == 3
        assert [s[:3] for s in told.seen] == [
            ("POST", "/a", b"GET /evil HTTP/1.1\r\nhost: x\r\n\r\n"),
            ("POST", "/b", b"hi"),
            ("GET", "/c", b""),
        ]


async def test_a_status_without_a_phrase_and_a_header_that_cannot_be_sent():
    async with desk() as (_, _, dial):
        reader, writer = await dial()
        writer.write(GET.replace(b"/a", b"/status?529") + GET.replace(b"/a", b"/status?304"))
        writer.write(GET.replace(b"/a", b"/bad?1"))
        odd, unchanged, bad = (await all_of(reader)).split(b"HTTP/1.1 ")[1:]
        assert odd.startswith(b"529 \r\n")
        assert unchanged == b"304 Not Modified\r\n\r\n"
        assert bad.startswith(b"500 ")
        assert bad.endswith(b"a fault")


async def test_requests_sent_ahead_have_a_number():
    async with desk() as (told, served, dial):
        reader, writer = await dial()
        writer.write(GET.replace(b"/a", b"/late") + GET * 9_000)
        await told.serves.wait()
        told.may_answer.set()
        got = await all_of(reader)
        assert got.count(b"200 OK") <= 1 + module.MOST_WAITING
        writer.close()
        await asyncio.sleep(0.05)
        assert not served.connections


async def test_a_request_sent_ahead_begins_when_the_books_of_the_one_before_are_closed():
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write((GET.replace(b"/a", b"/books") + GET) * 2)
        assert (await all_of(reader)).count(b"200 OK") == 4
        assert [what if what == "closed" else what[1] for what in told.seen] == ["closed", "/a"] * 2


async def test_a_caller_is_told_once_that_it_left():
    told = []
    async with desk() as (seen, served, dial):
        reader, writer = await dial(limit=1024)
        writer.write(GET.replace(b"/a", b"/late"))
        await seen.serves.wait()
        (connection,) = served.connections
        request = connection._serving
        request.on_lost, request.idle_s = lambda: told.append(1), 0.0
        connection.pause_writing()
        await all_of(reader)
        assert told == [1]


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"GET /a HTTP/1.1\r\n\r\n", b"has a Host header"),
        (b"GET /a HTTP/1.1\r\nhost: x\r\nHost: y\r\n\r\n", b"has one Host header"),
    ],
)
async def test_a_request_says_once_which_host_it_means(head, why):
    async with desk() as (told, _, dial):
        reader, writer = await dial()
        writer.write(head)
        got = await all_of(reader)
        assert got.startswith(b"HTTP/1.1 400 ")
        assert why in got
        assert told.seen == []


async def test_http_1_0_knows_no_host():
    async with desk() as (_, _, dial):
        reader, writer = await dial()
        writer.write(b"GET /a HTTP/1.0\r\n\r\n")
        assert (await all_of(reader)).endswith(b"ok")


@pytest.mark.parametrize(("said", "status"), [(b"", b""), (b"GET /a HT", b"HTTP/1.1 408 ")])
async def test_who_says_nothing_is_told_nothing_before_the_connection_closes(said, status, monkeypatch):
    monkeypatch.setattr(Connection, "head_s", 0.1)
    async with desk() as (_, _, dial):
        reader, writer = await dial()
        writer.write(said)
        got = await asyncio.wait_for(reader.read(), 10)
        assert got[: len(b"HTTP/1.1 408 ")] == status
