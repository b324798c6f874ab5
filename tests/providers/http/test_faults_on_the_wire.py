"""What a host can do wrong at each place of an answer, in clear and over TLS: a failure of the right kind, at once,
and the connection is closed."""

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from support.rawhost import RawHost, get, hung_up, post, raw_server, take_head
from turnout.errors import UpstreamBroken, UpstreamTimeout
from turnout.providers.http.connections import MAX_HEAD_BYTES

CERTIFICATE = Path(__file__).with_name("localhost.pem")

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n"

BEFORE = "broke off before it answered"
WITHIN = "broke off in its answer"
NO_HTTP = "no HTTP/1.1"

BREAKS = {
    "before the head": ([], BEFORE),
    "in the status line": ([b"HTTP/1.1 2"], BEFORE),
    "in the head": ([b"HTTP/1.1 200 OK\r\ncontent-le"], BEFORE),
    "after a 1xx": ([b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"], BEFORE),
    "after the head": ([LENGTH], WITHIN),
    "in a body": ([LENGTH + b"12345"], WITHIN),
    "in a chunk's size": ([CHUNKED + b"2\r\n{}\r\n1"], WITHIN),
    "in a chunk": ([CHUNKED + b"2\r\n{"], WITHIN),
    "after a chunk": ([CHUNKED + b"2\r\n{}\r\n"], WITHIN),
    "before the last line": ([CHUNKED + b"2\r\n{}\r\n0\r\n"], WITHIN),
    "in the trailers": ([CHUNKED + b"2\r\n{}\r\n0\r\nchecksum: 1"], WITHIN),
}

NONSENSE = {
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n"],
    "HTTP/2": [b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n"],
    "TLS where none was asked for": [b"\x15\x03\x03\x00\x02\x02\x28"],
    "a switch of protocols": [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"],
    "a header without a colon": [b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"],
    "a space before the colon": [b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}"],
    "a folded header": [b"HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 2\r\n\r\n{}"],
    "two lengths": [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"],
    "a length that is no number": [b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}"],
    "a length beyond all numbers": [b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}"],
    "a chunk's size that is no number": [CHUNKED + b"zz\r\n{}\r\n"],
    "a chunk's size beyond all numbers": [CHUNKED + b"f" * 20 + b"\r\n{}\r\n"],
    "a chunk longer than told": [CHUNKED + b"2\r\n{}}}\r\n0\r\n\r\n"],
}

TOO_LONG = {  # how much a segment holds is not ours to say: one more may come before it is noticed
    "one header": [b"HTTP/1.1 200 OK\r\na: ", *[b"a" * MAX_HEAD_BYTES] * 4],
    "many headers": [b"HTTP/1.1 200 OK\r\n", *[b"a: b\r\n" * (MAX_HEAD_BYTES // 6)] * 4],
    "interim answers": [b"HTTP/1.1 100 Continue\r\n\r\n" * 6000],
    "trailers": [CHUNKED + b"2\r\n{}\r\n0\r\n", *[b"a: b\r\n" * (MAX_HEAD_BYTES // 6)] * 4],
    "a chunk's extension": [CHUNKED + b"2;", *[b"a" * MAX_HEAD_BYTES] * 4],
}


@pytest.fixture(params=["http", "https"])
def tls(request, monkeypatch):
    """What the host speaks; None in clear."""
    if request.param == "http":
        return None
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def url_of(port, tls):
    return f"http{'s' if tls else ''}://localhost:{port}/x"


async def taken(transport, asked):
    """The pieces of an answer, and the failure that ended them."""
    pieces = []
    try:
        response = await transport.send(asked)
        try:
            async for piece in response.chunks():
                pieces.append(piece)  # noqa: PERF401 (what came before a failure counts)
        finally:
            await response.aclose()
    except (UpstreamBroken, UpstreamTimeout) as failure:
        return b"".join(pieces), failure
    return b"".join(pieces), None


@pytest.mark.parametrize("then", ["close", "reset", "half"])
@pytest.mark.parametrize(("parts", "why"), BREAKS.values(), ids=BREAKS)
async def test_an_answer_that_breaks_off(transport, tls, parts, why, then):
    async with raw_server(host := RawHost(*parts, then=then), ssl=tls) as port:
        _, failure = await asyncio.wait_for(taken(transport, post(url_of(port, tls))), 5)
        assert isinstance(failure, UpstreamBroken)
        assert why in failure.message
        assert failure.retryable
    assert host.connections == 1, "what may have been done is not asked for again"


@pytest.mark.parametrize(("parts", "why"), BREAKS.values(), ids=BREAKS)
async def test_an_answer_that_stalls(transport, tls, parts, why):
    async with raw_server(host := RawHost(*parts, then="hang"), ssl=tls) as port:
        # Time enough for a busy machine to shake hands, and where an answer begins to begin it.
        asked = post(url_of(port, tls), first_byte_timeout_s=0.5 if why == BEFORE else 4, idle_timeout_s=0.1)
        _, failure = await asyncio.wait_for(taken(transport, asked), 5)
        assert isinstance(failure, UpstreamTimeout)
        assert ("within 0.5 s" if why == BEFORE else "nothing for 0.1 s") in failure.message
        await asyncio.wait_for(host.gone.wait(), 2)


@pytest.mark.parametrize("parts", NONSENSE.values(), ids=NONSENSE)
async def test_an_answer_that_is_none(transport, tls, parts):
    async with raw_server(host := RawHost(*parts, then="hang"), ssl=tls) as port:
        _, failure = await asyncio.wait_for(taken(transport, post(url_of(port, tls))), 5)
        assert isinstance(failure, UpstreamBroken)
        assert NO_HTTP in failure.message
        await asyncio.wait_for(host.gone.wait(), 2)


@pytest.mark.parametrize("parts", TOO_LONG.values(), ids=TOO_LONG)
async def test_an_answer_with_a_head_without_end(transport, parts):
    async with raw_server(host := RawHost(*parts, then="hang")) as port:
        _, failure = await asyncio.wait_for(taken(transport, post(url_of(port, None))), 5)
        assert isinstance(failure, UpstreamBroken)
        assert f"a head of over {MAX_HEAD_BYTES:,} bytes" in failure.message
        await asyncio.wait_for(host.gone.wait(), 2)


async def test_what_came_before_a_break_is_handed_out(transport, tls):
    async with raw_server(RawHost(CHUNKED + b"2\r\n{}\r\n", b"2\r\n[]\r\n", pause_s=0.01), ssl=tls) as port:
        body, failure = await taken(transport, post(url_of(port, tls)))
    assert body == b"{}[]"
    assert isinstance(failure, UpstreamBroken)


async def test_a_head_that_drips_is_bounded_by_the_wait_for_it(transport):
    async def drips(reader, writer):
        await take_head(reader)
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"a" * 10_000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.01)

    async with raw_server(drips) as port:
        _, failure = await asyncio.wait_for(taken(transport, get(url_of(port, None), first_byte_timeout_s=0.3)), 5)
    assert isinstance(failure, UpstreamTimeout)


async def test_a_body_that_drips_may_take_longer_than_one_pause(transport, tls):
    pieces = [b"1\r\na\r\n"] * 8
    async with raw_server(RawHost(CHUNKED, *pieces, b"0\r\n\r\n", pause_s=0.1), ssl=tls) as port:
        body, failure = await taken(transport, post(url_of(port, tls), idle_timeout_s=0.4))
    assert (body, failure) == (b"a" * 8, None)


async def test_a_reader_that_takes_its_time_is_not_counted_as_the_hosts_pause(transport):
    async with raw_server(RawHost(CHUNKED + b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n", pause_s=0.1)) as port:
        response = await transport.send(post(url_of(port, None), idle_timeout_s=0.5))
        pieces = []
        async for piece in response.chunks():
            pieces.append(piece)
            await asyncio.sleep(0.7)
        await response.aclose()
    assert b"".join(pieces) == b"ab"


async def test_a_body_of_no_told_length_ends_with_the_connection(transport, tls):
    async with raw_server(RawHost(UNTIL_CLOSE, b"one ", b"two"), ssl=tls) as port:
        assert await taken(transport, post(url_of(port, tls))) == (b"one two", None)


async def test_over_tls_an_end_without_a_goodbye_is_no_end_of_a_body(transport, tls):
    """Anybody on the way can cut a connection; only the host can say that it has told all (RFC 9112, 9.8)."""
    if tls is None:
        pytest.skip("in clear nobody can tell")

    async def cuts(reader, writer):
        await take_head(reader)
        writer.write(UNTIL_CLOSE + b"one ")
        await writer.drain()
        await asyncio.sleep(0.05)
        beneath = socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno()))
        beneath.shutdown(socket.SHUT_WR)
        beneath.close()
        await hung_up(reader)

    async with raw_server(cuts, ssl=tls) as port:
        body, failure = await asyncio.wait_for(taken(transport, post(url_of(port, tls))), 5)
    assert body == b"one "
    assert isinstance(failure, UpstreamBroken)


@pytest.mark.parametrize("then", ["close", "hang"])
async def test_an_answer_that_comes_before_the_request_is_sent_whole(transport, tls, then):
    refusal = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"

    async def refuses(reader, writer):
        await take_head(reader)
        writer.write(refusal)
        if then == "hang":
            await hung_up(reader)

    async with raw_server(refuses, ssl=tls) as port:
        for _ in range(10):
            response = await transport.send(post(url_of(port, tls), b"x" * 30_000_000))
            assert response.status == 413
            assert await response.read(100) == b"{}"
            await response.aclose()


async def test_a_connection_whose_request_was_not_taken_whole_serves_no_other(transport):
    connections = 0

    async def answers_early(reader, writer):
        nonlocal connections
        connections += 1
        await take_head(reader)
        writer.write(b"HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n")
        await hung_up(reader)

    async with raw_server(answers_early) as port:
        for _ in range(2):
            assert await taken(transport, post(url_of(port, None), b"x" * 30_000_000)) == (b"", None)
    assert connections == 2
