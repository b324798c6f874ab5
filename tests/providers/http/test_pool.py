"""Connections that are kept: how many, for how long, what happens when one is closed just then, and that none stays."""

import asyncio
import socket

import pytest

from support.rawhost import RawHost, get, hung_up, length_of, post, raw_server, reset, take_head
from turnout.errors import UpstreamBroken, UpstreamFailure
from turnout.providers.http import connections, opening, pool

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


def url_of(port):
    return f"http://127.0.0.1:{port}/x"


async def whole(transport, asked):
    response = await transport.send(asked)
    body = await response.read(100_000_000)
    await response.aclose()
    return body


async def nothing_left():
    """No task but the test's own; what is closing gets a few turns for it."""
    for _ in range(5):
        await asyncio.sleep(0)
    return {task for task in asyncio.all_tasks() if "raw_server" not in repr(task)} <= {asyncio.current_task()}


class ClosesOnTheSecond:
    """Answers a connection's first request. On its second it closes when `after` bytes of the body are read."""

    def __init__(self, *, after=0, by_reset=False):
        self.after, self.by_reset, self.bodies = after, by_reset, []

    async def __call__(self, reader, writer):
        for n in range(2):
            length = length_of(await take_head(reader))
            body = await reader.readexactly(min(length, self.after) if n else length)
            self.bodies.append(len(body))
            if not n:
                writer.write(OK)
        if self.by_reset:
            reset(writer)


@pytest.mark.parametrize("by_reset", [False, True])
async def test_a_get_that_a_kept_connection_closed_on_is_sent_again(transport, by_reset):
    async with raw_server(host := ClosesOnTheSecond(by_reset=by_reset)) as port:
        for _ in range(4):
            assert await whole(transport, get(url_of(port))) == b"{}"
    assert len(host.bodies) == 7, "three were sent twice"


@pytest.mark.parametrize("by_reset", [False, True])
async def test_a_post_that_went_out_whole_is_not(transport, by_reset):
    """The provider may have begun to work, and to charge: delivery decides, and books it."""
    async with raw_server(host := ClosesOnTheSecond(after=2, by_reset=by_reset)) as port:
        await whole(transport, post(url_of(port)))
        with pytest.raises(UpstreamBroken, match="before it answered"):
            await transport.send(post(url_of(port)))
    assert host.bodies == [2, 2]


async def test_a_post_that_went_out_in_part_is_sent_again(transport):
    async with raw_server(host := ClosesOnTheSecond(after=10)) as port:
        await whole(transport, post(url_of(port)))
        assert await whole(transport, post(url_of(port), b"x" * 30_000_000)) == b"{}"
    assert host.bodies == [2, 10, 30_000_000]


async def test_what_was_answered_in_part_is_not(transport):
    calls = 0

    async def begins_the_second(reader, writer):
        nonlocal calls
        for said in (OK, b"HTTP/1.1 200"):
            await take_head(reader)
            calls += 1
            writer.write(said)

    async with raw_server(begins_the_second) as port:
        await whole(transport, get(url_of(port)))
        with pytest.raises(UpstreamBroken):
            await transport.send(get(url_of(port)))
    assert calls == 2


async def test_a_request_on_a_new_connection_is_sent_once(transport):
    async with raw_server(host := RawHost()) as port:
        with pytest.raises(UpstreamBroken):
            await transport.send(get(url_of(port)))
    assert host.connections == 1


async def test_a_connection_that_waits_too_long_is_let_go(transport, monkeypatch):
    monkeypatch.setattr(connections, "IDLE_IN_POOL_S", 0.05)
    monkeypatch.setattr(pool, "IDLE_IN_POOL_S", 0.05)
    async with raw_server(host := RawHost(OK, then="keep")) as port:
        await whole(transport, get(url_of(port)))
        await asyncio.wait_for(host.gone.wait(), 2)


async def test_two_hundred_at_once_each_get_their_own_and_leave_nothing(transport):
    async def echoes(reader, writer):
        while True:
            body = await reader.readexactly(length_of(await take_head(reader)))
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            for byte in body:
                writer.write(b"1\r\n%c\r\n" % byte)
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")

    async with raw_server(echoes) as port:
        for _ in range(3):
            bodies = [b"%d" % n for n in range(200)]
            assert await asyncio.gather(*(whole(transport, post(url_of(port), body)) for body in bodies)) == bodies
        await transport.aclose()
        assert await nothing_left()


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.01, 0.05])
async def test_whenever_it_is_cancelled_nothing_is_left_and_the_host_hears_of_it(transport, after_s):
    under_way = set()

    async def streams(reader, writer):
        under_way.add(asyncio.current_task())
        try:
            await take_head(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            await hung_up(reader)
        finally:
            under_way.remove(asyncio.current_task())

    async with raw_server(streams) as port:
        for _ in range(10):
            task = asyncio.create_task(whole(transport, post(url_of(port), b"")))
            await asyncio.sleep(after_s)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await nothing_left()
        if under_way:
            await asyncio.wait(under_way, timeout=2)
        assert not under_way


async def test_a_name_with_two_addresses_is_reached_by_the_one_that_answers(transport):
    """`localhost` is ::1 too, where nobody listens here."""
    async with raw_server(RawHost(OK)) as port:
        assert await whole(transport, get(f"http://localhost:{port}/")) == b"{}"


async def test_an_address_that_says_nothing_does_not_hold_the_next_up(monkeypatch):
    monkeypatch.setattr(opening, "NEXT_ADDRESS_S", 0.01)
    attempt, tried = opening._attempt, []

    async def the_first_hangs(address):
        tried.append(address)
        if len(tried) == 1:
            await asyncio.Event().wait()
        return await attempt(address)

    monkeypatch.setattr(opening, "_attempt", the_first_hangs)
    async with raw_server(RawHost(OK)) as port:
        found = await asyncio.get_running_loop().getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)
        (await opening._race(found * 3)).close()
        assert len(tried) == 2
        assert await nothing_left()


async def test_closing_leaves_what_is_under_way_to_end(transport):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    async with raw_server(host := RawHost(head, b"{", b"}", then="keep", pause_s=0.05)) as port:
        response = await transport.send(get(url_of(port)))
        await transport.aclose()
        assert await response.read(10) == b"{}"
        await asyncio.wait_for(host.gone.wait(), 2)
        assert await whole(transport, get(url_of(port))) == b"{}", "it may be used again"


@pytest.mark.parametrize("name", ["x-a b", "x:y", "x\r\ny", ""])
async def test_a_header_that_has_no_name_is_a_failure_that_says_so(transport, name):
    asked = post("http://127.0.0.1:9/")
    asked.headers.append((name, "1"))
    with pytest.raises(UpstreamFailure, match="no name of a header"):
        await transport.send(asked)
