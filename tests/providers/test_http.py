"""The transport against a hostile host: what each fault becomes, and that hanging up reaches the other side."""

import asyncio
import time

import pytest

from support.upstream import Script, ScriptedUpstream, answer, stream
from turnout.errors import UpstreamFailure, UpstreamTimeout, UpstreamUnreachable
from turnout.providers.http import HttpTransport
from turnout.providers.transport import UpstreamRequest


@pytest.fixture
async def transport():
    http = HttpTransport()
    yield http
    await http.aclose()


def request(url, **more):
    return UpstreamRequest(
        method="POST", url=f"{url}/x", headers=[("content-type", "application/json")], body=b"{}", **more
    )


async def gone_within(upstream, seconds):
    began = time.monotonic()
    await asyncio.wait_for(upstream.gone.wait(), 2)
    assert time.monotonic() - began < seconds


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
        (Script(reset=True), UpstreamFailure),
        (Script(body=b"x" * 1000, cut=True), UpstreamFailure),
        (stream(b"data: 1\n\n", cut=True), UpstreamFailure),
    ],
    ids=["reset before headers", "cut body", "cut stream"],
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
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone_within(up, 0.1)


async def test_closing_in_mid_stream_ends_it_at_the_provider(transport):
    async with ScriptedUpstream(stream(*[b"data: 1\n\n"] * 100, pause_s=0.05)) as up:
        response = await transport.send(request(up.url))
        async for _ in response.chunks():
            break
        await response.aclose()
        await gone_within(up, 0.1)
