"""Proxies of the environment: whom they are for, and what comes through them."""

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager

import pytest

from support.rawhost import RawHost, get, hung_up, post, raw_server, take_head
from turnout.errors import UpstreamUnreachable
from turnout.providers.http import client
from turnout.providers.http.addresses import target_of
from turnout.providers.http.proxies import proxy_for

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("environ", "url", "host"),
    [
        ({}, "https://models.example", None),
        ({"HTTPS_PROXY": PROXY}, "https://models.example", "proxy.example"),
        ({"HTTPS_PROXY": PROXY}, "http://models.example", None),
        ({"https_proxy": "http://lower.example", "HTTPS_PROXY": PROXY}, "https://models.example", "lower.example"),
        ({"ALL_PROXY": PROXY}, "http://models.example", "proxy.example"),
        ({"all_proxy": "proxy.example:3128"}, "https://models.example", "proxy.example"),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://models.example", None),
        ({"HTTPS_PROXY": " "}, "https://models.example", None),
        ({"HTTPS_PROXY": PROXY}, "https://127.0.0.1:1", None),
        ({"HTTPS_PROXY": PROXY}, "https://localhost", None),
    ],
)
def test_which_variable_counts(environ, url, host):
    proxy = proxy_for(target_of(url), environ)
    assert (proxy and proxy.host) == host


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_exempt"),
    [
        ("*", "https://models.example", True),
        ("models.example", "https://models.example", True),
        ("models.example", "https://eu.models.example", True),
        (".models.example", "https://eu.models.example", True),
        ("*.models.example", "https://eu.models.example", True),
        ("models.example", "https://othermodels.example", False),
        ("MODELS.example", "https://Models.Example.", True),
        ("a.example, models.example", "https://models.example", True),
        ("models.example:443", "https://models.example", True),
        ("models.example:8443", "https://models.example", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("[fd00::1]", "https://[fd00::1]", True),
        ("", "https://models.example", False),
        (" , .", "https://models.example", False),
    ],
)
def test_who_is_left_out(no_proxy, url, is_exempt):
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (proxy_for(target_of(url), environ) is None) is is_exempt


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://127.0.0.1:1080", "ALL_PROXY names a proxy of a kind that is not spoken here"),
        ("http://", "ALL_PROXY is no URL of a proxy"),
        ("http://a:port", "ALL_PROXY is no URL of a proxy"),
    ],
)
def test_a_proxy_of_no_use_is_said_to_be_none(value, why):
    with pytest.raises(UpstreamUnreachable, match=why):
        proxy_for(target_of("https://models.example"), {"ALL_PROXY": value})


def speaks(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@asynccontextmanager
async def proxy_to(port, heads, **more):
    """A proxy that leads to this port, whichever host is asked for."""

    async def pass_on(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def leads(reader, writer):
        heads.append(await take_head(reader))
        there_in, there_out = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pass_on(reader, there_out), pass_on(there_in, writer), return_exceptions=True)
        there_out.transport.abort()

    async with raw_server(leads, **more) as at:
        yield at


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_tunnel_leads_to_the_host_and_is_kept(transport, monkeypatch, authority, scheme):
    heads = []
    outer = {"ssl": speaks(authority, "localhost")} if scheme == "https" else {}
    host = RawHost(OK, then="keep")
    async with raw_server(host, ssl=speaks(authority, "models.example")) as port, proxy_to(port, heads, **outer) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://user:p%40ss@localhost:{at}")
        for _ in range(3):
            response = await transport.send(post("https://models.example/x"))
            assert await response.read(10) == b"{}"
            await response.aclose()
        await transport.aclose()
    assert host.connections == len(heads) == 1
    assert heads[0].startswith(b"CONNECT models.example:443 HTTP/1.1\r\nhost: models.example:443\r\n")
    assert b"proxy-authorization: Basic " + base64.b64encode(b"user:p@ss") in heads[0]
    assert b"proxy-authorization" not in host.heads[0], "what opens the proxy is not the host's to know"


async def test_the_hosts_certificate_is_checked_within_the_tunnel(transport, monkeypatch, authority):
    async with raw_server(RawHost(OK), ssl=speaks(authority, "other.example")) as port, proxy_to(port, []) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{at}")
        with pytest.raises(UpstreamUnreachable, match="certificate is not to be trusted"):
            await transport.send(get("https://models.example"))


async def test_in_clear_the_proxy_is_asked_for_the_whole_url(transport, monkeypatch):
    async with raw_server(proxy := RawHost(OK, then="keep")) as at:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:pass@localhost:{at}")
        for _ in range(2):
            response = await transport.send(post("http://models.example:8080/v1/x?a=b"))
            assert await response.read(10) == b"{}"
            await response.aclose()
        await transport.aclose()
    assert proxy.connections == 1
    assert proxy.heads[0].startswith(
        b"POST http://models.example:8080/v1/x?a=b HTTP/1.1\r\nhost: models.example:8080\r\n"
    )
    assert b"proxy-authorization: Basic " + base64.b64encode(b"user:pass") in proxy.heads[0]


@pytest.mark.parametrize(
    ("answer", "then", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno", "hang", "it answered 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "close", "it answered 502"),
        (b"SSH-2.0\r\n\r\n", "hang", "closed the connection, or answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "hang", "closed the connection, or answered no HTTP"),
        (b"a" * 20_000, "hang", "closed the connection, or answered no HTTP"),
        (b"", "close", "closed the connection, or answered no HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "close", "no connection to the provider"),
    ],
)
async def test_a_proxy_that_opens_no_way(transport, monkeypatch, authority, answer, then, why):
    async with raw_server(RawHost(answer, then=then)) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{at}")
        with pytest.raises(UpstreamUnreachable, match=why) as caught:
            await asyncio.wait_for(transport.send(get("https://models.example")), 5)
    assert "models.example" not in caught.value.message


async def test_a_proxy_that_says_nothing_is_not_waited_for_without_end(transport, monkeypatch, authority):
    monkeypatch.setattr(client, "CONNECT_TIMEOUT_S", 0.2)
    hung = asyncio.Event()

    async def silent(reader, writer):
        await hung_up(reader)
        hung.set()

    async with raw_server(silent) as at:
        monkeypatch.setenv("HTTPS_PROXY", f"http://localhost:{at}")
        with pytest.raises(UpstreamUnreachable, match="no connection"):
            await asyncio.wait_for(transport.send(get("https://models.example")), 5)
        await asyncio.wait_for(hung.wait(), 2)
