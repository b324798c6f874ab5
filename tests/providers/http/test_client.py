"""The transport against a hostile host: what each fault becomes, and that hanging up reaches the other side."""

import asyncio
import gzip
import ssl
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.rawhost import raw_server
from support.upstream import Script, ScriptedUpstream, answer, stream
from turnout.errors import UpstreamFailure, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.http import HttpTransport, is_loopback
from turnout.providers.transport import UpstreamRequest

CERTIFICATE = Path(__file__).with_name("localhost.pem")


def request(url, **more):
    return UpstreamRequest(
        method="POST", url=f"{url}/x", headers=[("content-type", "application/json")], body=b"{}", **more
    )


async def gone_within(upstream, seconds):
    began = time.monotonic()
    await asyncio.wait_for(upstream.gone.wait(), 2)
    assert time.monotonic() - began < seconds


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def whole(transport, url, **more):
    response = await transport.send(request(url, **more))
    body = await response.read(1_000_000)
    await response.aclose()
    return body


async def take_request(reader):
    """One of `request`'s, off the wire."""
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    return head


async def test_an_answer_with_its_status_headers_and_body(transport):
    async with ScriptedUpstream(answer({"a": 1}, 418, headers={"X-RateLimit-Remaining": "7"})) as up:
        response = await transport.send(request(up.url))
        assert response.status == 418
        assert ("x-ratelimit-remaining", "7") in response.headers
        assert await response.read(1000) == b'{"a": 1}'
        await response.aclose()
        (got,) = up.requests
    assert (got.method, got.path, got.body) == ("POST", "/x", b"{}")
    assert "accept-encoding" not in got.headers or got.headers["accept-encoding"] == "identity"


async def test_events_come_one_by_one_and_are_not_held_back(transport):
    async with ScriptedUpstream(stream(b"data: 1\n\n", b"data: 2\n\n", pause_s=0.2)) as up:
        response = await transport.send(request(up.url))
        began = time.monotonic()
        times = [time.monotonic() - began async for _ in response.chunks()]
        await response.aclose()
    assert len(times) == 2
    assert times[0] < 0.15 < times[1]


async def test_connections_are_kept(transport):
    async with ScriptedUpstream(answer({})) as up:
        for _ in range(3):
            response = await transport.send(request(up.url))
            await response.read(1000)
            await response.aclose()
        assert len(up.requests) == 3
        assert len(up._tasks) == 1, "one connection served all three"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script(drop=True), UpstreamFailure),
        (Script(reset=True), UpstreamFailure),
        (Script(body=b"x" * 1000, cut=True), UpstreamFailure),
        (stream(b"data: 1\n\n", cut=True), UpstreamFailure),
    ],
    ids=["closed before headers", "reset before headers", "cut body", "cut stream"],
)
async def test_a_broken_connection_is_a_failure_without_an_address(transport, script, error):
    async with ScriptedUpstream(script) as up:
        with pytest.raises(error) as caught:
            response = await transport.send(request(up.url))
            await response.read(10_000)
    assert "127.0.0.1" not in caught.value.message


async def test_nobody_there(transport):
    with pytest.raises(UpstreamUnreachable, match="is its base_url right"):
        await transport.send(request("http://127.0.0.1:9"))


async def test_a_name_that_does_not_exist(transport):
    with pytest.raises(UpstreamUnreachable):
        await transport.send(request("http://no-such-host.invalid"))


async def test_a_host_that_never_begins_times_out(transport):
    async with ScriptedUpstream(Script(hang=True)) as up:
        with pytest.raises(UpstreamTimeout, match=r"within 0\.2 s"):
            await transport.send(request(up.url, first_byte_timeout_s=0.2))
        await gone_within(up, 0.1)


async def test_a_stream_that_stalls_times_out(transport):
    async with ScriptedUpstream(stream(b"data: 1\n\n", b"data: 2\n\n", pause_s=5)) as up:
        response = await transport.send(request(up.url, idle_timeout_s=0.2))
        with pytest.raises(UpstreamTimeout, match=r"nothing for 0\.2 s"):
            async for _ in response.chunks():
                pass
        await response.aclose()
        await gone_within(up, 0.1)


async def test_an_answer_above_the_limit_is_refused(transport):
    async with ScriptedUpstream(Script(body=b"x" * 100_000)) as up:
        response = await transport.send(request(up.url))
        with pytest.raises(UpstreamFailure, match="over 1,000 bytes"):
            await response.read(1000)
        await response.aclose()


async def test_redirects_are_not_followed(transport):
    async with ScriptedUpstream(Script(status=302, headers={"location": "http://127.0.0.1:9/elsewhere"})) as up:
        response = await transport.send(request(up.url))
        assert response.status == 302
        await response.aclose()


async def test_cancelling_while_waiting_for_headers_ends_it_at_the_provider(transport):
    async with ScriptedUpstream(Script(hang=True)) as up:
        task = asyncio.create_task(transport.send(request(up.url)))
        await asyncio.sleep(0.2)
        await cancelled(task)
        await gone_within(up, 0.1)


async def test_cancelling_while_connecting_ends_it_at_the_provider(transport):
    hello, hung_up = asyncio.Event(), asyncio.Event()

    async def silent(reader, writer):  # takes the TLS client's hello and never answers it
        await reader.read(4096)
        hello.set()
        assert await reader.read() == b""
        hung_up.set()

    async with raw_server(silent) as port:
        task = asyncio.create_task(transport.send(request(f"https://127.0.0.1:{port}")))
        await asyncio.wait_for(hello.wait(), 2)
        await cancelled(task)
        await asyncio.wait_for(hung_up.wait(), 0.1)


async def test_cancelling_in_the_midst_of_a_body_ends_it_at_the_provider(transport):
    async with ScriptedUpstream(stream(*[b"data: 1\n\n"] * 10, pause_s=0.3)) as up:
        response = await transport.send(request(up.url))
        task = asyncio.create_task(response.read(1000))
        await asyncio.sleep(0.4)
        await cancelled(task)
        await response.aclose()
        await gone_within(up, 0.1)


async def test_closing_in_mid_stream_ends_it_at_the_provider(transport):
    async with ScriptedUpstream(stream(*[b"data: 1\n\n"] * 100, pause_s=0.05)) as up:
        response = await transport.send(request(up.url))
        async for _ in response.chunks():
            break
        await response.aclose()
        await gone_within(up, 0.1)


async def test_an_answer_closed_unread_ends_at_the_provider(transport):
    async with ScriptedUpstream(stream(*[b"data: 1\n\n"] * 10, pause_s=0.3)) as up:
        response = await transport.send(request(up.url))
        await response.aclose()
        await response.aclose()
        await gone_within(up, 0.1)


async def test_closing_the_transport_lets_kept_connections_go(transport):
    let_go = asyncio.Event()

    async def keeps_alive(reader, writer):
        await take_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        assert await reader.read() == b""
        let_go.set()

    async with raw_server(keeps_alive) as port:
        await whole(transport, f"http://127.0.0.1:{port}")
        assert not let_go.is_set()
        await transport.aclose()
        await asyncio.wait_for(let_go.wait(), 1)


async def test_a_kept_connection_that_closed_meanwhile_is_not_used(transport):
    asked = []

    async def closes_after_one(reader, writer):
        asked.append(await take_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with raw_server(closes_after_one) as port:
        for _ in range(5):
            await whole(transport, f"http://127.0.0.1:{port}")
            await asyncio.sleep(0.05)
    assert len(asked) == 5


async def test_a_kept_connection_that_closes_on_a_request_is_a_failure_and_nothing_is_sent_twice(transport):
    """The provider may have begun to work, and to charge: whether to ask again is not for a socket to decide."""
    asked = []

    async def closes_on_the_second(reader, writer):
        asked.append(await take_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        asked.append(await take_request(reader))

    async with raw_server(closes_on_the_second) as port:
        await whole(transport, f"http://127.0.0.1:{port}")
        with pytest.raises(UpstreamFailure, match="broke off before it answered") as caught:
            await transport.send(request(f"http://127.0.0.1:{port}"))
    assert caught.value.retryable
    assert len(asked) == 2


async def test_a_slow_reader_slows_the_provider_down(transport):
    total, piece = 200_000_000, b"x" * 65536
    sent = 0

    async def pours(reader, writer):
        nonlocal sent
        await take_request(reader)
        writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {total}\r\n\r\n".encode())
        while sent < total:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)

    async with raw_server(pours) as port:
        response = await transport.send(request(f"http://127.0.0.1:{port}"))
        await asyncio.sleep(0.5)
        unread = sent
        async for _ in response.chunks():
            break
        await response.aclose()
    assert 0 < unread < total / 4, "what the kernel's buffers hold, not the whole"


async def test_compression_is_not_undone(transport):
    packed = gzip.compress(b"0" * 10_000_000)
    async with ScriptedUpstream(Script(body=packed, headers={"content-encoding": "gzip"})) as up:
        assert await whole(transport, up.url) == packed


async def test_one_callers_cookies_never_reach_the_next(transport):
    async with ScriptedUpstream(answer({}, headers={"set-cookie": "session=theirs; Path=/"})) as up:
        await whole(transport, up.url)
        await whole(transport, up.url)
    assert [r.headers.get("cookie") for r in up.requests] == [None, None]
    assert {r.headers["user-agent"].partition("/")[0] for r in up.requests} == {"turnout"}


@pytest.mark.parametrize("value", ["Bearer k\n", "k\r\nx-admin: 1", "k\x00"])
async def test_a_key_with_a_line_break_is_a_failure_that_says_so(transport, value):
    async with ScriptedUpstream(answer({})) as up:
        asked = UpstreamRequest(method="GET", url=f"{up.url}/x", headers=[("authorization", value)])
        with pytest.raises(UpstreamFailure, match="look at its api_key") as caught:
            await transport.send(asked)
        assert up.requests == []
    assert "Bearer" not in caught.value.message


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://[::1", "http://a b", "embedded://m"])
async def test_what_is_no_url_is_said_to_be_none(transport, url):
    with pytest.raises(UpstreamUnreachable, match="base_url is no http or https URL"):
        await transport.send(request(url))


@pytest.mark.parametrize(
    ("url", "is_it"),
    [
        ("http://127.0.0.1:1/v1", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:1", True),
        ("https://LOCALHOST:1", True),
        ("http://localhost.:1", True),
        ("http://localhost.example", False),
        ("http://127.0.0.1.example", False),
        ("http://127.0.0.1@example.com", False),
        ("http://192.168.0.1", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_what_counts_as_this_machine(url, is_it):
    assert is_loopback(url) is is_it


async def test_a_proxy_of_the_environment_is_used_but_never_to_this_machine(monkeypatch):
    async with ScriptedUpstream(answer({"by": "proxy"})) as proxy, ScriptedUpstream(answer({"by": "host"})) as up:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        http = HttpTransport()
        for host in ("127.0.0.1", "localhost"):
            port = up.url.rpartition(":")[2]
            assert await whole(http, f"http://{host}:{port}") == b'{"by": "host"}'
        assert proxy.requests == []
        assert await whole(http, "http://models.example") == b'{"by": "proxy"}'
        with pytest.raises(UpstreamFailure):  # this proxy opens no tunnel
            await http.send(request("https://models.example", first_byte_timeout_s=2))
        assert [(r.method, r.path) for r in proxy.requests] == [
            ("POST", "http://models.example/x"),
            ("CONNECT", "models.example:443"),
        ]
        await http.aclose()


@asynccontextmanager
async def tls_host():
    async def answers(reader, writer):
        await take_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    async with raw_server(answers, ssl=context) as port:
        yield f"https://localhost:{port}"


async def test_a_certificate_that_nobody_vouches_for_is_refused(transport):
    async with tls_host() as url:
        with pytest.raises(UpstreamUnreachable) as caught:
            await transport.send(request(url))
    assert "localhost" not in caught.value.message


async def test_authorities_of_the_users_own_are_believed(transport, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with tls_host() as url:
        assert await whole(transport, url) == b"{}"


async def test_authorities_that_are_not_there_stop_calls_to_others_alone(transport, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "no/such.pem")
    with pytest.raises(UpstreamUnreachable, match="SSL_CERT_FILE names no file"):
        await transport.send(request("https://models.example"))
    async with ScriptedUpstream(answer({})) as up:
        assert await whole(transport, up.url) == b"{}"
